"""What stands on the screen while a large model is asked, and what may replace it, through the socket.

The large model is a plugin whose pieces come when the test lets them: a file each in a folder.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mccomd.client import Client
from mccomd.errors import DaemonUnavailableError

from .conftest import Daemon, put_plugin

PLUGIN = """
import asyncio, os
from mccomd.hooks import Decision, hookimpl

ROOT = os.environ["PIECES"]

def folder():
    with open(os.path.join(ROOT, "current")) as file:
        return file.read()

class Scripted:
    \"\"\"Unsure of, and asks for, whatever has UNSURE in it; asks for what was rejected.\"\"\"
    name = "scripted"
    unsure = True
    def give_up(self, probabilities):
        return os.path.exists(os.path.join(folder(), "unsure"))
    def decide(self, evidence):
        if evidence.rejected is not None:
            return Decision(True, evidence.confidence, "escalated: rejected " + evidence.rejected)
        unsure = os.path.exists(os.path.join(folder(), "unsure"))
        return Decision(unsure or "ASK" in evidence.prefix, evidence.confidence, "escalated: as told")

class Large:
    name = "large"
    async def stream(self, request):
        mine = folder()
        for n in range(100):
            path = os.path.join(mine, str(n))
            while not os.path.exists(path):
                await asyncio.sleep(0.002)
            text = open(path).read()
            if text == "END":
                return
            if text == "RAISE":
                raise RuntimeError("no")
            if text == "DRAFT":
                text = f"[{request.draft}|{request.typed}|{request.rejected}]"
            yield text

@hookimpl
def mccomd_routers(context):
    return [Scripted()]

@hookimpl
def mccomd_backends(context):
    return [Large()]
