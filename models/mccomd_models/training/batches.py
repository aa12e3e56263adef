"""Samples -> batches, in an order that one seed fixes and that can be taken up anywhere.

Each epoch is a permutation, cut into windows; within a window samples of like length meet in a batch, and
its batches come in random order. Two layouts: "padded" has a sample a row, padded on the right; "packed"
has rows of one length that hold several samples, each of which sees only itself. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mccomd_models.training.recipe import Layout
from mccomd_models.training.shards import Data

__all__ = ["Batch", "Batches", "Place", "make_batch"]

PADDING = 0
NO_DOCUMENT = -1
WIDTH_STEP = 16  # tokens; padded rows are a multiple long
WINDOW_BATCHES = 16  # about so many batches are sorted by length at a time

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Batch:
    """What one pass reads, int64 (rows, tokens); `middle` and `rest` mark whose next token is learnt."""

    ids: Ints
    positions: Ints
    documents: Ints | None  # see network.Rows
    targets: Ints  # the next token
    middle: NDArray[np.bool_]  # the next token is of the middle, or the end token
    rest: NDArray[np.bool_]  # the next token is of the prompt
    tokens: int  # without padding
    trunks: Ints | None = None  # see network.Rows
    reach: Ints | None = None
    learns: NDArray[np.bool_] | None = None  # the gradient flows through this token; None: through all


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the order the next batch stands."""

    epoch: int = 0
    window: int = 0
    batch: int = 0


