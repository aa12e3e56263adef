"""What does a confidence mean? How often the answers of that confidence were right, and how many there were.

A calibration is a histogram: answers counted by their confidence, and how many of them were exactly right.
It comes in the manifest of a model (`mccomd eval` measures it) and grows by what this user accepted and
rejected. From it follows the threshold that meets a wish in words: a share of requests, a precision. Pure;
knows no file, no user and no router.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import msgspec

from mccomd.errors import ArtifactError

__all__ = [
    "EDGES",
    "MEASURE",
    "Bin",
    "Calibration",
    "Point",
    "blend",
    "count",
    "curve",
    "load",
    "probability",
    "threshold_for_precision",
    "threshold_for_share",
]

MEASURE = "product of the probabilities of all tokens"
"""What a confidence is: hooks.Evidence has it. A table of another measure says nothing of it."""
EDGES = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""The upper edges of the bins that `count` makes: half of all answers have a confidence below 0.1."""
MIN_KEPT = 20
"""Of fewer answers than this nobody knows how many are right."""


class Bin(msgspec.Struct, frozen=True):
    """Answers whose confidence is below `below` and not below the bin before."""

    below: float  # 0..1; the last bin's is 1.0 and includes it
    n: float  # answers; a whole number where they were counted, any where they were weighed
    exact: float  # of these, the exactly right ones


class Calibration(msgspec.Struct, frozen=True):
    """The manifest's table `calibration`."""

    bins: tuple[Bin, ...]
    data: str = ""  # what it was measured on, in words
    measure: str = MEASURE

    @property
    def n(self) -> float:
        return sum(each.n for each in self.bins)


@dataclass(frozen=True, slots=True)
class Point:
    """What a threshold would mean."""

    threshold: float
    share: float  # of the requests: those below the threshold, which go to the large model
    precision: float  # of the answers that stay local, the exactly right ones; 0.0 of none
    kept: float  # how many answers that is


def load(raw: object) -> Calibration:
    """The typed table. Raises ArtifactError that says what is wrong with it."""
    try:
        found = msgspec.convert(raw, Calibration)
    except msgspec.ValidationError as error:
        raise ArtifactError(f"calibration: {error}") from error
    if found.measure != MEASURE:
        raise ArtifactError(f"calibration: of another confidence ({found.measure[:80]}): measure it anew")
    edges = [each.below for each in found.bins]
    if not edges or edges != sorted(set(edges)) or edges[0] <= 0 or edges[-1] != 1.0:
        raise ArtifactError("calibration: the edges of the bins must rise from above 0 to 1.0")
    if any(not 0 <= each.exact <= each.n for each in found.bins):
        raise ArtifactError("calibration: a bin has more right answers than answers")
    return found


def count(seen: Iterable[tuple[float, bool]], data: str = "") -> Calibration:
    """The histogram of (confidence, exactly right) pairs."""
    n, exact = [0] * len(EDGES), [0] * len(EDGES)
    for confidence, right in seen:
        place = min(bisect_right(EDGES, confidence), len(EDGES) - 1)
        n[place] += 1
        exact[place] += right
    return Calibration(tuple(map(Bin, EDGES, n, exact)), data)


def blend(shipped: Calibration, own: Calibration, weight: float) -> Calibration:
    """The shipped table as if it were `weight` answers, and the user's own counts on top.

    Both must have the same edges; a table with others is left as it is shipped.
    """
    if [b.below for b in shipped.bins] != [b.below for b in own.bins] or not shipped.n:
        return shipped
    scale = min(1.0, weight / shipped.n)
    bins = [
        Bin(a.below, a.n * scale + b.n, a.exact * scale + b.exact)
        for a, b in zip(shipped.bins, own.bins, strict=True)
    ]
    data = f"{shipped.data}, and {own.n:.0f} answers of your own".lstrip(", ")
    return Calibration(tuple(bins), data, shipped.measure)


def probability(calibration: Calibration, confidence: float) -> float:
    """How likely an answer of this confidence is exactly right: never less than one of a lower confidence."""
    edges = [each.below for each in calibration.bins]
    return _rising(calibration.bins)[min(bisect_right(edges, confidence), len(edges) - 1)]


def curve(calibration: Calibration) -> tuple[Point, ...]:
    """What each threshold at an edge would mean, from 0.0 (never ask) to 1.0 (always)."""
    return tuple(point(calibration, t) for t in (0.0, *(each.below for each in calibration.bins)))


def point(calibration: Calibration, threshold: float) -> Point:
    """What one threshold would mean; within a bin the answers are taken to lie evenly."""
    total = calibration.n
    if not total:
        return Point(threshold, threshold, 0.0, 0.0)
    kept = right = 0.0
    for low, each, rate in _with_rates(calibration):
        over = _share_over(threshold, low, each.below)
        kept += each.n * over
        right += each.n * over * rate
    return Point(threshold, 1.0 - kept / total, right / kept if kept else 0.0, kept)


def threshold_for_share(calibration: Calibration, share: float) -> float:
    """The highest threshold that sends no more than this share of requests (0..1) to the large model."""
    if share >= 1.0:
        return 1.0
    wanted, low, below = share * calibration.n, 0.0, 0.0
    for each, total in zip(calibration.bins, accumulate(b.n for b in calibration.bins), strict=True):
        if total > wanted:
            return low + (each.below - low) * (wanted - below) / each.n
        low, below = each.below, total
    return 1.0 if calibration.n else share


def threshold_for_precision(calibration: Calibration, precision: float) -> float | None:
    """The lowest threshold above which at least this share (0..1) of answers is right; None: there is none.

    Thresholds are tried in steps of 0.01, and only while enough answers are kept to know it.
    """
    fewest = min(MIN_KEPT, calibration.n * 0.02) if calibration.n else MIN_KEPT
    for step in range(101):
        found = point(calibration, step / 100)
        if found.kept < fewest:
            return None
        if found.precision >= precision:
            return found.threshold
    return None


def _with_rates(calibration: Calibration) -> list[tuple[float, Bin, float]]:
    """(lower edge, bin, its smoothed rate)."""
    lows = (0.0, *(each.below for each in calibration.bins))
    return list(zip(lows, calibration.bins, _rising(calibration.bins), strict=False))


def _share_over(threshold: float, low: float, high: float) -> float:
    """The part of the interval that is not below the threshold."""
    return min(1.0, max(0.0, (high - threshold) / (high - low)))


def _rising(bins: Sequence[Bin]) -> list[float]:
    """Each bin's rate of right answers, made to rise: bins that fall are pooled (Ayer et al. 1955).

    Bins without an answer take the rate of the pool before them.
    """
    pools: list[list[float]] = []  # [n, exact, bins]
    for each in bins:
        pools.append([each.n, each.exact, 1])
        while len(pools) > 1 and _rate(pools[-2]) >= _rate(pools[-1]):
            n, exact, size = pools.pop()
            pools[-1] = [pools[-1][0] + n, pools[-1][1] + exact, pools[-1][2] + size]
    return [_rate(pool) for pool in pools for _ in range(int(pool[2]))]


def _rate(pool: Sequence[float]) -> float:
    return pool[1] / pool[0] if pool[0] else 0.0