"""
CONFIG = """
[power]
mode = "full"
[plugins]
enabled = ["handed"]
[behaviour]
read_ms = 0
replaced_ms = 0
[cloud]
backend = "large"
deadline_ms = 20000
[completion]
deadline_ms = 60000
[router]
name = "scripted"
stream_ms = 1
"""
LINES = "".join(f"total_{n} = total_{n - 1} + values[{n}]\n" for n in range(1, 30))


class Stage:
    """One client typing in one document, and a large model that speaks on cue."""

    _numbers = itertools.count(1)

    def __init__(self, client: Client, folder: Path) -> None:
        self.client, self._folder, self._pieces = client, folder, 0
        self.path = f"/stage/{next(self._numbers)}.py"
        self.text, self.version = LINES + "total_30 = ", 1
        client.call("document/open", {"path": self.path, "text": self.text, "version": 1})

    def unsure(self) -> None:
        (self._folder / "unsure").touch()

    def piece(self, text: str) -> None:
        """The large model's next piece."""
        temporary = self._folder / "next"
        temporary.write_text(text)
        temporary.rename(self._folder / str(self._pieces))
        self._pieces += 1

    def end(self) -> None:
        self.piece("END")

    def type(self, text: str) -> None:
        self.text, self.version = self.text + text, self.version + 1
        change = {"path": self.path, "version": self.version, "changes": [{"text": self.text}]}
        self.client.call("document/change", change)

    def ask(self) -> dict[str, Any]:
        lines = self.text.split("\n")
        position = {"line": len(lines) - 1, "column": len(lines[-1])}
        return dict(self.client.call("complete", {"path": self.path, "position": position}, timeout_s=150))

    def update(self) -> dict[str, Any]:
        return dict(self.client.wait_notification("update", timeout_s=150))

    def no_update(self) -> None:
        """None comes although the large model has finished: `explain` knows that it has."""
        self.explained(lambda found: found["cloud"] is not None and found["cloud"]["done"])
        self.client.call("status")
        assert [n.params for n in self.client.notifications if n.method == "update"] == []

    def explained(self, ready: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        while True:
            found = dict(self.client.call("explain"))
            if ready(found):
                return found

    def feedback(self, answer: dict[str, Any], kind: str) -> None:
        self.client.call("feedback", {"request_id": answer["request_id"], "kind": kind})


@pytest.fixture(scope="module")
def daemons(
    start: Callable[..., Daemon], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Daemon]:
    """One daemon for each set of options."""
    site, root = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("pieces")
    put_plugin(site, "handed", PLUGIN)
    (root / "current").write_text("")

    @functools.cache
    def with_options(options: str) -> Daemon:
        daemon = start(CONFIG + options, PYTHONPATH=str(site), PIECES=str(root))
        _warm_up(daemon)
        return daemon

    return with_options


def _warm_up(daemon: Daemon) -> None:
    """The model is loaded and has read the text, however busy the machine is: no answer here is late."""
    text = LINES + "total_30 = "
    place = {"path": "/warm.py", "text": text, "position": {"line": 29, "column": 11}}
    with daemon.client(updates=False) as client:
        client.call("tune", timeout_s=170)  # waits for the model
        while client.call("complete", place, timeout_s=150)["finish"] == "deadline":
            pass


@pytest.fixture
def begin(daemons: Callable[[str], Daemon], tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    opened: list[Client] = []

    def stage(options: str = "", updates: bool = True) -> Stage:
        daemon = daemons(options)
        Path(daemon.env["PIECES"], "current").write_text(str(tmp_path))
        opened.append(daemon.client(updates=updates))
        return Stage(opened[-1], tmp_path)

    yield stage
    for client in opened:
        client.close()


def test_an_unsure_answer_is_held_back_and_the_large_models_comes_in_parts(
    begin: Callable[..., Stage],
) -> None:
    stage = begin("hold_ms = 60000\n")
    stage.unsure()
    held = stage.ask()
    assert (held["text"], held["finish"], held["source"]) == ("", "held", "none")
    stage.piece("total_29 + more_")
    first = stage.update()
    assert (first["text"], first["final"]) == ("total_29 +", False)  # the last word may go on
    stage.piece("values[30]")
    stage.end()
    last = stage.update()
    while not last["final"]:
        last = stage.update()
    assert (last["text"], last["source"]) == ("total_29 + more_values[30]", "cloud")
    assert last["request_id"] == held["request_id"]
    again = stage.ask()
    assert (again["text"], again["source"]) == ("total_29 + more_values[30]", "cache")


def test_the_local_answer_comes_when_the_large_model_takes_too_long(begin: Callable[..., Stage]) -> None:
    stage = begin("hold_ms = 1\n")
    stage.unsure()
    assert stage.ask()["finish"] == "held"
    local = stage.update()
    assert local["source"] == "local"
    assert local["text"].startswith("total_")
    stage.piece("total_29 + something_else")
    stage.end()
    better = stage.update()
    assert (better["source"], better["text"], better["final"]) == ("cloud", "total_29 + something_else", True)


def test_the_local_answer_comes_when_the_large_model_fails(begin: Callable[..., Stage]) -> None:
    stage = begin("hold_ms = 59999\n")  # a daemon of its own: its backend is switched off after this
    stage.unsure()
    assert stage.ask()["finish"] == "held"
    stage.piece("RAISE")
    assert stage.update()["source"] == "local"


def test_who_takes_no_updates_gets_the_better_answer_at_once(begin: Callable[..., Stage]) -> None:
    stage = begin("hold_ms = 60000\n", updates=False)
    stage.unsure()
    stage.piece("total_29 + large")
    stage.end()
    answer = stage.ask()
    assert (answer["text"], answer["source"], answer["model"]) == ("total_29 + large", "cloud", "large")


def test_who_takes_no_updates_gets_the_local_one_in_the_end(begin: Callable[..., Stage]) -> None:
    stage = begin("hold_ms = 1\n", updates=False)
    stage.unsure()
    answer = stage.ask()
    assert answer["source"] == "local"
    assert answer["text"]


def test_shown_at_once_it_is_replaced_once(begin: Callable[..., Stage]) -> None:
    stage = begin('unsure = "show"\n')
    stage.unsure()
    local = stage.ask()
    assert local["source"] == "local"
    stage.piece("total_29")
    stage.piece(" + other")
    stage.piece(".value")
    stage.end()
    update = stage.update()
    assert (update["text"], update["final"]) == ("total_29 + other.value", True)  # no part of it before
    stage.no_update()


def test_an_update_is_realigned_with_what_was_typed(begin: Callable[..., Stage]) -> None:
    stage = begin()
    stage.text += "ASK = "
    stage.type("größe = ")
    stage.ask()
    stage.type("tot")
    stage.piece("total_29 + other")
    stage.end()
    update = stage.update()
    assert (update["text"], update["version"]) == ("al_29 + other", stage.version)
    assert update["position"] == {"line": 29, "column": len("total_30 = ASK = größe = tot")}


def ask_and_answer(stage: Stage, large: str) -> dict[str, Any]:
    stage.type("ASK = ")
    answer = stage.ask()
    stage.piece(large)
    return answer


def test_no_update_once_something_else_was_typed(begin: Callable[..., Stage]) -> None:
    stage = begin()
    ask_and_answer(stage, "total_29 + other")
    stage.type("x")
    stage.end()
    stage.no_update()
    assert stage.explained(lambda found: True)["cloud"]["dropped"] == "you typed something else"


def test_no_update_once_the_answer_was_accepted(begin: Callable[..., Stage]) -> None:
    stage = begin()
    answer = ask_and_answer(stage, "total_29 + other")
    assert answer["text"]
    stage.feedback(answer, "accepted")
    stage.end()
    stage.no_update()
    found = stage.explained(lambda found: True)
    assert (found["cloud"]["dropped"], found["verdict"]) == ("the answer before it was accepted", "accepted")


def test_no_update_when_the_client_accepts_without_a_word(begin: Callable[..., Stage]) -> None:
    stage = begin()
    answer = ask_and_answer(stage, "")
    stage.type(answer["text"])
    stage.piece(answer["text"] + " + 1")
    stage.end()
    stage.no_update()


def test_no_update_that_is_what_stands_there(begin: Callable[..., Stage]) -> None:
    stage = begin()
    answer = ask_and_answer(stage, "")
    stage.piece(answer["text"])
    stage.end()
    stage.no_update()


def test_a_rejected_answer_is_the_draft_and_does_not_come_back(begin: Callable[..., Stage]) -> None:
    stage = begin()
    rejected = stage.ask()["text"]
    assert rejected
    stage.type("xyz")
    answer = stage.ask()
    assert answer["route"] == f"escalated: rejected {rejected}"
    stage.piece("DRAFT")
    stage.end()
    assert stage.update()["text"].startswith(f"[{rejected}|xyz|True]")
    assert stage.explained(lambda found: True)["rejected"] == rejected
    stage.type("4")
    assert not stage.ask()["route"].startswith("escalated: rejected")  # one rejection is one question


def test_superseded_the_large_model_is_left_alone(begin: Callable[..., Stage]) -> None:
    stage = begin()
    ask_and_answer(stage, "total_29 + ")
    stage.type("tot")
    stage.text = stage.text.replace("ASK", "DO")
    stage.type("")
    stage.ask()
    stage.piece("other")
    stage.end()
    with pytest.raises(DaemonUnavailableError, match="in time"):
        stage.client.wait_notification("update", timeout_s=0.3)
