"""The daemon is killed at random instants of a walk through git, at work; the next finds everything whole.

Two ways to die: alone, its indexer left behind, or with all its children at once. And two times: at work, or
while it starts. After each: no process lives on, no socket or lock is in the way, the index is what a fresh
one would be, history, ledger and settings are whole and have what they had.

    MCCOMD_DAEMON_CRASHES=200 pytest -s tests/index/test_index_daemon_crashes.py
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from test_index_equivalence import QUERIES, check_equal
from walks import Walk

from mccomd.bench.endpoint import Out, Peer, Received
from mccomd.client import Client
from mccomd.egress import read_ledger
from mccomd.errors import DaemonUnavailableError, RequestError
from mccomd_index import find_repository
from mccomd_models.graph import Precision
from tests.conftest import environment
from tests.engine.tiny import CONFIG, write_tiny

CRASHES = int(os.environ.get("MCCOMD_DAEMON_CRASHES", "4"))
ORIGINAL = os.environ.get("MCCOMD_WALK_REPO", "")
SEED = os.environ.get("MCCOMD_WALK_SEED", "1")
TEXT = "def search(reader, alpha):\n    return reader."
WAIT_S = 120.0
"""For what comes at once on an idle machine."""


async def answers(request: Received, out: Out) -> None:
    """The large model."""
    await out.head()
    await out.event({"choices": [{"text": "search(alpha)\n"}]})
    await out.event("[DONE]")
    await out.end()


class Home:
    """Folders of one user, and the daemon that lives there now."""

    def __init__(self, place: Path, peer: Peer) -> None:
        self.env = environment(place)
        self.place = place
        self.socket = Path(self.env["XDG_RUNTIME_DIR"], "mccomd", "mccomd.sock")
        self.state = place / "state" / "mccomd"
        self.config = place / "config" / "mccomd" / "config.toml"
        (place / "tiny").mkdir()
        write_tiny(place / "tiny", Precision("fp32"), config=replace(CONFIG, context_tokens=2048))
        self.config.parent.mkdir(parents=True)
        self.config.write_text(
            f'[model]\nfolder = "{place / "tiny"}"\n[power]\nmode = "full"\n'
            f'[router]\nthreshold = 1.0\nunsure = "show"\n'
            f'[cloud]\nbackend = "completions"\nurl = "{peer.url}/v1"\nmodel = "m"\nstrategy = "plain"\n'
        )
        self.said = self.config.read_text()
        self.process = self.launch()

    def launch(self) -> subprocess.Popen[bytes]:
        with open(self.place / "output.log", "ab") as output:
            command = [sys.executable, "-m", "mccomd", "serve", "--detached"]
            self.process = subprocess.Popen(command, env=self.env, stdout=output, stderr=output)
        return self.process

    def __enter__(self) -> Home:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(WAIT_S)

    def client(self, given_up: threading.Event | None = None) -> Client | None:
        """A client, once the daemon listens; None when it has died, or the caller gave up."""
        deadline = time.monotonic() + WAIT_S
        while given_up is None or not given_up.is_set():
            with contextlib.suppress(DaemonUnavailableError):
                client = Client(self.socket)
                client.call("initialize", {"client": "tests", "updates": True})
                return client
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.02)
                return None
            assert time.monotonic() < deadline
        return None

    def kill(self, way: str) -> None:
        """Kill it alone or with its children; returns once every process of this home is gone."""
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.process.pid).children(recursive=True)
            self.process.kill()
            for child in children if way == "all" else ():
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        self.process.wait()
        left = psutil.wait_procs(self.processes(), timeout=WAIT_S)[1]
        assert not left, [one.cmdline() for one in left]

    def processes(self) -> list[psutil.Process]:
        """All that were started with the folders of this home."""
        found = []
        for one in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if one.environ().get("XDG_STATE_HOME") == self.env["XDG_STATE_HOME"]:
                    found.append(one)
        return found

    # --- what must survive --------------------------------------------------------------------------

    def history(self) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self.state / "history.db")) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            return db.execute("SELECT run, request, at FROM answers ORDER BY id").fetchall()

    def ledger(self) -> list[dict[str, Any]]:
        return list(read_ledger(self.state))

    def check_files(self) -> None:
        """Settings and caches can be read, nothing was put aside, no half-written file lies about."""
        assert self.config.read_text() == self.said
        tomllib.loads(self.said)
        for folder in (self.config.parent, self.state, self.place / "cache" / "mccomd"):
            for file in folder.iterdir():
                assert file.suffix not in (".broken", ".tmp"), file
                if file.suffix == ".json":
                    json.loads(file.read_text())


class Busy(threading.Thread):
    """What a user does while the daemon lives: git, edits, completions, searches, refreshes."""

    def __init__(self, walk: Walk, home: Home, seed: str) -> None:
        super().__init__()
        self.walk, self.home, self.chance = walk, home, random.Random(seed)
        self.over = threading.Event()
        self.answered = 0
        self.problem: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.over.is_set():
                self.walk.step()  # git goes on while the daemon starts, too
                client = self.home.client(self.over)
                if client is None:
                    return
                with client, contextlib.suppress(DaemonUnavailableError):
                    self.work(client)
        except BaseException as error:  # noqa: BLE001 - for the thread that waits for this one
            self.problem = error

    def work(self, client: Client) -> None:
        version = 0
        while not self.over.is_set():
            self.walk.step()
            version += 1
            path = str(self.walk.tree / "index" / "typed.py")
            text = f"{TEXT}{'alpha'[: version % 5]}"
            client.send("refresh", {"path": path, "wait": False, "rebuild": self.chance.random() < 0.1})
            params = {"path": path, "text": text, "version": version, "position": end_of(text)}
            client.send("complete", {**params, "deadline_ms": 5000, "max_tokens": 6})
            with contextlib.suppress(RequestError):
                client.call("search", {"path": path, "query": self.chance.choice(QUERIES)}, timeout_s=WAIT_S)
            with contextlib.suppress(RequestError):
                client.call("tune", {"aim": "share", "wish": 0.3, "apply": True}, timeout_s=WAIT_S)
            self.answered += 1


def end_of(text: str) -> dict[str, int]:
    lines = text.split("\n")
    return {"line": len(lines) - 1, "column": len(lines[-1])}


def check_after_crash(walk: Walk, home: Home, fresh: Path) -> None:
    """The next daemon is started and finds everything."""
    repository = find_repository(walk.tree)
    assert repository is not None
    assert not list(Path(repository.common_dir).rglob("*.lock"))  # of git's: none of them is ours to hold
    home.launch()
    client = home.client()
    assert client is not None, (home.place / "output.log").read_text()
    with client:
        for query in QUERIES[:2]:  # on what stood: at worst nothing is found, and no error
            client.call("search", {"path": str(walk.tree), "query": query}, timeout_s=WAIT_S)
        report = client.call("refresh", {"path": str(walk.tree)}, timeout_s=WAIT_S)
        assert (report["state"], report["behind"]) == ("current", 0)
        where = {"path": str(walk.tree / "new.py"), "text": TEXT, "deadline_ms": 60_000, "max_tokens": 2}
        answer = client.call(
            "complete",
            {**where, "position": {"line": 1, "column": len(TEXT.split("\n")[1])}},
            timeout_s=WAIT_S,
        )
        assert answer["finish"] in ("stop", "length", "unsure"), answer["reason"]
        client.call(
            "refresh", {"path": str(walk.tree)}, timeout_s=WAIT_S
        )  # what it cleared away is done, too
        folders = list((home.place / "cache" / "mccomd" / "index").iterdir())
        assert len(folders) == 1
        check_equal(walk.tree, folders[0], fresh)
        assert len([place for place in folders[0].iterdir() if place.is_dir()]) == 1  # one generation


class Kept:
    """What must not be lost: rows of the history, lines of the ledger, and a line for all that was sent."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self.lines: list[dict[str, Any]] = []

    def check(self, home: Home, peer: Peer) -> None:
        home.check_files()
        rows, lines = home.history(), home.ledger()
        assert rows[: len(self.rows)] == self.rows
        assert lines[: len(self.lines)] == self.lines
        assert not [line for line in lines if "damaged" in line]
        sent = {hashlib.sha256(request.raw).hexdigest() for request in peer.posted()}
        assert sent <= {line["sha256"] for line in lines}
        self.rows, self.lines = rows, lines


