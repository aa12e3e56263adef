"""What a run says of the texts that took an answer's place."""

from __future__ import annotations

import pytest

from mccomd.evaluate.answers import Answer
from mccomd.evaluate.cascade import Latency, Play, play_all
from mccomd.evaluate.cases import Case
from mccomd.evaluate.figures import score_all, search_figures


def case(id: str, target: str) -> Case:
    return Case(id=id, path="a.py", prefix="x = ", suffix="\n", target=target, language="python")


CASES = [case("a", "one()"), case("b", "two()"), case("c", "three()"), case("d", "four()")]
ANSWERS = {
    "a": Answer(id="a", text="one()", first="other()", search_ms=40.0, ms=10.0, confidence=0.9),
    "b": Answer(id="b", text="other()", first="two()", search_ms=20.0, ms=10.0, confidence=0.9),
    "c": Answer(id="c", text="three()", search_ms=30.0, ms=10.0, confidence=0.9),
    "d": Answer(id="d", text="no()", ms=10.0, confidence=0.9),
}


def test_what_it_did() -> None:
    found = search_figures(score_all(CASES, ANSWERS))
    assert (found["searched_share"], found["replaced_share"], found["em_before"]) == (0.75, 0.5, 0.5)
    assert (found["better"], found["worse"], found["p"]) == (1, 1, 1.0)
    assert (found["ms"]["p50_ms"], found["ms"]["n"]) == (30.0, 3)


def test_nothing_was_asked() -> None:
    found = search_figures([])
    assert (found["searched_share"], found["em_before"], found["ms"]["n"]) == (None, None, 0)


def test_the_last_text_comes_later() -> None:
    large = {each.id: Answer(id=each.id, text="large()") for each in CASES}
    played = play_all(CASES, ANSWERS, large, Play(0.5, "none", Latency()))
    assert [one.first_ms for one in played] == [10.0] * 4
    assert [one.final_ms for one in played] == pytest.approx([50.0, 30.0, 10.0, 10.0])