class Batches:
    """The order of all batches of some samples."""

    def __init__(
        self,
        data: Data,
        batch_tokens: int,
        layout: Layout,
        row_tokens: int,
        seed: int,
        gradient_tokens: int = 0,
    ) -> None:
        """batch_tokens: tokens of a batch, padding included; row_tokens: of a packed row.

        gradient_tokens: see recipe.Recipe.
        """
        self._data, self._lengths = data, data.lengths()
        longest = int(self._lengths.max(initial=0))
        if not len(data) or longest > batch_tokens or (layout == "packed" and longest > row_tokens):
            raise ValueError(
                f"{len(data)} samples, the longest of {longest} tokens: none, or too long for a batch"
            )
        self._batch_tokens, self._layout, self._row_tokens, self._seed = (
            batch_tokens,
            layout,
            row_tokens,
            seed,
        )
        self._gradient_tokens = gradient_tokens
        self._window = max(1, int(WINDOW_BATCHES * batch_tokens / float(self._lengths.mean())))

    def follow(self, place: Place) -> Iterator[tuple[Batch, Place]]:
        """The batches from a place on, each with the place behind it; endless."""
        while True:
            order = np.random.default_rng((self._seed, place.epoch)).permutation(len(self._data))
            while (start := place.window * self._window) < len(order):
                groups = self._groups(order[start : start + self._window], place)
                while place.batch < len(groups):
                    rows = groups[place.batch]
                    batch = make_batch(
                        self._data, rows, self._layout, self._row_tokens, self._gradient_tokens
                    )
                    place = replace(place, batch=place.batch + 1)
                    yield batch, place
                place = Place(place.epoch, place.window + 1)
            place = Place(place.epoch + 1)

    def once(self) -> Iterator[tuple[Batch, list[tuple[int, int]]]]:
        """Every sample once, padded, by length; beside each batch its middles' kinds and tokens."""
        order = np.argsort(self._lengths, kind="stable")
        for group in self._padded(order):
            batch = make_batch(self._data, group, "padded", self._row_tokens)
            samples = [row[0] for row in group]
            yield (
                batch,
                [(int(self._data.kinds[s]), n) for s in samples for n in self._data.middle_lengths(s)],
            )

    def _groups(self, samples: Ints, place: Place) -> list[list[list[int]]]:
        """Batches of rows of samples."""
        samples = samples[np.argsort(self._lengths[samples], kind="stable")]
        rng = np.random.default_rng((self._seed, place.epoch, place.window))
        if self._layout == "packed":
            rows = pack([int(s) for s in samples], self._lengths, self._row_tokens)
            rows = [rows[i] for i in rng.permutation(len(rows))]
            count = max(1, self._batch_tokens // self._row_tokens)
            groups = [rows[i : i + count] for i in range(0, len(rows), count)]
        else:
            groups = list(self._padded(samples))
        return [groups[i] for i in rng.permutation(len(groups))]

    def _padded(self, samples: Ints) -> Iterator[list[list[int]]]:
        group: list[list[int]] = []
        for sample in samples:  # shortest first: the newest is the longest
            if group and (len(group) + 1) * padded_width(int(self._lengths[sample])) > self._batch_tokens:
                yield group
                group = []
            group.append([int(sample)])
        yield group


def pack(samples: list[int], lengths: Ints, row_tokens: int) -> list[list[int]]:
    """Rows of samples, no row longer than row_tokens: the longest first, each where it fits best."""
    rows: list[list[int]] = []
    room: list[int] = []
    for sample in sorted(samples, key=lambda s: -int(lengths[s])):
        need = int(lengths[sample])
        fits = [i for i, left in enumerate(room) if left >= need]
        if fits:
            best = min(fits, key=room.__getitem__)
            rows[best].append(sample)
            room[best] -= need
        else:
            rows.append([sample])
            room.append(row_tokens - need)
    return rows


def padded_width(tokens: int) -> int:
    """Few different widths: what is compiled for one serves again."""
    return -(-tokens // WIDTH_STEP) * WIDTH_STEP


def make_batch(
    data: Data, rows: list[list[int]], layout: Layout, row_tokens: int, gradient_tokens: int = 0
) -> Batch:
    """The arrays of some rows; padded rows are as long as the longest."""
    lengths = [sum(len(data.sample(s)) for s in row) for row in rows]
    branched = any(data.branch_starts[s] < data.branch_starts[s + 1] for row in rows for s in row)
    width = row_tokens if layout == "packed" else padded_width(max(lengths))
    shape = (len(rows), width)
    ids, targets = np.full(shape, PADDING, np.int64), np.full(shape, PADDING, np.int64)
    positions, documents = np.zeros(shape, np.int64), np.full(shape, NO_DOCUMENT, np.int64)
    trunks, reach = documents.copy(), np.zeros(shape, np.int64)
    middle, rest, learns = (np.zeros(shape, np.bool_) for _ in range(3))
    for r, row in enumerate(rows):
        at = number = 0
        for s in row:
            sample, holes = data.sample(s).astype(np.int64), data.holes(s)
            end = at + len(sample)
            ids[r, at:end], targets[r, at : end - 1] = sample, sample[1:]
            positions[r, at:end], documents[r, at:end], trunks[r, at:end] = (
                np.arange(len(sample)),
                number,
                number,
            )
            hang = data.branch_starts[s] < data.branch_starts[s + 1]
            trunk = holes[0].start - int(hang)  # the branch behind the trunk is no continuation of it
            rest[r, at : at + trunk] = True
            ends = [*(hole.start for hole in holes[1:]), len(sample)]
            for hole, behind in zip(holes, ends, strict=True):
                part = slice(at + hole.start, at + behind)
                if hang:
                    number += 1
                    documents[r, part], reach[r, part] = number, at + hole.seen
                positions[r, part] = hole.seen + np.arange(behind - hole.start)
                middle[r, at + hole.middle - 1 : at + behind - 1] = True
            learns[r, max(at, at + min(hole.seen for hole in holes) - gradient_tokens) : end] = True
            at, number = end, number + 1
    return Batch(
        ids,
        positions,
        documents if layout == "packed" or branched or gradient_tokens else None,
        targets,
        middle,
        rest,
        sum(lengths),
        trunks if branched else None,
        reach if branched else None,
        learns if gradient_tokens else None,
    )
