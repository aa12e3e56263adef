"""What is remembered of a document: not shown again, asked for again, told to whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mccomd.behaviour import Judgement, Offered, Verdict
from mccomd.client import Client
from mccomd.config import BehaviourConfig
from mccomd.errors import RequestError
from mccomd.protocol import Feedback, FeedbackKind
from mccomd.session import MAX_OFFERED, MAX_SESSIONS, Sessions
from mccomd.types import Document

from .conftest import Daemon

A, B, Z = "import os\nx = ", "\nprint(x)\n", "total(items)"


class Client_:
    """Sessions told what a client does, and what they told of it."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, Judgement]] = []
        self.sessions = Sessions(
            BehaviourConfig, lambda path, j: self.told.append((path, j.verdict.value, j))
        )
        self.version = 0

    def ask(self, prefix: str, suffix: str, now: float) -> None:
        self.version += 1
        document = Document("/a.py", prefix + suffix, "python", self.version)
        self.sessions.cursor_is(document, prefix, suffix, now)

    def change(self, text: str, now: float) -> None:
        self.version += 1
        self.sessions.text_is(Document("/a.py", text, "python", self.version), now)

    def answer(self, id: str, prefix: str, suffix: str, text: str, now: float) -> None:
        self.sessions.offer("/a.py", Offered(id, prefix, suffix, text), now)

    def feedback(self, id: str, kind: FeedbackKind, now: float, characters: int = 0) -> None:
        self.sessions.feedback(Feedback(id, kind, characters), now)

    @property
    def verdicts(self) -> list[str]:
        return [verdict for _, verdict, _ in self.told]


@pytest.fixture
def client() -> Client_:
    return Client_()


def test_typed_against_it_is_rejected_and_asked_for_on_this_line(client: Client_) -> None:
    client.ask(A, B, 0)
    client.answer("r1", A, B, Z, 0.1)
    client.ask(A + "su", B, 2)
    session = client.sessions.of("/a.py")
    assert client.verdicts == ["rejected"]
    assert session.was_rejected(A, B, Z)
    found = session.rejection(A + "su", B, 2)
    assert found is not None
    assert found.offered.text == Z
    assert session.rejection(A + "sum", B, 3) is found  # until somebody has made it good
    session.made_good(found)
    assert session.rejection(A + "sum(", B, 4) is None


@pytest.mark.parametrize(
    ("prefix", "suffix", "at"),
    [(A + "su\n", B, 2.1), (A[:-2], B, 2.1), (A + "su", B[:-1], 2.1), (A + "su", B, 13.0)],
)
def test_a_rejection_is_of_this_line_and_of_now(client: Client_, prefix: str, suffix: str, at: float) -> None:
    client.answer("r1", A, B, Z, 0)
    client.ask(A + "su", B, 2)
    assert client.sessions.of("/a.py").rejection(prefix, suffix, at) is None


def test_what_was_rejected_is_not_shown_again_however_much_of_it_is_typed(client: Client_) -> None:
    client.answer("r1", A, B, Z, 0)
    client.feedback("r1", FeedbackKind.DISMISSED, 1)
    session = client.sessions.of("/a.py")
    assert session.was_rejected(A, B, Z)
    assert session.was_rejected(A + "to", B, "tal(items)")
    assert not session.was_rejected(A, B, Z + "[0]")
    assert not session.was_rejected("y = 1\n" + A[-8:], B, Z + "x")
    assert not session.was_rejected(A, "\n\n" + B, Z)


def test_a_typo_takes_the_rejection_back(client: Client_) -> None:
    client.answer("r1", A, B, Z, 0)
    client.change(A + "s" + B, 2)
    client.change(A + B, 2.2)
    session = client.sessions.of("/a.py")
    assert not session.was_rejected(A, B, Z)
    assert session.rejection(A, B, 2.3) is None


def test_accepted_after_all(client: Client_) -> None:
    """A client that inserts something else on accepting: its word comes after the text looked like a no."""
    client.answer("r1", A, B, Z, 0)
    client.change(A + "Total(items)" + B, 2)
    client.feedback("r1", FeedbackKind.ACCEPTED, 2.1)
    assert client.verdicts == ["rejected", "accepted"]
    assert not client.sessions.of("/a.py").was_rejected(A, B, Z)


def test_feedback_on_the_rest_is_feedback_on_the_answer(client: Client_) -> None:
    client.answer("r1", A, B, Z, 0)
    client.ask(A + "to", B, 1)
    client.answer("r2", A + "to", B, "tal(items)", 1)
    client.feedback("r2", FeedbackKind.ACCEPTED, 2)
    ((_, verdict, judgement),) = client.told
    assert (verdict, judgement.offered.request_id) == ("accepted", "r1")
    assert client.sessions.was_taken("/a.py", "r1")
    assert client.sessions.was_taken("/a.py", "r2")


