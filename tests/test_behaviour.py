"""What does typing say about an answer on the screen? Each rule and each of its constants has its table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mccomd.behaviour import Behaviour, Judgement, Offered, Verdict
from mccomd.config import BehaviourConfig

RULES = BehaviourConfig()
READ = RULES.read_ms / 1000
A, B, Z = "import os\nx = ", "\nprint(x)\n", "total(items)"
SHOWN = Offered("r1", A, B, Z)

# (seconds since the offer, text left of the cursor, text right of it)
Step = tuple[float, str, str]


def watch(*steps: Step, rules: BehaviourConfig = RULES, offered: Offered = SHOWN) -> list[Judgement]:
    """All judgements of an answer offered at 0 s and what happened then, seen by requests."""
    behaviour = Behaviour(rules)
    found = behaviour.offer(offered, 0.0)
    for at, prefix, suffix in steps:
        found += behaviour.observe(prefix, suffix, at)
    return found


def verdicts(found: list[Judgement]) -> list[Verdict]:
    return [judgement.verdict for judgement in found if not judgement.withdrawn]


@pytest.mark.parametrize("whole_text", [False, True])
@pytest.mark.parametrize(
    ("steps", "wanted"),
    [
        # typed as it is shown
        ([(1, A + "t", B)], []),
        ([(1, A + "t", B), (2, A + "to", B)], []),
        ([(0.1 * n, A + Z[:n], B) for n in range(1, 13)], [Verdict.TYPED_THROUGH]),
        # taken at once
        ([(1, A + Z, B)], [Verdict.ACCEPTED]),
        ([(1, A + "t", B), (2, A + Z, B)], [Verdict.ACCEPTED]),
        ([(0.01, A + Z, B)], [Verdict.ACCEPTED]),  # who accepts has read
        ([(1, A + Z + "\n", B)], [Verdict.ACCEPTED]),
        ([(1, A + "total", B)], [Verdict.ACCEPTED_WORD]),
        ([(1, A + "total", B), (2, A + "totals", B)], [Verdict.ACCEPTED_WORD, Verdict.ACCEPTED_WORD]),
        # typed against
        ([(READ, A + "s", B)], [Verdict.REJECTED]),
        ([(READ, A + "sum", B)], [Verdict.REJECTED]),
        ([(READ, A + "\n", B)], [Verdict.REJECTED]),
        ([(READ / 2, A + "t", B), (READ, A + "te", B)], [Verdict.REJECTED]),
        # against it before it was read
        ([(READ - 0.01, A + "s", B)], [Verdict.MISSED]),
        # long after
        ([(RULES.window_ms / 1000, A + "s", B)], [Verdict.REJECTED]),
        ([(RULES.window_ms / 1000 + 0.01, A + "s", B)], [Verdict.LEFT]),
        # deletions, jumps and changes elsewhere say nothing
        ([(1, A[:-1], B)], [Verdict.LEFT]),
        ([(1, A[:-4], B)], [Verdict.LEFT]),
        ([(1, A, B[1:])], [Verdict.LEFT]),
        ([(1, A, B + "y = 1\n")], [Verdict.LEFT]),
        ([(1, "import re\nx = ", B)], [Verdict.LEFT]),
        # the editor closes brackets and quotes
        ([(1, A + "total(", ")" + B)], [Verdict.ACCEPTED_WORD]),
        ([(1, A + "to", B), (1.2, A + "tot", B)], []),
        # nothing at all
        ([(1, A, B)], []),
        ([(20, A, B)], []),
    ],
)
def test_what_becomes_of_an_answer(steps: list[Step], wanted: list[Verdict], whole_text: bool) -> None:
    """The same by requests, which know the cursor, and by changes of the text, which do not."""
    behaviour = Behaviour()
    found = behaviour.offer(SHOWN, 0.0)
    for at, prefix, suffix in steps:
        found += (
            behaviour.observe_text(prefix + suffix, at)
            if whole_text
            else behaviour.observe(prefix, suffix, at)
        )
    if whole_text and wanted == [Verdict.ACCEPTED_WORD] and ")" + B in steps[0][2]:
        wanted = []  # an insertion whose end nobody knows: part of it may be the editor's own
    assert verdicts(found) == wanted


def test_the_cursor_may_jump_without_a_change_of_the_text() -> None:
    assert verdicts(watch((1, "import os", "\nx = " + B))) == [Verdict.LEFT]


@pytest.mark.parametrize(
    ("text", "typed", "against"),
    [
        ("print(x)", "p", False),
        ("(x)", "()", False),  # the cursor is between them
        ('f("a")', 'f("")', False),
        ("[1]", "[]", False),
        ('"a"', '""', False),
        ("x", ")", True),
        ("x)", ")", True),
        ("f(x)", "g()", True),
        ("f(x)", "f)", True),
    ],
)
def test_closed_by_the_editor_or_typed_against(text: str, typed: str, against: bool) -> None:
    behaviour = Behaviour(replace(RULES, accept_chars=100))
    behaviour.offer(Offered("r", A, B, text), 0.0)
    found = behaviour.observe_text(A + typed + B, 1.0)
    assert verdicts(found) == ([Verdict.REJECTED] if against else [])


@pytest.mark.parametrize(
    ("changed", "steps", "wanted"),
    [
        ({"read_ms": 0}, [(0.0, A + "s", B)], Verdict.REJECTED),
        ({"read_ms": 2000}, [(1.9, A + "s", B)], Verdict.MISSED),
        ({"window_ms": 1000}, [(1.1, A + "s", B)], Verdict.LEFT),
        ({"accept_chars": 20}, [(1.0, A + Z, B)], Verdict.TYPED_THROUGH),
        ({"accept_chars": 1}, [(1.0, A + "t", B)], Verdict.ACCEPTED_WORD),
        ({"infer": False}, [(1.0, A + "s", B)], None),
    ],
)
def test_each_constant_is_an_option(
    changed: dict[str, int], steps: list[Step], wanted: Verdict | None
) -> None:
    found = verdicts(watch(*steps, rules=replace(RULES, **changed)))
    assert found == ([wanted] if wanted else [])


@pytest.mark.parametrize(
    ("second", "at", "withdrawn"),
    [
        (Offered("r2", A + "s", B, "um(y)"), 1.0, False),
        (Offered("r2", A + "s", B, "um(y)"), 0.49, True),  # too soon after the first to have been judged
        (Offered("r2", A + "s", B, "um(y)"), 0.51, False),
    ],
)
def test_another_answer_soon_after_takes_the_rejection_back(
    second: Offered, at: float, withdrawn: bool
) -> None:
    behaviour = Behaviour(replace(RULES, read_ms=100))
    behaviour.offer(SHOWN, 0.0)
    assert verdicts(behaviour.observe(A + "s", B, 0.3)) == [Verdict.REJECTED]
    found = behaviour.offer(second, at)
    assert [judgement.withdrawn for judgement in found] == ([True] if withdrawn else [])


@pytest.mark.parametrize(
    "second",
    [
        Offered("r2", A, B, Z + " + rest"),  # it goes on
        Offered("r2", A, B, "total"),  # it is less
        Offered("r2", A + "to", B, "tal(items, key)"),
        Offered("r2", A, B, "sum(items)"),  # it is another
    ],
)
def test_a_replacement_is_no_rejection(second: Offered) -> None:
    behaviour = Behaviour()
    behaviour.offer(SHOWN, 0.0)
    found = behaviour.observe(second.prefix, second.suffix, 0.9) + behaviour.offer(second, 1.0)
    assert verdicts(found) == [Verdict.LEFT]
    assert behaviour.on_screen() == second


def test_the_rest_of_an_answer_is_the_same_answer() -> None:
    """A client that asks at every keystroke gets the rest from memory: the time on the screen runs on."""
    behaviour = Behaviour()
    behaviour.offer(SHOWN, 0.0)
    for n in range(1, 4):
        assert behaviour.observe(A + Z[:n], B, n * 0.2) == []
        assert behaviour.offer(Offered(f"r{n + 1}", A + Z[:n], B, Z[n:]), n * 0.2) == []
    (found,) = behaviour.observe(A + "totem", B, READ)
    assert (found.offered.request_id, found.verdict, found.typed) == ("r1", Verdict.REJECTED, "totem")


@pytest.mark.parametrize(
    ("steps", "mended"),
    [
        ([(1, A + "s", B), (1.2, A, B)], True),
        ([(1, A + "ts", B), (1.2, A + "t", B)], True),
        ([(1, A + "su", B), (1.2, A, B)], True),
        ([(1, A + "sum", B), (1.2, A, B)], False),
        ([(1, A + "s", B), (1.1, A + "sum", B), (1.2, A, B)], False),
        ([(1, A + "s", B), (1.2, A[:-1], B)], False),
    ],
)
def test_a_typo_is_no_rejection(steps: list[Step], mended: bool) -> None:
    found = watch(*steps)
    assert found[0].verdict is Verdict.REJECTED
    assert [judgement.withdrawn for judgement in found[1:]] == ([True] if mended else [])
    assert not any(j.withdrawn for j in watch(*steps, rules=replace(RULES, typo_chars=0)))


def test_after_a_typo_the_answer_is_on_the_screen_again() -> None:
    found = watch((1, A + "s", B), (1.2, A, B), (1.5, A + Z, B))
    assert [(j.verdict, j.withdrawn) for j in found] == [
        (Verdict.REJECTED, False),
        (Verdict.REJECTED, True),
        (Verdict.ACCEPTED, False),
    ]


# --- what the client says --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "characters", "wanted"),
    [
        (Verdict.ACCEPTED, 0, Verdict.ACCEPTED),
        (Verdict.DISMISSED, 0, Verdict.DISMISSED),
        (Verdict.ACCEPTED_WORD, 3, Verdict.ACCEPTED_WORD),
        (Verdict.ACCEPTED_WORD, 5, Verdict.ACCEPTED_LINE),
        (Verdict.ACCEPTED_WORD, 6, Verdict.ACCEPTED_LINE),
        (Verdict.ACCEPTED_WORD, 7, Verdict.ACCEPTED_WORD),
        (Verdict.ACCEPTED_WORD, 9, Verdict.ACCEPTED),
    ],
)
def test_feedback_is_a_verdict(verdict: Verdict, characters: int, wanted: Verdict) -> None:
    behaviour = Behaviour()
    offered = Offered("r1", A, B, "if a:\n  b")
    behaviour.offer(offered, 0.0)
    (found,) = behaviour.feedback(offered, verdict, 0.1, characters)
    assert (found.verdict, found.explicit) == (wanted, True)


def test_an_answer_that_the_client_has_not_shown_was_not_rejected() -> None:
    behaviour = Behaviour()
    behaviour.offer(SHOWN, 0.0, shown=False)
    assert verdicts(behaviour.observe(A + "s", B, 2.0)) == [Verdict.MISSED]
    behaviour.offer(SHOWN, 10.0, shown=False)
    behaviour.feedback_shown("r1", 11.0)
    assert verdicts(behaviour.observe(A + "s", B, 11.7)) == [
        Verdict.MISSED
    ]  # its time begins when it is shown
    behaviour.offer(SHOWN, 20.0, shown=False)
    behaviour.feedback_shown("r1", 21.0)
    assert verdicts(behaviour.observe(A + "s", B, 21.8)) == [Verdict.REJECTED]


def test_what_was_taken_in_part_is_not_rejected_by_what_follows() -> None:
    behaviour = Behaviour()
    behaviour.offer(SHOWN, 0.0)
    behaviour.feedback(SHOWN, Verdict.ACCEPTED_WORD, 1.0, 5)
    found = behaviour.observe(A + "total", B, 1.1) + behaviour.observe(A + "totals", B, 2.0)
    assert set(verdicts(found)) == {Verdict.ACCEPTED_WORD}


def test_dismissed_it_is_gone_and_typing_says_no_more() -> None:
    behaviour = Behaviour()
    behaviour.offer(SHOWN, 0.0)
    behaviour.feedback(SHOWN, Verdict.DISMISSED, 1.0)
    assert behaviour.observe(A + "s", B, 2.0) == []
    assert not behaviour.watching


def test_the_client_knows_better_than_the_text() -> None:
    """Accepted by an editor that changed it: the text looks like a rejection, the client's word wins."""
    behaviour = Behaviour()
    behaviour.offer(SHOWN, 0.0)
    assert verdicts(behaviour.observe(A + "Total(items)", B, 1.0)) == [Verdict.REJECTED]
    (found,) = behaviour.feedback(SHOWN, Verdict.ACCEPTED, 1.1)
    assert (found.verdict, found.explicit) == (Verdict.ACCEPTED, True)


def test_an_empty_answer_is_never_on_the_screen() -> None:
    behaviour = Behaviour()
    assert behaviour.offer(Offered("r1", A, B, ""), 0.0) == []
    assert not behaviour.watching


def test_leaving_says_nothing() -> None:
    behaviour = Behaviour()
    behaviour.offer(SHOWN, 0.0)
    assert verdicts(behaviour.leave(1.0)) == [Verdict.LEFT]
    behaviour.offer(SHOWN, 0.0, shown=False)
    assert verdicts(behaviour.leave(1.0)) == [Verdict.MISSED]
