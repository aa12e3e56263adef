"""After a rejection the repository is searched with the rejected text, too: who reads what was found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .test_invariants import Cascade

OPTIONS: dict[str, Any] = {
    "unsure": "hold", "updates": True, "read_ms": 0, "stream_ms": 1, "backend": "large",
    "prime_ahead": "never", "is_open": True, "trouble": "", "trouble_after": 0,
}  # fmt: skip


@pytest.fixture
def user() -> Iterator[Cascade]:
    machine = Cascade()
    yield machine
    machine.teardown()


def reject(user: Cascade, **options: Any) -> None:
    """An answer is read and typed against; the next one is asked for and has its first tokens."""
    user.begin(**{**OPTIONS, **options})
    user.ask()
    assert [s.score for s in user.model.jobs[0].generate.snippets] == [2.0]  # as the retriever has it
    user.local_answer("ab", 0.9, False)
    user.time_passes(13 / 16)
    user.type("((")
    user.ask()
    user.first_tokens(0.9)


def test_the_large_model_reads_both_rounds_and_the_local_one_its_own(user: Cascade) -> None:
    reject(user)
    (call,) = user.script.calls
    assert (call.request.draft, call.request.typed, call.request.rejected) == ("ab", "((", True)
    assert [s.score for s in call.request.snippets] == [pytest.approx(1.0)]  # found by both, at their best
    assert [s.score for s in user.model.jobs[1].generate.snippets] == [2.0]
    user.local_answer("b", 0.9, False)
    found = user.explanations.find("last")
    assert (found.rejected, [s.score for s in found.large]) == ("ab", [pytest.approx(1.0)])


def test_where_nobody_else_can_be_asked_the_local_model_reads_them(user: Cascade) -> None:
    reject(user, backend="")
    assert [s.score for s in user.model.jobs[1].generate.snippets] == [pytest.approx(1.0)]
    user.local_answer("b", 0.9, False)
    user.time_passes(13 / 16)
    user.type("a")
    user.ask()
    assert [s.score for s in user.model.jobs[2].generate.snippets] == [pytest.approx(1.0)]  # and keeps them


def test_confident_after_a_rejection_the_local_answer_is_shown_at_once(user: Cascade) -> None:
    reject(user)
    user.local_answer("b", 0.9, False)
    assert user.asked[-1].shown == "b"
    user.large_model_speaks("baab", True, False)
    assert [u.text for u in user.asked[-1].updates][-1] == "baab"
    assert user.violations == []


@pytest.mark.parametrize("updates", [True, False])
def test_an_unsure_answer_that_ends_before_its_third_token_is_held_back_too(
    user: Cascade, updates: bool
) -> None:
    user.begin(**{**OPTIONS, "updates": updates})
    user.ask()
    user.model.finish_short(user.model.open_jobs()[0], "a", 0.1)
    user.settle()
    assert user.asked[-1].shown == ""
    user.large_model_speaks("baab", True, False)
    assert [user.asked[-1].shown, *(u.text for u in user.asked[-1].updates)][-1] == "baab"
    assert user.violations == []


def test_it_is_shown_once_the_large_model_fails(user: Cascade) -> None:
    user.begin(**OPTIONS)
    user.ask()
    user.model.finish_short(user.model.open_jobs()[0], "a", 0.1)
    user.time_passes(2.0)
    assert [u.text for u in user.asked[-1].updates] == ["a"]
    assert user.violations == []


def test_one_rejection_is_one_question(user: Cascade) -> None:
    reject(user)
    user.local_answer("b", 0.9, False)
    user.large_model_speaks("baab", True, False)
    user.edited(user.text, user.cursor)
    user.jump(0)
    user.ask()
    user.first_tokens(0.9)
    assert len(user.script.calls) == 1


def test_the_router_in_the_shadow_is_asked_the_same(user: Cascade) -> None:
    reject(user)
    user.local_answer("b", 0.9, False)
    shadow = user.routing.shadow_status()
    assert (shadow.requests, shadow.both, shadow.neither) == (2, 1, 1)
    assert user.explanations.find("last").shadow == "scripted would have said: escalated: rejected"