def die_starting(home: Home, way: str, seconds: float) -> None:
    """A daemon that nobody has an answer of yet."""
    home.kill(way)
    home.launch()
    live_for(home, seconds)
    home.kill(way)


def die_working(home: Home, way: str, seconds: float, busy: Busy) -> None:
    busy.start()
    live_for(home, seconds)
    home.kill(way)
    busy.over.set()
    busy.join()
    if busy.problem is not None:
        raise busy.problem


def live_for(home: Home, seconds: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        home.process.wait(seconds)
        raise AssertionError((home.place / "output.log").read_text())


@pytest.mark.timeout(180 + 30 * CRASHES)
def test_a_daemon_killed_at_any_moment_leaves_nothing_wrong(tmp_path: Path) -> None:
    walk, chance = Walk(tmp_path, f"daemon {SEED}", ORIGINAL), random.Random(SEED)
    counts, answered, took, kept = {"alone": 0, "all": 0, "starting": 0}, 0, 1.0, Kept()
    (tmp_path / "home").mkdir()
    with Peer(answers) as peer, Home(tmp_path / "home", peer) as home:
        for number in range(CRASHES):
            way, instant = chance.choice(("alone", "all")), chance.uniform(0, took)
            if starting := number % 4 == 3:
                die_starting(home, way, instant)
            else:
                busy = Busy(walk, home, f"{SEED} {number}")
                die_working(home, way, instant, busy)
                answered += busy.answered
            counts["starting" if starting else way] += 1
            began = time.monotonic()
            try:
                check_after_crash(walk, home, tmp_path / "fresh")
                kept.check(home, peer)
            except BaseException:
                print(f"kill {number}, {way}; steps:", " ".join(walk.log))
                raise
            took = min(6.0, 0.7 * (time.monotonic() - began))
    assert not home.socket.exists()
    with open(home.socket.with_name("mccomd.sock.lock"), "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert not home.processes()
    assert len(kept.rows) > CRASHES // 2
    assert peer.posted()
    print(
        f"\n{CRASHES} kills of the daemon: {counts['alone']} alone, {counts['all']} with its children, "
        f"{counts['starting']} while it started; {len(walk.log)} steps of git, {answered} searches answered "
        f"meanwhile, {len(kept.rows)} answers in the history, {len(kept.lines)} requests in the ledger"
    )
