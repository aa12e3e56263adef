"""The large model's answer comes as a second message; whatever it does, the local answer stands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mccomd.client import Client
from mccomd.errors import DaemonUnavailableError

from .conftest import FINISHED, Daemon, put_plugin

PLUGIN = """
import asyncio
from mccomd.hooks import Decision, hookimpl

class Always:
    name = "always"
    giving_up = False
    def give_up(self, probabilities):
        assert len(probabilities) == 3
        return self.giving_up
    def decide(self, evidence):
        Always.giving_up = "NEXT = " in evidence.prefix
        return Decision(True, 0.1, "escalated: always")

class Large:
    name = "large"
    async def stream(self, request):
        if "RAISE" in request.prefix:
            raise RuntimeError("no such model")
        if "HANG" in request.prefix:
            await asyncio.Event().wait()
        for piece in ("from_the_", "cloud(", ")"):
            yield piece

@hookimpl
def mccomd_routers(context):
    return [Always()]

@hookimpl
def mccomd_backends(context):
    return [Large()]
"""
CONFIG = """
[plugins]
enabled = ["cloudy"]
[router]
name = "always"
[cloud]
backend = "large"
deadline_ms = 300
"""


@pytest.fixture
def cloudy(start: Callable[..., Daemon], tmp_path: Path) -> Daemon:
    """A daemon whose every answer escalates to a backend in a plugin."""
    put_plugin(tmp_path / "site", "cloudy", PLUGIN)
    return start(CONFIG, PYTHONPATH=str(tmp_path / "site"))


def ask(client: Client, text: str, path: str = "/a.py") -> dict[str, Any]:
    position = {"line": 0, "column": len(text)}
    params = {"path": path, "text": text, "position": position, "version": 4, "deadline_ms": 30_000}
    return dict(client.call("complete", params, timeout_s=60))


def state_of(client: Client, name: str) -> tuple[str, str]:
    row = next(row for row in client.call("status")["plugins"] if row["name"] == name)
    return row["state"], row["reason"]


def test_the_clouds_answer_is_an_update_of_the_local_one(cloudy: Daemon) -> None:
    with cloudy.client() as client:
        local = ask(client, "x = ")
        update = client.wait_notification("update")
        while not update["final"]:
            update = client.wait_notification("update")
        assert local["route"] == "escalated: always"
        assert update["request_id"] == local["request_id"]
        assert (update["text"], update["source"], update["model"]) == ("from_the_cloud()", "cloud", "large")
        assert (update["path"], update["version"], update["position"]) == (
            "/a.py",
            4,
            {"line": 0, "column": 4},
        )
        client.call("feedback", {"request_id": local["request_id"], "kind": "accepted"})


@pytest.mark.parametrize("unsure", ["drop", "hold"])
def test_a_router_may_give_the_local_answer_up(
    start: Callable[..., Daemon], tmp_path: Path, unsure: str
) -> None:
    put_plugin(tmp_path / "site", "cloudy", PLUGIN)
    config = CONFIG.replace("[router]", f'[router]\nunsure = "{unsure}"')
    with start(config, PYTHONPATH=str(tmp_path / "site")).client() as client:
        assert ask(client, "NEXT = ")["finish"] not in ("abandoned", "held")
        client.wait_notification("update")
        answer = ask(client, "numbers = [1, 2, 3, 4,", "/b.py")
        wanted = {"drop": "abandoned", "hold": "held"}[unsure]
        assert (answer["finish"], answer["text"]) == (wanted, ""), client.call("status")["plugins"]
        assert {"drop": "gave the local answer up", "hold": "large is asked"}[unsure] in answer["reason"]
        update = client.wait_notification("update")
        while not update["final"]:
            update = client.wait_notification("update")
        assert update["text"] == "from_the_cloud()"


def test_a_backend_that_hangs_or_raises_costs_the_update_only(cloudy: Daemon) -> None:
    with cloudy.client() as client:
        assert ask(client, "HANG = ")["finish"] in FINISHED
        with pytest.raises(DaemonUnavailableError, match="in time"):
            client.wait_notification("update", timeout_s=1)
        assert state_of(client, "large")[0] == "loaded"
        assert ask(client, "RAISE = ")["finish"] in FINISHED
        with pytest.raises(DaemonUnavailableError, match="in time"):
            client.wait_notification("update", timeout_s=0.2)
        assert state_of(client, "large") == ("failed", "stream(): RuntimeError: no such model")
        assert "is not at work" in ask(client, "y = ")["route"]


def test_what_was_dismissed_here_is_not_shown_again(daemon: Daemon) -> None:
    text = "values = [1, 2, 3]\nfor value in values:\n    print(value)\nfor value in "
    params = {"path": "/d.py", "text": text, "position": {"line": 3, "column": 13}, "deadline_ms": 30_000}
    with daemon.client() as client:
        first = client.call("complete", params)
        assert first["text"]
        client.call("feedback", {"request_id": first["request_id"], "kind": "dismissed"})
        again = client.call("complete", params)
        assert (again["text"], again["reason"]) == ("", "you rejected this text here before")
        elsewhere = client.call(
            "complete", {**params, "text": "\n" + text, "position": {"line": 4, "column": 13}}
        )
        assert elsewhere["text"]


def test_without_a_backend_the_reason_says_so(start: Callable[..., Daemon]) -> None:
    own = start("[router]\nthreshold = 1.0\n")
    with own.client() as client:
        answer = ask(client, "x = ")
    assert answer["route"].endswith("no large model is configured")
