"""The index follows git while nobody types: the daemon's watchers beside real git."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mccomd.client import Client

from .conftest import Daemon, commit_all, git


def row(client: Client, root: Path) -> dict[str, Any]:
    return dict(next(r for r in client.call("status")["repositories"] if r["repository"] == str(root)))


def wait_for(client: Client, root: Path, met: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while not met(found := row(client, root)):
        assert time.monotonic() < deadline, found
    return found


def begin(client: Client, root: Path) -> None:
    """As an editor does: a document is opened, and nothing is asked from then on."""
    client.call("document/open", {"path": str(root / "report.py"), "text": "x = 1\n"})
    deadline = time.monotonic() + 60
    while str(root) not in [r["repository"] for r in client.call("status")["repositories"]]:
        assert time.monotonic() < deadline
    wait_for(client, root, lambda r: r["watch"] == "events" and r["state"] == "current" and not r["indexing"])


def test_commits_are_followed_while_nobody_types(daemon: Daemon, repository: Path) -> None:
    with daemon.client() as client:
        begin(client, repository)
        (repository / "new.py").write_text("def hyperboloid():\n    return 1\n")
        head = commit_all(repository)
        wait_for(client, repository, lambda r: r["head"] == head and r["state"] == "current")
        git(repository, "checkout", "-q", "-b", "feature/deep")
        git(repository, "reset", "-q", "--hard", "HEAD~1")
        back = git(repository, "rev-parse", "HEAD")
        wait_for(client, repository, lambda r: r["head"] == back and r["state"] == "current")
        assert client.call("search", {"path": str(repository), "query": "hyperboloid"})["hits"] == []


def test_the_least_recently_used_watch_makes_room(daemon: Daemon, tmp_path: Path) -> None:
    from mccomd.watching import MAX_WATCHED

    roots = [tmp_path / f"r{n}" for n in range(MAX_WATCHED + 1)]
    with daemon.client() as client:
        for root in roots:
            root.mkdir()
            git(root, "init", "-q")
            commit_all(root)
            begin(client, root)
        assert row(client, roots[0])["watch"] == "off"
        assert row(client, roots[1])["watch"] == "events"


def test_a_watch_that_polls_says_why(start: Callable[..., Daemon], repository: Path, tmp_path: Path) -> None:
    """A kernel without a watch left cannot be had in a test: too many folders take the same way."""
    for number in range(12):
        (repository / f"d{number}").mkdir()
        (repository / f"d{number}" / "a.py").write_text("a = 1\n")
    own = start("[index]\nwatched_folders = 10\n")
    with own.client() as client:
        client.call("document/open", {"path": str(repository / "report.py"), "text": "x = 1\n"})
        deadline = time.monotonic() + 60
        while not (rows := client.call("status")["repositories"]) or rows[0]["watch"] != "polling":
            assert time.monotonic() < deadline
        assert "more than 10 folders" in rows[0]["watch_reason"]
        head = commit_all(repository)
        wait_for(client, repository, lambda r: r["head"] == head and r["state"] == "current")
