"""What followed the last ids elsewhere: places in a text whose ids before them are the same.

A short text is looked through each time; of a long one the places are sorted once by the ids before them
(`ordered`), so that those of a match lie side by side. Knows ids only.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["BREAK", "LONGEST", "Cache", "Ids", "Match", "Scan", "Table", "joined", "ordered"]

Ids = NDArray[np.int32]

BREAK = -1
"""Between two texts: no match goes across it."""
SHORTEST, LONGEST = 2, 12
"""Ids that a match has."""
SAMPLE = 1024
"""Of more places that are alike so many count, evenly taken: shares do not get better by more."""
WIDE = 65_536
"""Of more places so many are looked at for longer matches."""


@dataclass(frozen=True, slots=True)
class Match:
    """What followed the longest match of several that are found in the same places."""

    length: int  # in ids
    lengths: int  # how many matches these are: of `length`, of one less, ...
    followers: Ids  # one a place, at least one


class Cache(Protocol):
    """Text that may repeat itself."""

    def matches(self, last: Sequence[int]) -> list[Match]:
        """What followed the last SHORTEST to LONGEST of these ids, the shortest match first."""
        ...


def joined(texts: Sequence[Sequence[int] | Ids]) -> Ids:
    """The ids of texts one after the other, as caches want them: breaks before, between and behind."""
    parts: list[Sequence[int] | Ids] = [[BREAK] * LONGEST]
    for text in texts:
        parts += [text, [BREAK]]
    return np.concatenate([np.asarray(part, np.int32) for part in parts])


def ordered(ids: Ids, vocab: int) -> Ids:
    """The places of `joined` ids that have a follower, sorted by the ids before them, the nearest first.

    As many ids count as 64 bits hold: four of a vocabulary below 65,535, three of larger ones.
    """
    bits = (vocab + 1).bit_length()
    places = np.flatnonzero(ids[LONGEST:] != BREAK) + LONGEST
    keys = np.zeros(len(places), np.uint64)
    for back in range(1, keyed(vocab) + 1):
        keys = (keys << np.uint64(bits)) | (ids[places - back] + 1).astype(np.uint64)
    return places[np.argsort(keys, kind="stable")].astype(np.int32)


def keyed(vocab: int) -> int:
    """How many ids before a place `ordered` sorts by."""
    return min(LONGEST, 64 // (vocab + 1).bit_length())


class Scan:
    """A short text, looked through each time: 10 µs for 16,000 ids."""

    def __init__(self, texts: Sequence[Sequence[int] | Ids]) -> None:
        self._ids = joined(texts)

    def matches(self, last: Sequence[int]) -> list[Match]:
        if len(last) < SHORTEST:
            return []
        places = (np.flatnonzero(self._ids[:-1] == last[-1]) + 1).astype(np.int32)
        return list(_found(self._ids, _longer(self._ids, places, last, SHORTEST)))


@dataclass(frozen=True, slots=True)
class Table:
    """A long text with its places in order; some of its ids may be left out of what is found."""

    ids: Ids
    order: Ids
    keyed: int
    hidden: tuple[int, int] = (0, 0)  # places from, to

    def without(self, first: int, end: int) -> Table:
        """The same, as if nothing stood at the places from first to before end."""
        return replace(self, hidden=(first, end))

    def matches(self, last: Sequence[int]) -> list[Match]:
        return list(_found(self.ids, self._places(last)))

    def _places(self, last: Sequence[int]) -> Iterator[tuple[int, int, Ids]]:
        low, high = 0, len(self.order)
        for length in range(1, min(self.keyed, len(last)) + 1):
            low, high = self._narrowed(low, high, length, last[-length])
            if low == high:
                return
            if length >= SHORTEST:
                yield length, high - low, self._shown(low, high, SAMPLE)
        if len(last) > self.keyed:
            yield from _longer(self.ids, self._shown(low, high, WIDE), last, self.keyed + 1)

    def _narrowed(self, low: int, high: int, back: int, wanted: int) -> tuple[int, int]:
        ids, order = self.ids, self.order

        def before(at: int) -> int:
            return int(ids[order[at] - back])

        span = range(low, high)
        return low + bisect_left(span, wanted, key=before), low + bisect_right(span, wanted, key=before)

    def _shown(self, low: int, high: int, most: int) -> Ids:
        places = self.order[low : high : -(-(high - low) // most)]
        first, end = self.hidden
        return places if first == end else places[(places < first) | (places >= end)]


def _longer(ids: Ids, places: Ids, last: Sequence[int], length: int) -> Iterator[tuple[int, int, Ids]]:
    """(length, how many, places) of matches from `length` on; places: those of the match one shorter."""
    for more in range(length, min(LONGEST, len(last)) + 1):
        places = places[ids[places - more] == last[-more]]
        if not len(places):
            return
        yield more, len(places), places


def _found(ids: Ids, places: Iterator[tuple[int, int, Ids]]) -> Iterator[Match]:
    """Matches of the same places become one."""
    kept: tuple[int, int, Ids] | None = None
    since = 0
    for one in places:
        if kept is not None and one[1] != kept[1]:
            yield from _match(ids, kept[0], kept[0] - since + 1, kept[2])
            kept = None
        if kept is None:
            since = one[0]
        kept = one
    if kept is not None:
        yield from _match(ids, kept[0], kept[0] - since + 1, kept[2])


def _match(ids: Ids, length: int, lengths: int, places: Ids) -> Iterator[Match]:
    followers = ids[places[:: -(-len(places) // SAMPLE) or 1]]
    followers = followers[followers != BREAK]
    if len(followers):
        yield Match(length, lengths, followers)
