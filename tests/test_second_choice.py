"""Ways out of an answer of which nothing would be shown."""

from __future__ import annotations

import pytest

from mccomd.engine import Generation
from mccomd.second_choice import forks
from mccomd.types import Finish

PIECES = [b"", b" x", b" y", b" xy", b"(", b"\xc3", b")", b" re"]


def generation(
    ids: tuple[int, ...], seconds: tuple[tuple[int, float], ...], probabilities: tuple[float, ...]
) -> Generation:
    healed = len(ids) - len(probabilities)
    return Generation(
        ids, probabilities, Finish.STOP, 5, 6, 1, 1, 2.0, 3.0, healed=healed, passes=2, seconds=seconds
    )


def found(*choices: tuple[int, float, int, float]) -> list[tuple[str, float]]:
    """Forks of choices: id, its probability, the second id, its probability."""
    ids, probabilities = tuple(c[0] for c in choices), tuple(c[1] for c in choices)
    ways = forks(generation(ids, tuple((c[2], c[3]) for c in choices), probabilities), PIECES.__getitem__)
    return [(way.text, pytest.approx(way.chance)) for way in ways]


def test_the_most_probable_other_way_comes_first() -> None:
    assert found((1, 0.9, 2, 0.1), (4, 0.5, 6, 0.4)) == [(" x)", 0.36), (" y", 0.1)]


def test_no_more_than_two() -> None:
    assert len(found(*[(1, 0.9, 2, 0.1)] * 5)) == 2


def test_no_way_out() -> None:
    assert found((1, 0.9, 0, 0.1)) == []  # the end of the answer
    assert found((3, 0.9, 1, 0.1)) == []  # " x" would become " xy" again
    assert found((1, 0.9, 5, 0.1)) == []  # half a character
    assert found((1, 0.4, 2, 0.04)) == []  # too rarely right
    assert found() == []


def test_what_is_healed_stands_before() -> None:
    one = generation((7, 1), ((2, 0.3),), (0.6,))
    assert [way.text for way in forks(one, PIECES.__getitem__)] == [" re y"]


def test_what_must_still_be_written() -> None:
    way = forks(generation((7, 1), ((2, 0.3),), (0.6,)), PIECES.__getitem__)[0]
    assert way.text == " re y"
    assert way.left([" re yes", " re no", " re ", " re y in"]) == ()  # " re " is written
    assert way.left([" re yes", " re no"]) == ("es",)
    assert way.left([]) == ()


def test_two_runs_are_told_as_one() -> None:
    first = generation((7, 1, 4), ((2, 0.3), (6, 0.4)), (0.6, 0.5))
    way = forks(first, PIECES.__getitem__)[1]
    assert way.text == " re x)"
    second = generation((7, 1, 6, 4), (), (0.8,))
    joined = way.joined(first, second)
    assert joined.ids == second.ids
    assert joined.probabilities == (0.6, 0.4, 0.8)
    assert (joined.healed, joined.prefilled, joined.reused) == (1, 5, 6)
    assert (joined.drafted, joined.passes, joined.decode_ms) == (2, 4, 8.0)
