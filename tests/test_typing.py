"""A person types: what comes without the model, what is read ahead, when the model goes and comes back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from mccomd.client import Client

from .conftest import FINISHED, Daemon

LINES = "".join(f"total_{n} = total_{n - 1} + values[{n}]\n" for n in range(1, 30))


class Typist:
    """One document in one client."""

    def __init__(self, client: Client, path: str, text: str) -> None:
        self._client, self._path, self._text, self._version = client, path, text, 0
        client.call("document/open", {"path": path, "text": text, "version": 0})

    def type(self, text: str) -> None:
        self._put(self._text + text)

    def undo(self, characters: int) -> None:
        self._put(self._text[:-characters])

    def ask(self) -> dict[str, Any]:
        return dict(self._client.call("complete", {**self._place(), "deadline_ms": 30_000}, timeout_s=60))

    def warm(self) -> dict[str, Any]:
        return dict(self._client.call("warm", self._place(), timeout_s=60))

    def _place(self) -> dict[str, Any]:
        lines = self._text.split("\n")
        return {"path": self._path, "position": {"line": len(lines) - 1, "column": len(lines[-1])}}

    def _put(self, text: str) -> None:
        self._text, self._version = text, self._version + 1
        change = {"path": self._path, "version": self._version, "changes": [{"text": text}]}
        self._client.call("document/change", change)


def test_what_is_typed_as_it_was_shown_needs_no_model(daemon: Daemon) -> None:
    with daemon.client() as client:
        typist = Typist(client, "/t/a.py", LINES + "total_30 = ")
        shown = typist.ask()
        assert shown["source"] == "local"
        assert len(shown["text"]) >= 4
        for done in range(1, len(shown["text"])):
            typist.type(shown["text"][done - 1])
            answer = typist.ask()
            assert (answer["source"], answer["text"]) == ("cache", shown["text"][done:])
            assert answer["request_id"] != shown["request_id"]
            assert (answer["confidence"], answer["prefilled"]) == (shown["confidence"], 0)


def test_the_line_below_is_not_offered_once_more(daemon: Daemon) -> None:
    """It is what the model finds most probable there; its second choice is shown."""
    above = "def visit(stack, node):\n    stack.push(node.left)\n    stack."
    with daemon.client() as client:
        found = {}
        for name, below in (("a", "return stack"), ("b", "stack.push(node.right)\n    return stack")):
            text = f"{above}\n    {below}\n"
            client.call("document/open", {"path": f"/t/{name}.py", "text": text, "version": 0})
            place = {"path": f"/t/{name}.py", "position": {"line": 2, "column": 10}, "deadline_ms": 30_000}
            found[name] = client.call("complete", place, timeout_s=60)
        assert found["a"]["text"] == "push(node.right)"
        assert found["b"]["text"] not in ("", "push(node.right)")
        assert found["b"]["confidence"] < found["a"]["confidence"]


def test_undo_finds_what_stood_there(daemon: Daemon) -> None:
    with daemon.client() as client:
        typist = Typist(client, "/t/b.py", LINES + "total_30 = ")
        shown = typist.ask()
        typist.type("zebra")
        assert typist.ask()["source"] != "cache"
        typist.undo(5)
        again = typist.ask()
        assert (again["source"], again["text"]) == ("cache", shown["text"])


def test_what_was_dismissed_stays_away_when_typed_through(daemon: Daemon) -> None:
    with daemon.client() as client:
        typist = Typist(client, "/t/c.py", LINES + "total_30 = ")
        shown = typist.ask()
        client.call("feedback", {"request_id": shown["request_id"], "kind": "dismissed"})
        answer = typist.ask()
        assert (answer["text"], answer["reason"]) == ("", "you rejected this text here before")


def test_reading_ahead_leaves_little_to_read(daemon: Daemon) -> None:
    with daemon.client() as client:
        typist = Typist(client, "/t/d.py", LINES.replace("total", "amount") + "amount_30 = ")
        ahead = typist.warm()
        assert ahead["tokens"] > 100
        answer = typist.ask()
        assert answer["prefilled"] <= 8
        assert answer["reused"] >= ahead["tokens"] - 8


def test_reading_ahead_gives_way_to_a_question(daemon: Daemon) -> None:
    with daemon.client() as client, daemon.client() as other:
        text = "".join(f"def gives_way_{n}(a, b):\n    return a + {n} * b\n\n" for n in range(80))
        Typist(client, "/t/e.py", text)
        pending = client.send("warm", {"path": "/t/e.py", "position": {"line": 200, "column": 0}})
        answer = Typist(other, "/t/f.py", "import os\nimport ").ask()
        assert answer["finish"] in FINISHED
        assert client.result(pending, timeout_s=60)["reason"] in ("", "gave way to a request")


def test_an_idle_model_goes_and_comes_back(start: Callable[..., Daemon]) -> None:
    own = start("[model]\nidle_unload_s = 1\n[power]\nmode = 'full'\n")

    def wait(state: str) -> dict[str, Any]:
        deadline = time.monotonic() + 30
        while (found := client.call("status"))["model"]["state"] != state:
            assert time.monotonic() < deadline, found
        return dict(found)

    with own.client() as client:
        typist = Typist(client, "/t/g.py", LINES + "total_30 = ")
        assert typist.ask()["text"]
        loaded = client.call("status")["rss_mb"]
        unloaded = wait("unloaded")
        assert unloaded["model"]["loaded"] is False
        assert unloaded["rss_mb"] < loaded - 100
        typist.type("tot")
        assert typist.ask()["finish"] in FINISHED
        wait("unloaded")


@pytest.mark.parametrize("mode", ["saver", "full"])
def test_the_mode_and_its_reason_are_shown(start: Callable[..., Daemon], mode: str) -> None:
    own = start(f"[power]\nmode = '{mode}'\n")
    with own.client() as client:
        assert client.call("status")["power"] == {"mode": mode, "reason": "power.mode of the config"}
        ahead = Typist(client, "/t/h.py", LINES).warm()
    assert (ahead["tokens"] == 0) == (mode == "saver")
