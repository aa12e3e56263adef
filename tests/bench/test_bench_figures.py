"""Percentiles and ratios."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mccomd.bench.figures import percentile, ratio, spread, summary


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=40), st.integers(0, 100))
def test_percentiles_are_those_of_numpy(values: list[float], percent: int) -> None:
    assert percentile(values, percent) == pytest.approx(np.percentile(values, percent))


def test_no_values_are_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_summaries_name_their_unit_and_admit_emptiness() -> None:
    assert summary([1, 2, 3, 4]) == {"p50_ms": 2.5, "p95_ms": 3.85, "p99_ms": 3.97, "n": 4}
    assert summary([], (50,), "") == {"p50": None, "n": 0}


def test_spread_is_over_the_groups_that_have_values() -> None:
    assert spread([[1, 3], [], [5]], 50) == [2, 5]
    assert spread([[]], 50) == []


def test_ratio_is_theirs_to_ours() -> None:
    assert ratio([30, 30], [20, 20], 50) == 1.5
    assert ratio([], [1], 50) is None
    assert ratio([1], [0], 50) is None
