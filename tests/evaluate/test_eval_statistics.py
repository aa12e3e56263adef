"""Intervals and what confidence tells, against published values and properties that must hold."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mccomd.evaluate.statistics import (
    area_under_risk_coverage,
    bins_of,
    bootstrap,
    calibration_error,
    isotonic,
    pairs_apart,
    ranking,
    wilson,
)

PAIRS = st.lists(st.tuples(st.integers(0, 10).map(lambda n: n / 10), st.booleans()), min_size=1, max_size=60)


def test_wilson_agrees_with_published_values() -> None:
    """Newcombe 1998, table I, method 3: 81/263, 15/148, 0/20, 1/29."""
    for hits, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605),
                               (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)):  # fmt: skip
        assert wilson(hits, n) == pytest.approx((low, high), abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)


def test_bootstrap_covers_the_mean_and_repeats() -> None:
    chance = random.Random(3)
    values = [chance.random() for _ in range(200)]
    low, high = bootstrap(values)
    # a uniform's standard error is sqrt(1/12/200) = 0.0204; the interval is about 4 of it wide
    assert high - low == pytest.approx(4 * 0.0204, rel=0.15)
    assert low < sum(values) / 200 < high
    assert bootstrap(values) == (low, high)
    assert bootstrap([0.3] * 9) == pytest.approx((0.3, 0.3))


def test_a_perfect_confidence_and_one_that_tells_nothing() -> None:
    perfect = [(0.9, True)] * 3 + [(0.1, False)] * 1
    assert ranking(perfect) == 1.0
    # risks at coverage 1/4, 2/4, 3/4: 0 (one group), at 4/4: 1/4
    assert area_under_risk_coverage(perfect) == pytest.approx(0.25 / 4)
    blind = [(0.5, True), (0.5, False)] * 10
    assert ranking(blind) == 0.5
    assert area_under_risk_coverage(blind) == pytest.approx(0.5)
    assert calibration_error(blind) == pytest.approx(0.0)
    assert ranking([(0.5, True)]) is None


def test_calibration_error_of_an_overconfident_model() -> None:
    assert calibration_error([(0.9, i % 2 == 0) for i in range(100)]) == pytest.approx(0.4)


@given(PAIRS)
def test_the_curve_never_falls_and_keeps_the_mean(pairs: list[tuple[float, bool]]) -> None:
    curve = isotonic(pairs)
    assert all(a[0] < b[0] and a[1] <= b[1] for a, b in pairwise(curve)) or len(curve) == 1
    assert all(0 <= right <= 1 for _, right in curve)


@given(PAIRS)
def test_bins_hold_every_answer_once(pairs: list[tuple[float, bool]]) -> None:
    bins = bins_of(pairs)
    assert sum(b.n for b in bins) == len(pairs)
    assert sum(b.n * b.right for b in bins) == pytest.approx(sum(right for _, right in pairs))
    assert all(b.low <= b.right <= b.high for b in bins)


@given(PAIRS)
def test_risk_at_full_coverage_bounds_a_sorted_confidence(pairs: list[tuple[float, bool]]) -> None:
    """Confidence equal to the truth is the best order there is."""
    told = [(float(right), right) for _, right in pairs]
    assert area_under_risk_coverage(told) <= area_under_risk_coverage(pairs) + 1e-9


def test_mcnemar() -> None:
    assert pairs_apart([True] * 5, [True] * 5) == 1.0
    # 6 better, 0 worse: 2 * 0.5 ** 6
    assert pairs_apart([True] * 6, [False] * 6) == pytest.approx(2 * 0.5**6)
