"""A call to the large model goes on for the newest request while what is typed agrees with it."""

from __future__ import annotations

import pytest

from mccomd.behaviour import Offered
from mccomd.carried import LargeCall
from mccomd.session import Session
from mccomd.types import CancelToken


class Heard:
    """A listener that writes down what it hears."""

    def __init__(self, live: bool = True) -> None:
        self.live = live
        self.heard: list[str] = []

    def partial(self, raw: str) -> None:
        self.heard.append(f"part {raw}")

    def final(self, raw: str, model: str, ms: float) -> None:
        self.heard.append(f"all {raw}")

    def failed(self, reason: str) -> None:
        self.heard.append(f"failed {reason}")

    def lost(self) -> None:
        self.heard.append("lost")


def call(said: str = "") -> LargeCall:
    """Asked for behind "x = ", with what it has said so far; a blank at its beginning is never inserted."""
    made = LargeCall(Offered("r1", "x = ", "\n", ""), lambda raw: raw.removeprefix(" "))
    if said:
        made.partial(said)
    return made


@pytest.mark.parametrize(
    ("said", "prefix", "suffix", "agrees"),
    [
        ("", "x = ", "\n", True),  # asked again at the same place
        ("", "x = to", "\n", True),  # nothing said yet: nothing contradicted
        ("tot", "x = to", "\n", True),
        ("to", "x = total", "\n", True),  # typed faster than it writes
        (" tot", "x = to", "\n", True),  # as the editor would insert it
        ("tot", "x = tx", "\n", False),
        ("tot", "x =", "\n", False),  # deleted into what was there
        ("tot", "y = to", "\n", False),  # changed elsewhere
        ("tot", "x = to", "\ny", False),
        ("foo(a)", "x = foo(", ")\n", True),  # the editor closed a bracket
    ],
)
def test_whether_a_call_goes_on(said: str, prefix: str, suffix: str, agrees: bool) -> None:
    made, session = call(said), Session()
    session.ask(made)
    session.supersede(CancelToken(), prefix, suffix)
    assert made.cancel.cancelled is not agrees
    assert (session.large is made) is agrees


def test_it_is_heard_by_the_newest_request_from_what_it_has_said_on() -> None:
    made, first, second = call(), Heard(), Heard()
    made.listen(first)
    made.partial("tot")
    first.live = False
    made.listen(second, "to")
    made.partial("total")
    made.final("total_1", "m", 1.0)
    assert (first.heard, second.heard) == (["part tot"], ["part tot", "part total", "all total_1"])
    assert made.rest("total_1", "to") == "tal_1"
    assert not made.agrees("x = to", "\n")  # it has been heard to its end


def test_what_ends_between_two_requests_is_heard_by_the_second() -> None:
    made, first, second = call(), Heard(live=False), Heard()
    made.listen(first)
    made.final("total", "m", 1.0)
    made.failed("")  # the report that ends every call
    assert made.agrees("x = to", "\n")
    made.listen(second, "to")
    assert (first.heard, second.heard) == ([], ["all total"])


@pytest.mark.parametrize("whole", [False, True])
def test_it_is_lost_once_it_says_something_else_than_was_typed(whole: bool) -> None:
    made, heard = call(), Heard()
    made.listen(heard, "tx")
    made.partial("t")
    made.final("total", "m", 1.0) if whole else made.partial("to")
    assert heard.heard == ["part t", "lost"]
    assert made.cancel.cancelled
    made.failed("superseded")
    assert heard.heard == ["part t", "lost"]


def test_a_whole_text_that_is_typed_already_has_nothing_for_anybody() -> None:
    made, heard = call(), Heard()
    made.listen(heard, "total")
    made.final("total", "m", 1.0)
    assert heard.heard == ["lost"]


def test_there_is_one_call_at_a_time_and_none_for_a_closed_document() -> None:
    first, second, session = call(), call(), Session()
    session.ask(first)
    session.ask(second)
    assert (first.cancel.cancelled, second.cancel.cancelled) == (True, False)
    session.give_up()
    assert second.cancel.cancelled
