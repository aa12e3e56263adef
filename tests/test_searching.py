"""Behind an answer a more probable text is looked for: what an editor sees of it, through the socket."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from mccomd.client import Client
from mccomd.errors import DaemonUnavailableError
from mccomd.protocol import SEARCH_RUNNING

from .conftest import Daemon
from .test_likelier import CACHE, MEAN

TIMER = """class Timer:
    def __init__(self):
        self.start = time.time()

    def elapsed(self):
        """
SWAP = "def swap(items, i, j):\n    "
SLOW = "[power]\nmode = 'full'\n[completion]\ndeadline_ms = 60000\nsearch_ms = 60000\n"


@pytest.fixture(scope="module")
def searching(start: Callable[..., Daemon]) -> Daemon:
    return start(SLOW)


def end_of(text: str) -> dict[str, int]:
    lines = text.split("\n")
    return {"line": len(lines) - 1, "column": len(lines[-1])}


def ask(client: Client, text: str, path: str) -> dict[str, Any]:
    client.call("document/open", {"path": path, "text": text, "version": 0})
    place = {"path": path, "position": end_of(text), "version": 0}
    return dict(client.call("complete", place, timeout_s=60))


def explained(client: Client, answer: dict[str, Any]) -> dict[str, Any]:
    """What `explain` says once nothing more is to come."""
    until = time.monotonic() + 60
    while True:
        found = client.call("explain", {"request_id": answer["request_id"]})
        if found["search"] != SEARCH_RUNNING:
            return dict(found)
        assert time.monotonic() < until
        time.sleep(0.01)


def improved(client: Client, folder: str) -> tuple[str, str, dict[str, Any], dict[str, Any]]:
    """A text, its path, the answer, and what `explain` says: the first where something better was found.

    The choices are close: which of several is taken first may hang on the batch that a token was read in.
    """
    for name, text in {"timer": TIMER, "swap": SWAP, "cache": CACHE}.items():
        path = f"/{folder}/{name}.py"
        answer = ask(client, text, path)
        found = explained(client, answer)
        if any(each.startswith("local") for each in found["updates"]):
            return text, path, answer, found
    raise AssertionError("nowhere a more probable text")


def test_a_more_probable_text_takes_the_answers_place(searching: Daemon) -> None:
    with searching.client() as client:
        _, path, answer, found = improved(client, "a")
        (update,) = (each.params for each in client.notifications if each.method == "update")
    assert update["text"] not in ("", answer["text"])
    assert (update["request_id"], update["path"], update["version"]) == (answer["request_id"], path, 0)
    assert (update["source"], update["final"], update["model"]) == ("local", True, answer["model"])
    assert update["ms"] > answer["ms"]
    assert found["search"] == "a more probable text"
    assert found["text"] == update["text"]
    assert found["stages_ms"]["search"] > 0
    assert len(found["updates"]) == 1


def test_what_was_found_is_remembered(searching: Daemon) -> None:
    with searching.client() as client:
        text, path, _, found = improved(client, "b")
        better = found["text"]
        typed = text + better[:2]
        client.call("document/change", {"path": path, "version": 1, "changes": [{"text": typed}]})
        place = {"path": path, "position": end_of(typed), "version": 1}
        again = client.call("complete", place, timeout_s=60)
    assert (again["source"], again["text"]) == ("cache", better[2:])


def test_nothing_is_looked_for_behind_a_sure_answer(searching: Daemon) -> None:
    with searching.client() as client:
        answer = ask(client, MEAN, "/s/mean.py")
        found = explained(client, answer)
    assert answer["text"] == " total"
    assert (found["search"], found["updates"]) == ("", [])


def test_a_client_without_updates_keeps_its_answer(searching: Daemon) -> None:
    with searching.client(updates=False) as client:
        found = explained(client, ask(client, TIMER, "/s/plain.py"))
        assert (found["search"], found["updates"]) == ("", [])
        with pytest.raises(DaemonUnavailableError):
            client.wait_notification("update", 0.3)


def test_who_wants_to_wait_gets_the_last_word(searching: Daemon) -> None:
    with searching.client() as client:
        text, path, answer, found = improved(client, "c")
    with searching.client(updates=False) as client:
        client.call("document/open", {"path": path, "text": text, "version": 0})
        place = {"path": path, "position": end_of(text), "wait": True}
        waited = client.call("complete", place, timeout_s=60)
        told = explained(client, waited)
    assert waited["text"] == found["text"] != answer["text"]
    assert waited["stages_ms"]["search"] > 0
    assert (told["search"], told["updates"]) == ("a more probable text", [])


def test_no_update_once_the_answer_was_accepted(searching: Daemon) -> None:
    with searching.client() as client:
        answer = ask(client, TIMER, "/s/taken.py")
        client.call("feedback", {"request_id": answer["request_id"], "kind": "accepted"})
        found = explained(client, answer)
    search_was_faster = any(each.startswith("local") for each in found["updates"])
    if not search_was_faster:
        assert found["text"] == answer["text"]
        assert all("accepted" in each for each in found["updates"])


def test_a_request_comes_first(searching: Daemon) -> None:
    with searching.client() as client:
        first = ask(client, TIMER, "/s/first.py")
        second = ask(client, MEAN, "/s/second.py")
        found = explained(client, first)
    assert second["text"] == " total"
    assert found["search"] in ("", "gave way to a request", "a more probable text", "nothing more probable")


@pytest.mark.parametrize("change", [("search_ms = 60000", "search_ms = 0"), ("full", "saver")])
def test_none_when_it_is_switched_off_or_power_is_short(
    start: Callable[..., Daemon], change: tuple[str, str]
) -> None:
    own = start(SLOW.replace(*change))
    with own.client() as client:
        for name, text in {"timer": TIMER, "swap": SWAP, "cache": CACHE}.items():
            found = explained(client, ask(client, text, f"/s/{name}.py"))
            assert (found["search"], found["updates"]) == ("", [])
