"""`mccomd index ...`: what an index is, costs and says, and how it goes."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mccomd.housekeeping import collect, stores

from .conftest import Daemon, commit_all, git

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(daemon: Daemon) -> Run:
    def command(*arguments: str, code: int = 0) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "mccomd", *arguments, "--json"],
            env=daemon.env, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        if not done.stdout:
            assert done.stderr.count("\n") == 1
            return {"error": done.stderr}
        return dict(json.loads(done.stdout.splitlines()[-1]))

    return command


def test_status_needs_no_refresh_and_changes_nothing(run: Run, repository: Path) -> None:
    found = run("index", "status", str(repository))
    assert (found["state"], found["behind"], found["disk_mb"]) == ("missing", -1, 0.0)
    run("refresh", str(repository))
    found = run("index", "status", str(repository))
    assert (found["state"], found["behind"], found["files"]) == ("current", 0, 3)
    assert found["head"] == git(repository, "rev-parse", "HEAD")
    assert found["disk_mb"] > 0
    assert found["daemon_rss_mb"] > 50
    assert found["indexer_rss_mb"] > 10
    commit_all(repository)
    assert run("index", "status", str(repository))["behind"] == 1
    everything = run("index", "status", "--all")
    assert str(repository) in [name for store in everything["stores"] for name in store["repositories"]]


def test_status_outside_a_repository(run: Run, tmp_path: Path) -> None:
    assert "not in a git repository" in run("index", "status", str(tmp_path), code=1)["error"]


def test_rebuild(run: Run, repository: Path) -> None:
    run("refresh", str(repository))
    assert run("index", "rebuild", str(repository))["rebuilt"] is True


def test_verify_finds_what_differs(run: Run, repository: Path) -> None:
    (repository / "untracked.py").write_text("value = 1\n")
    found = run("index", "verify", str(repository))
    assert (found["same"], found["count"]) == (True, 0)
    folder = Path(run("index", "status", str(repository))["folder"])
    with sqlite3.connect(folder / "views.db") as damage:
        damage.execute("DELETE FROM places WHERE path = ?", (b"report.py",))
        damage.execute("UPDATE places SET blob = zeroblob(20) WHERE path = ?", (b"geometry.py",))
    damage.close()
    found = run("index", "verify", str(repository), code=1)
    assert {row["path"] for row in found["differences"]} == {"report.py", "geometry.py"}
    (lost,) = [row for row in found["differences"] if row["path"] == "report.py"]
    assert (lost["layer"], lost["here"]) == ("HEAD", "")
    assert "1 chunks" in lost["scratch"]
    run("index", "rebuild", str(repository))
    assert run("index", "verify", str(repository))["same"] is True


def test_forget_and_the_daemon_goes_on(run: Run, daemon: Daemon, repository: Path) -> None:
    run("refresh", str(repository))
    with daemon.client() as client:
        query = {"path": str(repository), "query": "circle_area"}
        assert client.call("search", query)["hits"]
        found = run("index", "forget", str(repository))
        assert found["removed"] is True
        assert found["freed_mb"] > 0
        assert run("index", "status", str(repository))["state"] == "missing"
        assert run("index", "forget", str(repository))["removed"] is False
        client.call("refresh", {"path": str(repository)}, timeout_s=60)
        assert client.call("search", query)["hits"]
    assert run("index", "status", str(repository))["state"] == "current"


def test_gc_removes_what_nobody_needs(run: Run, repository: Path) -> None:
    run("refresh", str(repository))
    folder = run("index", "status", str(repository))["folder"]
    assert folder not in [row["folder"] for row in run("index", "gc")["removed"]]
    shutil.rmtree(repository)
    (row,) = [row for row in run("index", "gc", "--dry-run")["removed"] if row["folder"] == folder]
    assert row["why"] == "its repository is gone"
    assert Path(folder).exists()
    assert folder in [row["folder"] for row in run("index", "gc")["removed"]]
    assert not Path(folder).exists()


def test_what_is_not_used_for_long_goes(run: Run, repository: Path, tmp_path: Path) -> None:
    run("refresh", str(repository))
    index_dir = tmp_path / "index"
    shutil.copytree(run("index", "status", str(repository))["folder"], index_dir / "old")
    (index_dir / ".x-1.removed-1").mkdir()  # what a removal leaves when it is killed
    for place in (*(index_dir / "old").iterdir(), index_dir / "old"):
        os.utime(place, (1_600_000_000, 1_600_000_000))
    assert {Path(store.folder).name: why for store, why in collect(index_dir, 0)} == {
        ".x-1.removed-1": "left by an interrupted removal"
    }
    assert collect(index_dir, 90, spare=[str(index_dir / "old")]) == []
    ((store, why),) = collect(index_dir, 90)
    assert "not used for" in why
    assert store.repositories == (str(repository),)
    assert stores(index_dir) == []


def test_linked_worktrees_are_one_index(run: Run, repository: Path, tmp_path: Path) -> None:
    git(repository, "worktree", "add", "-q", str(tmp_path / "linked"))
    run("refresh", str(repository))
    run("refresh", str(tmp_path / "linked"))
    first, second = (run("index", "status", str(place)) for place in (repository, tmp_path / "linked"))
    assert first["folder"] == second["folder"]
    (store,) = [s for s in run("index", "status", "--all")["stores"] if s["folder"] == first["folder"]]
    assert set(store["repositories"]) == {str(repository), str(tmp_path / "linked")}
