"""Samples on disk: compressed files that each fit one transfer to a machine with a GPU.

A shard is an npz: `ids` uint16, all samples joined; `lengths` and `middles` int32, a sample's tokens and
where its middle begins; `kinds` uint8, its place in KINDS; `about` a JSON text that says what made it. Shards
of one folder belong together; their order is that of their names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["KINDS", "SHARD_TOKENS", "Data", "Sample", "read_shards", "write_shards"]

KINDS = ("start", "token", "inside", "span")
SHARD_TOKENS = 28_000_000  # 56 MB before compression: no shard is larger, whatever its tokens


@dataclass(frozen=True, slots=True)
class Sample:
    """ids[middle:] is what the model has to write: the middle and the end token."""

    ids: NDArray[np.uint16]
    middle: int
    kind: str


@dataclass(frozen=True, slots=True)
class Data:
    """All samples of a folder."""

    ids: NDArray[np.uint16]
    starts: NDArray[np.int64]  # n + 1
    middles: NDArray[np.int32]
    kinds: NDArray[np.uint8]
    about: dict[str, Any]

    def __len__(self) -> int:
        return len(self.middles)

    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.starts)

    def sample(self, index: int) -> NDArray[np.uint16]:
        return self.ids[self.starts[index] : self.starts[index + 1]]


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
    lengths = _joined(parts, "lengths").astype(np.int64)
    return Data(
        ids=_joined(parts, "ids"),
        starts=np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
        middles=_joined(parts, "middles"),
        kinds=_joined(parts, "kinds"),
        about=about,
    )


def _read(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _joined(parts: Sequence[dict[str, NDArray[Any]]], name: str) -> NDArray[Any]:
    return np.concatenate([part[name] for part in parts])
