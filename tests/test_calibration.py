"""What a confidence means, and the threshold that follows from what a user wants."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mccomd.calibration import (
    EDGES,
    Bin,
    Calibration,
    blend,
    count,
    curve,
    load,
    point,
    probability,
    threshold_for_precision,
    threshold_for_share,
)
from mccomd.errors import ArtifactError

# 100 answers a quarter; 10, 30, 60 and 90 of a hundred are right
QUARTERS = Calibration((Bin(0.25, 100, 10), Bin(0.5, 100, 30), Bin(0.75, 100, 60), Bin(1.0, 100, 90)))


@pytest.mark.parametrize(
    ("threshold", "share", "precision"),
    [
        (0.0, 0.0, 190 / 400),
        (0.25, 0.25, 180 / 300),
        (0.5, 0.5, 150 / 200),
        (0.625, 0.625, 120 / 150),
        (0.75, 0.75, 0.9),
        (1.0, 1.0, 0.0),
    ],
)
def test_what_a_threshold_means(threshold: float, share: float, precision: float) -> None:
    found = point(QUARTERS, threshold)
    assert (found.share, found.precision) == (pytest.approx(share), pytest.approx(precision))


@pytest.mark.parametrize(
    ("share", "threshold"), [(0.0, 0.0), (0.1, 0.1), (0.25, 0.25), (0.6, 0.6), (1.0, 1.0)]
)
def test_a_share_of_requests(share: float, threshold: float) -> None:
    assert threshold_for_share(QUARTERS, share) == pytest.approx(threshold)


@pytest.mark.parametrize(
    ("precision", "threshold"), [(0.4, 0.0), (0.6, 0.25), (0.75, 0.5), (0.9, 0.75), (0.95, None)]
)
def test_a_precision(precision: float, threshold: float | None) -> None:
    assert threshold_for_precision(QUARTERS, precision) == threshold


def test_a_falling_bin_is_pooled_with_the_one_before() -> None:
    table = Calibration((Bin(0.5, 100, 50), Bin(0.9, 100, 10), Bin(1.0, 10, 9)))
    assert probability(table, 0.1) == probability(table, 0.6) == 0.3
    assert probability(table, 1.0) == 0.9


def test_own_answers_move_the_curve_as_far_as_there_are_many() -> None:
    shipped = count([(0.3, True)] * 900 + [(0.3, False)] * 100)
    own = count([(0.3, False)] * 100)
    assert probability(blend(shipped, own, weight=100), 0.3) == pytest.approx(0.45)
    assert probability(blend(shipped, own, weight=900), 0.3) == pytest.approx(0.81)
    assert blend(shipped, count([]), weight=100).n == pytest.approx(100)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=60), st.floats(0, 1))
def test_the_share_is_never_exceeded_and_the_curve_rises(
    seen: list[tuple[float, bool]], share: float
) -> None:
    table = count(seen)
    assert table.n == len(seen)
    points = curve(table)
    assert [p.share for p in points] == sorted(p.share for p in points)
    assert (points[0].threshold, points[-1].threshold) == (0.0, 1.0)
    assert point(table, threshold_for_share(table, share)).share <= share + 1e-9
    rates = [probability(table, edge - 0.01) for edge in EDGES]
    assert rates == sorted(rates)


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ({"bins": []}, "edges"),
        ({"bins": [{"below": 0.5, "n": 1, "exact": 0}]}, "edges"),
        ({"bins": [{"below": 1.0, "n": 1, "exact": 2}]}, "more right answers"),
        ({"bins": [{"below": "1", "n": 1, "exact": 1}]}, "float"),
        ([], "object"),
    ],
)
def test_a_table_that_is_none(raw: Any, problem: str) -> None:
    with pytest.raises(ArtifactError, match=problem):
        load(raw)


def test_what_is_written_is_read_back() -> None:
    raw = {"bins": [{"below": 0.5, "n": 4, "exact": 1}, {"below": 1.0, "n": 2, "exact": 2}], "data": "x"}
    assert load(raw) == Calibration((Bin(0.5, 4, 1), Bin(1.0, 2, 2)), "x")
