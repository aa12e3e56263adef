"""An endpoint that fails is left alone, and looked at again with one request."""

from __future__ import annotations

import pytest

from mccomd.cloud.breaker import COOL_S, MAX_COOL_S, OPEN_S, WITHIN_S, Breaker, retry_after_s


def test_three_failures_open_it_and_one_request_looks() -> None:
    breaker = Breaker()
    for now in (0.0, 1.0, 2.0):
        assert breaker.refusal(now) == ""
        breaker.begin()
        breaker.failed(now, "no connection")
    assert breaker.state(3.0) == "cooling"
    assert breaker.refusal(3.0) == "3 failures in a row, the last: no connection; asked again in 14 s"
    assert breaker.refusal(2 + OPEN_S) == ""
    breaker.begin()
    assert "one request is looking" in breaker.refusal(2 + OPEN_S)
    breaker.failed(20.0, "again")
    assert breaker.state(21.0) == "cooling"
    breaker.begin()
    breaker.succeeded()
    assert (breaker.state(36.0), breaker.refusal(36.0)) == ("ready", "")
    breaker.failed(37.0, "once")
    assert breaker.refusal(37.0) == ""


def test_failures_far_apart_or_with_an_answer_between_do_not_count() -> None:
    breaker = Breaker()
    for now in (0.0, 1.0, WITHIN_S + 1):
        breaker.failed(now, "x")
    assert breaker.refusal(WITHIN_S + 1) == ""
    other = Breaker()
    for now in (0.0, 1.0):
        other.failed(now, "x")
        other.succeeded()
    other.failed(2.0, "x")
    assert other.refusal(2.0) == ""


def test_a_cancelled_look_lets_the_next_one_look() -> None:
    breaker = Breaker()
    for now in (0.0, 0.1, 0.2):
        breaker.failed(now, "x")
    breaker.begin()
    breaker.left()
    assert breaker.refusal(OPEN_S + 1) == ""


@pytest.mark.parametrize(("asked", "for_s"), [(7.0, 7.0), (None, COOL_S), (1e9, MAX_COOL_S), (-3.0, 0.0)])
def test_cool_down(asked: float | None, for_s: float) -> None:
    breaker = Breaker()
    breaker.cool_down(100.0, asked, "429")
    assert breaker.refusal(100.0 + for_s) == ""
    assert for_s == 0 or breaker.refusal(100.0 + for_s - 0.1).startswith("429; asked again in")


def test_disabled_is_for_good() -> None:
    breaker = Breaker()
    breaker.disable("401: no such key")
    breaker.succeeded()
    assert breaker.refusal(1e9).startswith(
        "401: no such key; nothing is sent until the configuration changes"
    )


def test_a_failure_is_told_before_it_is_enough_to_open_it() -> None:
    """`status` and `doctor` called an endpoint ready of which nothing had ever come."""
    breaker = Breaker()
    breaker.failed(0.0, "no connection")
    assert (breaker.state(0.0), breaker.last) == ("ready", "the last request failed: no connection")
    breaker.left()  # the user typed on
    assert breaker.last
    breaker.succeeded()
    assert breaker.last == ""
    breaker.left("400: what is a `prompt`?")
    assert "400" in breaker.last


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "9"}, 9.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 90.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:05 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "-4"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, 10.0) == seconds
