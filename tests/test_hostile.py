"""Input from people who mean harm, or from machines in a bad state: never a crash, a hang or silence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mccomd.egress import Egress, Ledger
from mccomd.errors import EgressError

from .conftest import Daemon, commit_all, environment, git, put_plugin

PLUGIN = """
import asyncio, os, sys, threading, time
from mccomd.hooks import Decision, hookimpl
from mccomd.types import Snippet
{top}
class Part:
    name = "part"
    def retrieve(self, query):
        {retrieve}
        return []
    def decide(self, evidence):
        {decide}
        return Decision(True, 0.1, "escalated: always")
    async def stream(self, request):
        {stream}
        yield "x"

@hookimpl
def mccomd_retrievers(context):
    {hook}
    return [Part()]
@hookimpl
def mccomd_routers(context):
    return [Part()]
@hookimpl
def mccomd_backends(context):
    return [Part()]
"""
CONFIG = """
[plugins]
enabled = ["evil"]
[router]
name = "{router}"
[cloud]
backend = "{backend}"
"""
BASE_EXCEPTIONS = [
    "raise SystemExit(3)", "raise KeyboardInterrupt", "raise GeneratorExit", "raise asyncio.CancelledError",
    "raise StopIteration", "raise BaseException('x')",
]  # fmt: skip


@pytest.fixture
def evil(start: Callable[..., Daemon], tmp_path: Path) -> Callable[..., Daemon]:
    """A daemon with a plugin that does something bad at the named places."""

    def begin(router: str = "confidence", backend: str = "", **places: str) -> Daemon:
        plain = dict.fromkeys(("hook", "retrieve", "decide", "stream"), "pass")
        put_plugin(tmp_path / "site", "evil", PLUGIN.format(**{"top": "", **plain, **places}))
        return start(CONFIG.format(router=router, backend=backend), PYTHONPATH=str(tmp_path / "site"))

    return begin


def complete(daemon: Daemon, text: str = "x = ", path: str = "/w/a.py") -> dict[str, Any]:
    with daemon.client() as client:
        position = {"line": 0, "column": len(text)}
        params = {"path": path, "text": text, "position": position, "deadline_ms": 30_000}
        return dict(client.call("complete", params, timeout_s=60))


def state_of(daemon: Daemon, kind: str) -> tuple[str, str]:
    with daemon.client() as client:
        rows = [row for row in client.call("status")["plugins"] if row["kind"] == kind]
    (row,) = [row for row in rows if row["name"] in ("part", "evil")]
    return row["state"], row["reason"]


def ends_well(daemon: Daemon) -> None:
    with daemon.client() as client:
        client.call("shutdown")
    assert daemon.process.wait(30) == 0


@pytest.mark.parametrize("what", BASE_EXCEPTIONS)
def test_a_plugin_that_raises_what_nobody_catches(evil: Callable[..., Daemon], what: str) -> None:
    """They end an event loop, pass for a cancellation, or cannot be handed from thread to thread."""
    daemon = evil("part", retrieve=what, decide=what)
    answer = complete(daemon)
    assert answer["text"] or answer["reason"]
    state, reason = state_of(daemon, "retriever")
    assert state == "failed"
    assert what.split()[1].partition("(")[0].rpartition(".")[2] in reason
    ends_well(daemon)


@pytest.mark.parametrize("what", BASE_EXCEPTIONS)
def test_a_plugin_that_raises_it_while_loading(evil: Callable[..., Daemon], what: str) -> None:
    daemon = evil(top=what)
    assert state_of(daemon, "plugin")[0] == "failed"
    assert complete(daemon)["reason"] != "internal"
    ends_well(daemon)


@pytest.mark.parametrize(
    "what", ["raise SystemExit(3)", "raise KeyboardInterrupt", "raise asyncio.CancelledError"]
)
def test_a_backend_that_raises_it(evil: Callable[..., Daemon], what: str) -> None:
    daemon = evil("part", "part", stream=what)
    for _ in range(2):
        complete(daemon, "y = ")
    with daemon.client() as client:
        assert client.call("status")["pid"] == daemon.process.pid
    ends_well(daemon)


def test_a_plugin_whose_hook_hangs_does_not_keep_the_daemon_from_starting(
    evil: Callable[..., Daemon],
) -> None:
    daemon = evil(hook="threading.Event().wait()")
    assert state_of(daemon, "plugin") == (
        "failed",
        "loading: it takes more than 3 s; hooks run before the daemon answers",
    )
    ends_well(daemon)


def test_a_retriever_that_hangs_for_ever_does_not_keep_it_from_ending(evil: Callable[..., Daemon]) -> None:
    daemon = evil(retrieve="threading.Event().wait()")
    assert complete(daemon)["finish"] in ("stop", "length", "unsure")
    ends_well(daemon)


def test_a_plugin_that_forks_keeps_neither_lock_nor_socket(
    evil: Callable[..., Daemon], start: Callable[..., Daemon]
) -> None:
    """Its child lives on when the daemon has ended; the next daemon starts all the same."""
    path = "os.open(os.environ['HOME'] + '/child', os.O_WRONLY | os.O_CREAT)"
    child_does = f"os.write({path}, str(os.getpid()).encode()), time.sleep(60), os._exit(0)"
    daemon = evil(retrieve=f"(os.fork() == 0) and ({child_does})")
    complete(daemon)
    while not (note := daemon.home / "child").exists() or not note.read_text():
        assert daemon.process.poll() is None
    child = int(note.read_text())
    try:
        ends_well(daemon)
        os.kill(child, 0)  # it is still there
        again = start(home=daemon.home)
        with again.client() as client:
            assert client.call("status")["pid"] == again.process.pid
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """The command line in a home of its own; its daemon is stopped at the end."""
    env = environment(tmp_path / "home")

    def command(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mccomd", *arguments],
            env={**env, **variables}, capture_output=True, text=True, timeout=120, cwd="/",
        )  # fmt: skip

    yield command
    command("stop")


def test_what_a_plugin_prints_fills_no_disk(
    run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    put_plugin(
        tmp_path / "site",
        "evil",
        PLUGIN.format(
            top="", hook="print('from the hook')", decide="pass", stream="pass",
            retrieve="print('x' * 5_000_000, flush=True); os.write(2, b'y' * 5_000_000)",
        ),
    )  # fmt: skip
    config = tmp_path / "home" / "config" / "mccomd"
    config.mkdir(parents=True)
    (config / "config.toml").write_text(CONFIG.format(router="confidence", backend=""))
    source = tmp_path / "a.py"
    source.write_text("x = ")
    done = run("complete", f"{source}:1:4", "--json", PYTHONPATH=str(tmp_path / "site"))
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) >= {"text", "source"}
    assert (tmp_path / "home" / "state" / "mccomd" / "start.log").stat().st_size < 10_000


EVIL_NAME = "line\nbreak \x1b[31mred\x07"


def test_a_repository_with_a_hostile_name(
    run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """Line breaks and escape sequences in its path, a hostile .mccomd.toml, a file that is one long line."""
    folder = tmp_path / EVIL_NAME
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "shapes.py").write_text("def circle_area(radius):\n    return 3.14 * radius**2\n")
    (folder / "report.py").write_text("from shapes import circle_area\nprint(circle_area(")
    (folder / "data.py").write_text("DATA = '" + "x" * 400_000 + "'\n")
    (folder / ".mccomd.toml").write_text(
        '[cloud]\nbackend = "completions"\nurl = "http://evil.example"\nkey = "file:/etc/passwd"\n'
        '[plugins]\nenabled = ["evil"]\n[model]\nfolder = "/tmp/evil"\n[index]\nignore = ["!.env"]\n'
    )
    commit_all(folder)
    found = run("complete", f"{folder}/report.py:2:18", "--json")
    assert found.returncode == 0, found.stderr
    assert [s["path"] for s in json.loads(found.stdout)["snippets"]][:1] == ["shapes.py"]
    status = run("status")
    assert "\x1b[31m" not in status.stdout
    assert "\x07" not in status.stdout
    assert "line\\nbreak \\x1b[31mred\\x07" in status.stdout
    state = json.loads(run("status", "--json").stdout)
    assert state["cloud"]["backend"] == ""
    assert [row["repository"] for row in state["repositories"]] == [str(folder)]
    preview = run("egress", "--preview", f"{folder}/report.py:2:18", "--json")
    assert json.loads(preview.stdout)["refusal"] == "no large model is configured"


@pytest.mark.parametrize("text", ["password = '" + "a1" * 1_000_000, "x" * 3_000_000, "(" * 1_000_000])
def test_a_line_of_megabytes(daemon: Daemon, text: str) -> None:
    with daemon.client() as client:
        place = {"path": "/w/long.py", "position": {"line": 0, "column": len(text)}, "text": text}
        found = client.call("preview", {**place, "deadline_ms": 5_000}, timeout_s=60)
        assert len(found["prefix"]) <= 48_000
        assert client.call("complete", {**place, "deadline_ms": 5_000}, timeout_s=60)["request_id"]


@pytest.mark.parametrize("kind", ["link", "dangling link", "file", "open to all"])
def test_a_state_folder_that_is_odd(
    run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, kind: str
) -> None:
    parent = tmp_path / "home" / "state"
    parent.mkdir(parents=True)
    state, target = parent / "mccomd", tmp_path / "elsewhere"
    match kind:
        case "link":
            target.mkdir(mode=0o755)
            state.symlink_to(target)
        case "dangling link":
            state.symlink_to(target)
        case "file":
            state.write_text("")
        case "open to all":
            state.mkdir()
            state.chmod(0o777)
    done = run("start")
    if kind in ("link", "open to all"):  # ours, and made private
        assert done.returncode == 0, done.stderr
        assert state.stat().st_mode & 0o777 == 0o700
        assert (target if kind == "link" else state).joinpath("mccomd.log").exists()
    else:
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        assert str(state) in done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a file of somebody else")
def test_a_ledger_that_belongs_to_somebody_else(tmp_path: Path) -> None:
    ledger = tmp_path / "egress.jsonl"
    ledger.write_text("theirs\n")
    os.chown(ledger, 12345, 12345)
    with pytest.raises(EgressError, match="belongs to user 12345"):
        Egress(Ledger(tmp_path), lambda: "").admit("https://a.example", b"x")
    assert ledger.read_text() == "theirs\n"
