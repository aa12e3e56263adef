"""Samples on disk: compressed files that each fit one transfer to a machine with a GPU.

A shard is an npz: `ids` uint16, all samples joined; `lengths` and `middles` int32, a sample's tokens and
where its (first) middle begins; `kinds` uint8, its place in KINDS; `about` a JSON text that says what made
it; of samples with several holes, `branches` int32 (all of them, 3) and `branch_counts` int32, a sample's
number of them; older shards lack both. Shards of one folder belong together, in the order of their names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["KINDS", "SHARD_TOKENS", "Branch", "Data", "Sample", "read_shards", "write_shards"]

KINDS = ("start", "token", "inside", "span")
SHARD_TOKENS = 28_000_000  # 56 MB before compression: no shard is larger, whatever its tokens


class Branch(NamedTuple):
    """One of several holes: ids[start:end] stand behind the first `seen` ids and see nothing else.

    ids[middle:end] is what the model has to write; end is where the next branch starts, or the sample's.
    """

    seen: int
    start: int
    middle: int


@dataclass(frozen=True, slots=True)
class Sample:
    """ids[middle:] is what the model has to write: the middle and the end token.

    branches: of a sample with several holes, in order; the ids before the first are their common context.
    """

    ids: NDArray[np.uint16]
    middle: int
    kind: str
    branches: tuple[Branch, ...] = ()

    @property
    def middle_tokens(self) -> int:
        holes = self.branches or (Branch(self.middle - 1, self.middle - 1, self.middle),)
        return sum(_middle_lengths(holes, len(self.ids)))


@dataclass(frozen=True, slots=True)
class Data:
    """All samples of a folder."""

    ids: NDArray[np.uint16]
    starts: NDArray[np.int64]  # n + 1
    middles: NDArray[np.int32]
    kinds: NDArray[np.uint8]
    about: dict[str, Any]
    branches: NDArray[np.int32]  # (all, 3), see Branch
    branch_starts: NDArray[np.int64]  # n + 1

    def __len__(self) -> int:
        return len(self.middles)

    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.starts)

    def sample(self, index: int) -> NDArray[np.uint16]:
        return self.ids[self.starts[index] : self.starts[index + 1]]

    def holes(self, index: int) -> list[Branch]:
        """Of a sample with a single hole: one branch, whose prompt is the context but for the last id."""
        first, last = self.branch_starts[index], self.branch_starts[index + 1]
        if first < last:
            return [Branch(*map(int, row)) for row in self.branches[first:last]]
        middle = int(self.middles[index])
        return [Branch(middle - 1, middle - 1, middle)]

    def alone(self, index: int, hole: int = 0) -> tuple[NDArray[np.uint16], int]:
        """One of a sample's holes as a sample of its own: its ids, and where its middle begins."""
        holes, ids = self.holes(index), self.sample(index)
        seen, start, middle = holes[hole]
        end = holes[hole + 1].start if hole + 1 < len(holes) else len(ids)
        return np.concatenate([ids[:seen], ids[start:end]]), seen + middle - start

    def middle_lengths(self, index: int) -> list[int]:
        """Tokens of each of a sample's middles, the end token included."""
        return _middle_lengths(self.holes(index), len(self.sample(index)))


def _middle_lengths(holes: Sequence[Branch], length: int) -> list[int]:
    ends = [*(hole.start for hole in holes[1:]), length]
    return [end - hole.middle for hole, end in zip(holes, ends, strict=True)]


def write_shards(
    folder: Path, samples: Iterable[Sample], about: dict[str, Any], shard_tokens: int = SHARD_TOKENS
) -> list[Path]:
    """Write samples in their order; the last shard is as long as it comes out. Returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("shard-*.npz"):
        old.unlink()
    written: list[Path] = []
    for part in _parts(samples, shard_tokens):
        written.append(folder / f"shard-{len(written):03}.npz")
        np.savez_compressed(
            written[-1],
            ids=np.concatenate([sample.ids for sample in part]),
            lengths=np.array([len(sample.ids) for sample in part], np.int32),
            middles=np.array([sample.middle for sample in part], np.int32),
            kinds=np.array([KINDS.index(sample.kind) for sample in part], np.uint8),
            about=np.array(json.dumps(about)),
            branches=np.array([b for sample in part for b in sample.branches], np.int32).reshape(-1, 3),
            branch_counts=np.array([len(sample.branches) for sample in part], np.int32),
        )
    return written


def _parts(samples: Iterable[Sample], shard_tokens: int) -> Iterator[list[Sample]]:
    part: list[Sample] = []
    tokens = 0
    for sample in samples:
        if part and tokens + len(sample.ids) > shard_tokens:
            yield part
            part, tokens = [], 0
        part.append(sample)
        tokens += len(sample.ids)
    if part:
        yield part


def read_shards(folder: Path) -> Data:
    """Read a folder's shards; ValueError when there is none or they were made differently."""
    paths = sorted(folder.glob("shard-*.npz"))
    if not paths:
        raise ValueError(f"{folder}: no shard-*.npz; `prepare` makes them")
    parts = [_read(path) for path in paths]
    about = json.loads(str(parts[0]["about"]))
    for path, part in zip(paths, parts, strict=True):
        if json.loads(str(part["about"])) != about:
            raise ValueError(f"{path} and {paths[0].name} were made differently")
    return Data(
        ids=_joined(parts, "ids"),
        starts=_starts(_joined(parts, "lengths")),
        middles=_joined(parts, "middles"),
        kinds=_joined(parts, "kinds"),
        about=about,
        branches=_joined(parts, "branches"),
        branch_starts=_starts(_joined(parts, "branch_counts")),
    )


def _starts(lengths: NDArray[Any]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def _read(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as file:
        found = {name: file[name] for name in file.files}
    found.setdefault("branches", np.zeros((0, 3), np.int32))
    found.setdefault("branch_counts", np.zeros(len(found["middles"]), np.int32))
    return found


def _joined(parts: Sequence[dict[str, NDArray[Any]]], name: str) -> NDArray[Any]:
    return np.concatenate([part[name] for part in parts])
