"""How sure are figures about many answers, and what does a confidence mean? Pure numbers.

Intervals are of 95 %: Wilson's for shares, bootstrap percentiles (Efron 1979) for means.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = [
    "Bin", "area_under_risk_coverage", "bins_of", "bootstrap", "calibration_error", "isotonic", "mean",
    "pairs_apart", "ranking", "wilson",
]  # fmt: skip

Z95 = 1.959964
RESAMPLES = 2000

Pair = tuple[float, bool]
"""(confidence, whether the answer was right)"""


def mean(values: Sequence[float]) -> float:
    """0.0 of none."""
    return sum(values) / len(values) if values else 0.0


def wilson(hits: int, n: int) -> tuple[float, float]:
    """The interval of a share (Wilson 1927); (0, 1) of nothing. 8 of 10 -> (0.490, 0.943)."""
    if not n:
        return 0.0, 1.0
    share, z2 = hits / n, Z95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return (
        middle - half if hits else 0.0,
        middle + half if hits < n else 1.0,
    )  # exactly, whatever the rounding


def bootstrap(values: Sequence[float], seed: int = 1) -> tuple[float, float]:
    """The interval of a mean, from 2,000 resamples; (0, 0) of none. The same seed, the same interval."""
    if not values:
        return 0.0, 0.0
    chance, n = random.Random(seed), len(values)
    means = sorted(sum(chance.choices(values, k=n)) / n for _ in range(RESAMPLES))
    return means[round(0.025 * (RESAMPLES - 1))], means[round(0.975 * (RESAMPLES - 1))]


def pairs_apart(first: Sequence[bool], second: Sequence[bool]) -> float:
    """McNemar's exact two-sided p: how likely two equally good systems differ so on the same cases."""
    better = sum(a and not b for a, b in zip(first, second, strict=True))
    worse = sum(b and not a for a, b in zip(first, second, strict=True))
    n = better + worse
    tail: float = sum(math.comb(n, k) for k in range(min(better, worse) + 1)) / 2**n
    return min(1.0, 2 * tail)


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers of about the same confidence."""

    n: int
    confidence: float  # mean
    right: float  # share
    low: float  # of the share's interval
    high: float


def bins_of(pairs: Sequence[Pair], count: int = 10) -> list[Bin]:
    """At most `count` bins of equal size, least confident first: the reliability curve."""
    ordered = sorted(pairs, key=lambda pair: pair[0])
    count = max(1, min(count, len(ordered) // 10))
    edges = [round(i * len(ordered) / count) for i in range(count + 1)]
    parts = [ordered[a:b] for a, b in pairwise(edges)]
    return [_bin(part) for part in parts if part]


def _bin(part: Sequence[Pair]) -> Bin:
    hits = sum(right for _, right in part)
    return Bin(
        len(part), mean([confidence for confidence, _ in part]), hits / len(part), *wilson(hits, len(part))
    )


def calibration_error(pairs: Sequence[Pair]) -> float:
    """Expected calibration error over bins of equal size: the mean distance of confidence and share right."""
    bins = bins_of(pairs)
    total = sum(b.n for b in bins)
    return sum(b.n * abs(b.confidence - b.right) for b in bins) / total if total else 0.0


def area_under_risk_coverage(pairs: Sequence[Pair]) -> float:
    """The mean share wrong over all coverages, the most confident answered first; lower is better.

    Answers of the same confidence count as in random order. A confidence that tells nothing gives the share
    wrong of all.
    """
    risks: list[float] = []
    answered = wrong = 0
    for group in _by_confidence(pairs):
        more = sum(not right for _, right in group)
        size = len(group)
        risks += [(wrong + more * k / size) / (answered + k) for k in range(1, size + 1)]
        answered, wrong = answered + size, wrong + more
    return mean(risks)


def ranking(pairs: Sequence[Pair]) -> float | None:
    """How often a right answer is more confident than a wrong one (area under ROC); None without both."""
    right = [confidence for confidence, is_right in pairs if is_right]
    wrong = [confidence for confidence, is_right in pairs if not is_right]
    if not right or not wrong:
        return None
    above = sum((a > b) + (a == b) / 2 for a in right for b in wrong)
    return above / (len(right) * len(wrong))


def isotonic(pairs: Sequence[Pair]) -> list[tuple[float, float]]:
    """The best curve that never falls from confidence to share right (pool adjacent violators), as points.

    Each pool is one point at its mean confidence; between points the curve is a line.
    """
    pools: list[tuple[int, float, int]] = []  # (n, sum of confidences, right)
    for group in reversed(_by_confidence(pairs)):
        pools.append((len(group), sum(c for c, _ in group), sum(right for _, right in group)))
        while len(pools) > 1 and pools[-2][2] * pools[-1][0] >= pools[-1][2] * pools[-2][0]:
            n, total, hits = pools.pop()
            m, more, others = pools.pop()
            pools.append((n + m, total + more, hits + others))
    return [(total / n, hits / n) for n, total, hits in pools]


def _by_confidence(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """Groups of equal confidence, the highest first."""
    groups: list[list[Pair]] = []
    for pair in sorted(pairs, key=lambda pair: -pair[0]):
        if groups and groups[-1][0][0] == pair[0]:
            groups[-1].append(pair)
        else:
            groups.append([pair])
    return groups
