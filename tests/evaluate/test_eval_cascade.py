"""Small and large model played together, on cases whose outcome can be told by hand."""

from __future__ import annotations

import pytest

from mccomd.evaluate.answers import Answer
from mccomd.evaluate.cascade import Latency, Play, Rejection, likeness, play_all, table_of
from mccomd.evaluate.cases import Case
from mccomd.evaluate.report import threshold_rows

LATENCY = Latency(first_ms=100, token_ms=10)
CASE = Case("a", "m.py", "x = ", "\n", "compute_total(items)", language="python")
RIGHT = Answer(id="a", text="compute_total(items)", confidence=0.9, ms=50, decode_ms=40, generated=8)


def wrong(confidence: float, text: str = "compute_sum()") -> Answer:
    return Answer(id="a", text=text, confidence=confidence, ms=50, decode_ms=40, generated=8)


def play(
    small: Answer, large: Answer, rejection: Rejection, threshold: float = 0.5, key_ms: float = 100.0
) -> tuple[object, ...]:
    (outcome,) = play_all([CASE], {"a": small}, {"a": large}, Play(threshold, rejection, LATENCY, key_ms))
    return outcome.score.exact, outcome.called, outcome.wasted, outcome.first_ms, outcome.final_ms


def test_a_sure_and_right_answer_stays_whatever_the_rule() -> None:
    for rejection in ("none", "oracle", "typed"):
        assert play(RIGHT, wrong(0), rejection) == (True, False, False, 50, 50)  # type: ignore[arg-type]


def test_an_unsure_answer_goes_to_the_large_model() -> None:
    # 50 ms of its own, then 100 + 8 * 10
    assert play(wrong(0.3), RIGHT, "none") == (True, True, False, 50 + 180, 50 + 180)


def test_without_rejection_a_sure_and_wrong_answer_stays() -> None:
    assert play(wrong(0.7), RIGHT, "none") == (False, False, False, 50, 50)


def test_the_oracle_rejects_at_once() -> None:
    assert play(wrong(0.7), RIGHT, "oracle") == (True, True, False, 50, 50 + 180)


def test_typing_rejects_at_the_first_character_that_differs() -> None:
    # "compute_" agrees, the ninth key rejects; 180 ms later one more key was typed, and the answer still fits
    assert play(wrong(0.7), RIGHT, "typed") == (True, True, False, 50, 50 + 9 * 100 + 180)


def test_an_answer_that_comes_when_all_is_typed_is_wasted() -> None:
    assert play(wrong(0.7), RIGHT, "typed", key_ms=5.0) == (False, True, True, 50, 50)


def test_an_answer_that_does_not_begin_with_what_was_typed_is_wasted() -> None:
    assert play(wrong(0.7), wrong(0, "other()"), "typed") == (False, True, True, 50, 50)


def test_an_answer_that_is_right_so_far_is_no_rejection() -> None:
    assert play(wrong(0.7, "compute_total("), RIGHT, "typed") == (False, False, False, 50, 50)


def test_no_local_text_asks_the_large_model() -> None:
    assert play(wrong(0.9, ""), RIGHT, "typed")[:3] == (True, True, False)


def test_a_draft_saves_the_tokens_that_agree() -> None:
    assert LATENCY.of(RIGHT) == 180
    assert LATENCY.of(RIGHT, RIGHT.text) == 110
    assert LATENCY.of(RIGHT, RIGHT.text[:10]) == pytest.approx(140)
    assert LATENCY.of(RIGHT, "x") == 180


def test_the_table() -> None:
    cases = [CASE, Case("b", "m.py", "y = ", "\n", "1 + 2", language="python")]
    small = {"a": wrong(0.3, ""), "b": Answer(id="b", text="1 + 2", confidence=0.8, ms=40, generated=3)}
    large = {"a": RIGHT, "b": Answer(id="b", text="1 + 3", generated=3), "c": RIGHT}
    found = table_of(cases, small, large, 0.5, LATENCY)
    rows = {name: (row["em"], row["calls_share"]) for name, row in found["rows"].items()}
    assert rows["local"] == (0.5, 0.0)  # an empty answer asks nobody there
    assert rows["cloud"] == (0.5, 1.0)
    assert rows["cascade_typed"] == rows["cascade_oracle"] == rows["cascade_routed"] == (1.0, 0.5)
    ends = found["sweep"][0], found["sweep"][-1]
    assert [(end["calls_share"], end["em"]) for end in ends] == [(0.5, 1.0), (1.0, 0.5)]
    assert [(end["typed"]["calls_share"], end["typed"]["em"]) for end in ends] == [(0.5, 1.0), (1.0, 0.5)]
    assert found["cloud_latency"]["measured"] is False


def test_the_thresholds_beside_the_one_in_force() -> None:
    """A threshold above a wrong answer's confidence asks at once what typing would have asked later."""
    small, large = {"a": wrong(0.62)}, {"a": RIGHT}
    table = table_of([CASE], small, large, 0.45, LATENCY)
    before, after = (next(p for p in table["sweep"] if p["threshold"] == t) for t in (0.6, 0.7))
    assert (before["calls_share"], before["typed"]["calls_share"]) == (0.0, 1.0)
    assert (after["calls_share"], after["typed"]["calls_share"]) == (1.0, 1.0)
    assert after["typed"]["final_ms"] < before["typed"]["final_ms"]
    head, *rows = threshold_rows(table)
    assert [row[0] for row in rows] == ["0.00", "0.40*", "0.70"]  # what changes nothing is left out
    assert {len(row) for row in rows} == {len(head)}


def test_likeness() -> None:
    small = {"a": Answer(id="a", text="abcd")}
    found = likeness([CASE], small, {"a": Answer(id="a", text="abxx")})
    assert (found["es"], found["same"], found["agreed_start"]) == (0.5, 0.0, 0.5)
    assert likeness([CASE], small, {"a": Answer(id="a", text=" ")})["n"] == 0