def test_feedback_on_an_answer_of_its_own_is_not_feedback_on_the_one_before(client: Client_) -> None:
    """A request had the rest of one answer, then an update of its own; that one was accepted."""
    client.answer("r1", A, B, Z, 0)
    client.ask(A, B, 1)
    client.answer("r2", A, B, Z, 1)
    client.answer("r2", A, B, "other(items)", 2)
    client.feedback("r2", FeedbackKind.ACCEPTED, 3)
    assert client.told[-1][2].offered.request_id == "r2"
    assert client.sessions.was_taken("/a.py", "r2")
    assert not client.sessions.was_taken("/a.py", "r1")


def test_what_typing_through_means_is_not_an_accept(client: Client_) -> None:
    """The large model's text may still come while its beginning is typed."""
    client.answer("r1", A, B, Z, 0)
    for n in range(1, len(Z) + 1):
        client.change(A + Z[:n] + B, n)
    assert client.verdicts == [Verdict.TYPED_THROUGH]
    assert not client.sessions.was_taken("/a.py", "r1")
    client.answer("r2", A, B, Z, 20)
    client.change(A + "total" + B, 21)
    assert client.sessions.was_taken("/a.py", "r2")


def test_who_says_shown_once_says_it_always(client: Client_) -> None:
    client.answer("r1", A, B, Z, 0)
    client.feedback("r1", FeedbackKind.SHOWN, 0.1)
    client.change(A + "s" + B, 2)
    client.answer("r2", A + "s", B, "um(items)", 2.1)  # never on the screen, as far as this client says
    client.change(A + "sx" + B, 4)
    assert client.verdicts == ["rejected", "missed"]


def test_a_closed_document_and_a_client_that_goes(client: Client_) -> None:
    client.answer("r1", A, B, Z, 0)
    client.sessions.forget("/a.py", 1)
    client.answer("r2", A, B, Z, 2)
    client.sessions.cancel_all(3)
    assert client.verdicts == ["left", "left"]
    client.sessions.forget("/never.py", 4)


def test_memory_is_bounded(client: Client_) -> None:
    for n in range(MAX_OFFERED + 5):
        client.answer(f"r{n}", A, B, f"{Z}{n}", n)
    with pytest.raises(RequestError):
        client.feedback("r4", FeedbackKind.ACCEPTED, 0)
    client.feedback("r5", FeedbackKind.ACCEPTED, 0)
    for n in range(MAX_SESSIONS + 5):
        client.sessions.of(f"/{n}")
    assert len(client.sessions._by_path) == MAX_SESSIONS


# --- through the socket ----------------------------------------------------------------------------

LINES = "".join(f"total_{n} = total_{n - 1} + values[{n}]\n" for n in range(1, 30))


@pytest.fixture(scope="module")
def quick(start: Callable[..., Daemon]) -> Daemon:
    """A daemon that takes an answer for read as soon as it is shown, and is sure of everything."""
    behaviour = "[behaviour]\nread_ms = 0\nreplaced_ms = 0\n"
    return start(f'[power]\nmode = "full"\n{behaviour}[router]\nthreshold = 0.0\n')


@pytest.fixture
def asking(quick: Daemon) -> Iterator[Client]:
    with quick.client() as client:
        yield client


def ask(client: Client, path: Path, text: str) -> dict[str, Any]:
    """One bare `complete` at the end of a text that it brings along."""
    lines = text.split("\n")
    position = {"line": len(lines) - 1, "column": len(lines[-1])}
    params = {"path": str(path), "text": text, "position": position, "deadline_ms": 30_000}
    return dict(client.call("complete", params, timeout_s=60))


def test_a_client_that_only_asks_rejects_by_typing_on(asking: Client, tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    shown = ask(asking, path, LINES + "total_30 = ")
    assert shown["text"].startswith("total_")
    assert shown["route"].startswith("local")
    against = ask(asking, path, LINES + "total_30 = su")
    assert "you rejected" in against["route"]
    back = ask(asking, path, LINES + "total_30 = ")
    assert back["text"] == shown["text"]  # two characters and gone again: a typo
    ask(asking, path, LINES + "total_30 = summ")
    back = ask(asking, path, LINES + "total_30 = ")
    assert (back["text"], back["reason"]) == ("", "you rejected this text here before")


def test_typing_it_through_or_deleting_rejects_nothing(asking: Client, tmp_path: Path) -> None:
    path = tmp_path / "b.py"
    shown = ask(asking, path, LINES + "total_30 = ")["text"]
    for n in range(1, 4):
        assert ask(asking, path, LINES + "total_30 = " + shown[:n])["text"] == shown[n:]
    assert ask(asking, path, LINES + "total_30")["route"].startswith("local")
    assert ask(asking, path, LINES + "total_30 = ")["text"] == shown
