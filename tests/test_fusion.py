"""Two rounds of retrieval, one ranking."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mccomd.fusion import fuse, normalised, weight_of
from mccomd.types import Snippet


def snippet(path: str, score: float, lines: tuple[int, int] = (1, 9), source: str = "bm25") -> Snippet:
    return Snippet(path, *lines, f"text of {path}", score, "c0ffee", source)


@pytest.mark.parametrize(
    ("confidence", "weight"), [(0.0, 0.0), (0.5**4, 0.25), (0.8**4, 0.4), (1.0, 0.5), (1.7, 0.5), (-1.0, 0.0)]
)
def test_the_weight_of_round_two(confidence: float, weight: float) -> None:
    assert weight_of(confidence) == pytest.approx(weight)


@pytest.mark.parametrize(
    ("first", "second", "confidence", "wanted"),
    [
        # nothing to add
        ([("a", 8.0), ("b", 4.0)], [], 0.9**4, [("a", 0.55), ("b", 0.275)]),
        # round 2 alone, and what round 1 had stays before it
        ([("a", 8.0), ("b", 4.0)], [("c", 30.0)], 0.9**4, [("a", 0.55), ("c", 0.45), ("b", 0.275)]),
        # an answer that was a guess hardly counts
        ([("a", 8.0), ("b", 4.0)], [("c", 30.0)], 0.1**4, [("a", 0.95), ("b", 0.475), ("c", 0.05)]),
        # found by both
        ([("a", 8.0), ("b", 6.0)], [("b", 30.0)], 1.0, [("b", 0.875), ("a", 0.5)]),
        ([], [("c", 3.0)], 1.0, [("c", 0.5)]),
        ([], [], 1.0, []),
    ],
)
def test_both_rounds_count(
    first: list[tuple[str, float]],
    second: list[tuple[str, float]],
    confidence: float,
    wanted: list[tuple[str, float]],
) -> None:
    found = fuse([snippet(*s) for s in first], [snippet(*s) for s in second], confidence, 4)
    assert [(s.path, pytest.approx(s.score)) for s in found] == wanted


def test_each_retriever_has_its_own_scale() -> None:
    found = normalised([snippet("a", 12.0), snippet("b", 6.0), snippet("c", 0.2, source="names")])
    assert [s.score for s in found] == [1.0, 0.5, 1.0]
    assert [s.score for s in normalised([snippet("a", 0.0), snippet("b", -1.0)])] == [1.0, 1.0]


def test_of_two_that_overlap_the_better_stays() -> None:
    found = fuse([snippet("a", 9, (1, 20)), snippet("b", 8)], [snippet("a", 5, (15, 40))], 1.0, 4)
    assert [(s.path, s.start_line) for s in found] == [("a", 1), ("b", 1)]
    apart = fuse([snippet("a", 9, (1, 20))], [snippet("a", 5, (21, 40))], 1.0, 4)
    assert [s.start_line for s in apart] == [1, 21]


found_at = st.builds(
    snippet,
    st.sampled_from(["a", "b", "c"]),
    st.floats(0, 50),
    st.integers(1, 30).flatmap(lambda n: st.tuples(st.just(n), st.integers(n, n + 9))),
    st.sampled_from(["bm25", "names"]),
)


@given(st.lists(found_at, max_size=8), st.lists(found_at, max_size=8), st.floats(0, 1), st.integers(0, 6))
def test_always_few_apart_and_in_order(
    first: list[Snippet], second: list[Snippet], confidence: float, limit: int
) -> None:
    found = fuse(first, second, confidence, limit)
    assert len(found) <= limit
    scores = [s.score for s in found]
    assert scores == sorted(scores, reverse=True)
    lines = [(s.path, line) for s in found for line in range(s.start_line, s.end_line + 1)]
    assert len(lines) == len(set(lines))
    if first and limit:
        assert found
