"""Numbers about samples: percentiles, and their spread over repeats. Knows nothing of what was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["Figures", "percentile", "ratio", "spread", "summary"]

Figures = dict[str, float | int | None]
"""Rounded numbers by name; None where there was nothing to measure."""


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which `percent` of the values lie, linear between neighbours (numpy's default).

    Raises ValueError for no values. [1, 2, 3, 4], 50 -> 2.5.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def summary(
    values: Sequence[float], percents: Sequence[int] = (50, 95, 99), unit: str = "_ms", digits: int = 3
) -> Figures:
    """`p50_ms`, `p95_ms`, ... and `n`."""
    found: Figures = {
        f"p{percent}{unit}": round(percentile(values, percent), digits) if values else None
        for percent in percents
    }
    return found | {"n": len(values)}


def spread(groups: Sequence[Sequence[float]], percent: float, digits: int = 3) -> list[float]:
    """[least, greatest] percentile over the groups that have values; [] when none has."""
    each = [percentile(group, percent) for group in groups if group]
    return [round(min(each), digits), round(max(each), digits)] if each else []


def ratio(theirs: Sequence[float], ours: Sequence[float], percent: float) -> float | None:
    """How many times longer theirs takes at a percentile; None without samples."""
    if not theirs or not ours:
        return None
    below = percentile(ours, percent)
    return round(percentile(theirs, percent) / below, 2) if below > 0 else None
