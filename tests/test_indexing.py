"""The daemon beside its indexer: completions go on whatever state a repository is in."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from mccomd.client import Client
from mccomd.errors import RequestError

from .conftest import FINISHED, GIT_ENVIRONMENT, Daemon, commit_all, git


def ask(client: Client, path: Path, text: str = "import math\n\nprint(math.") -> dict[str, Any]:
    lines = text.split("\n")
    params = {
        "path": str(path),
        "text": text,
        "position": {"line": len(lines) - 1, "column": len(lines[-1])},
        "deadline_ms": 30_000,
        "max_tokens": 2,
    }
    return dict(client.call("complete", params, timeout_s=60))


def status_of(client: Client, root: Path) -> dict[str, Any]:
    rows = client.call("status")["repositories"]
    return dict(next(row for row in rows if row["repository"] == str(root)))


def large_repository(folder: Path, files: int) -> Path:
    """Many small modules, written by `git fast-import`; 3 KB each."""
    folder.mkdir()
    git(folder, "init", "-q")
    body = "".join(f"def function_{n}(left, right):\n    return left * {n} + right\n\n\n" for n in range(50))
    stream = [b"commit refs/heads/main\ncommitter A <a@b> 1700000000 +0000\ndata 1\nx\n"]
    for number in range(files):
        data = f'"""Module {number}."""\n\n{body}'.encode()
        stream.append(b"M 100644 inline m%d/f%d.py\ndata %d\n%b\n" % (number % 50, number, len(data), data))
    subprocess.run(["git", "fast-import", "--quiet"], cwd=folder, input=b"".join(stream), check=True,
                   env={**os.environ, **GIT_ENVIRONMENT})  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return large_repository(tmp_path_factory.mktemp("large") / "project", 8000)


def test_completions_during_the_first_index_are_answered(daemon: Daemon, large: Path) -> None:
    with daemon.client() as waiting, daemon.client() as typing:
        pending = waiting.send("refresh", {"path": str(large)})
        progress = waiting.wait_notification("progress", timeout_s=60)
        assert progress["repository"] == str(large)
        assert 0 < progress["files"] < progress["total"] == 8000
        answer = ask(typing, large / "m1" / "f1.py")
        assert answer["finish"] in FINISHED
        assert answer["snippets"] == []
        state = status_of(typing, large)
        assert state["indexing"] is True
        report = waiting.result(pending, timeout_s=120)
    assert (report["state"], report["files"], report["rebuilt"]) == ("current", 8000, True)


def indexer_of(daemon: Daemon) -> psutil.Process:
    """The daemon's child that indexes."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for child in psutil.Process(daemon.process.pid).children():
            if "mccomd_index.worker" in " ".join(child.cmdline()):
                return child
    raise AssertionError("no indexer is running")


def test_an_indexer_that_is_killed_is_started_again(start: Callable[..., Daemon], large: Path) -> None:
    own = start()
    with own.client() as client:
        pending = client.send("refresh", {"path": str(large)})
        client.wait_notification("progress", timeout_s=60)
        indexer_of(own).send_signal(signal.SIGKILL)
        with pytest.raises(RequestError, match="the indexer stopped") as caught:
            client.result(pending, timeout_s=60)
        assert caught.value.code == "index_failed"
        assert "the indexer stopped" in status_of(client, large)["reason"]
        assert client.call("refresh", {"path": str(large)}, timeout_s=120)["state"] == "current"


def test_the_indexer_ends_with_the_daemon(start: Callable[..., Daemon], repository: Path) -> None:
    own = start()
    with own.client() as client:
        client.call("refresh", {"path": str(repository)})
    worker = indexer_of(own)
    own.process.kill()
    own.process.wait()
    assert not psutil.wait_procs([worker], timeout=20)[1]


def test_the_indexer_stands_still_while_somebody_waits_for_the_model(
    start: Callable[..., Daemon], large: Path
) -> None:
    """It shares caches and memory with the model, whatever its priority. And then the daemon dies."""
    own = start()
    with own.client() as waiting, own.client() as typing:
        waiting.send("refresh", {"path": str(large)})
        waiting.wait_notification("progress", timeout_s=60)
        worker = indexer_of(own)
        states = set()
        deadline = time.monotonic() + 60
        number = 0
        while not {psutil.STATUS_STOPPED} <= states:
            lines = "\n".join(f"value_{number}_{n} = {n} * {number}" for n in range(60))
            number += 1
            pending = typing.send("complete", {
                "path": str(large / "m1" / "new.py"), "text": f"{lines}\n", "deadline_ms": 20_000,
                "position": {"line": 60, "column": 0}, "max_tokens": 8,
            })  # fmt: skip
            while typing.call("status")["clients"] and worker.is_running() and worker.status() != "stopped":
                if time.monotonic() > deadline:
                    break
            states.add(worker.status())
            if psutil.STATUS_STOPPED in states:
                break
            typing.result(pending, timeout_s=60)
            assert time.monotonic() < deadline, states
        own.process.kill()
        own.process.wait()
    assert not psutil.wait_procs([worker], timeout=20)[1]  # stopped as it was, it did not stay behind


def test_the_indexer_runs_at_low_priority(daemon: Daemon, repository: Path) -> None:
    with daemon.client() as client:
        client.call("refresh", {"path": str(repository)})
    assert indexer_of(daemon).nice() == 19


def test_the_index_follows_head_while_somebody_types(daemon: Daemon, repository: Path) -> None:
    with daemon.client() as client:
        client.call("refresh", {"path": str(repository)})
        (repository / "new.py").write_text("def hyperboloid_area():\n    return 1\n")
        head = commit_all(repository)
        deadline = time.monotonic() + 60
        while status_of(client, repository)["state"] != "current":
            ask(client, repository / "report.py")
            assert time.monotonic() < deadline
        assert status_of(client, repository)["head"] == head
        found = client.call("search", {"path": str(repository), "query": "hyperboloid_area"})
    assert found["hits"][0]["path"] == "new.py"


def wait_until(client: Client, root: Path, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while not wanted(row := status_of(client, root)):
        assert time.monotonic() < deadline, row
        ask(client, root / "report.py")
    return row


def test_uncommitted_files_are_found_until_they_are_reverted(daemon: Daemon, repository: Path) -> None:
    def found(client: Client, query: str) -> list[tuple[str, str]]:
        hits = client.call("search", {"path": str(repository), "query": query})["hits"]
        return [(hit["path"], hit["commit"]) for hit in hits]

    with daemon.client() as client:
        client.call("refresh", {"path": str(repository)})
        (repository / "geometry.py").write_text("def paraboloid(height):\n    return height\n")
        (repository / "notes").mkdir()
        (repository / "notes" / "new.py").write_text("def paraboloid_area():\n    return 2\n")
        report = client.call("refresh", {"path": str(repository)})
        assert (report["state"], report["overlay_files"]) == ("current", 2)
        assert found(client, "paraboloid") == [("geometry.py", ""), ("notes/new.py", "")]
        git(repository, "checkout", "-q", "--", "geometry.py")
        (repository / "notes" / "new.py").unlink()
        wait_until(client, repository, lambda row: row["overlay_files"] == 0)
        assert found(client, "paraboloid") == []
        (repository / "late.py").write_text("def ellipsoid():\n    return 2\n")
        wait_until(client, repository, lambda row: row["overlay_files"] == 1)  # nobody asked for a refresh
        assert found(client, "ellipsoid") == [("late.py", "")]


def test_unsaved_texts_of_every_client_are_found_until_they_close(daemon: Daemon, repository: Path) -> None:
    def found(client: Client, query: str) -> list[tuple[str, str]]:
        hits = client.call("search", {"path": str(repository), "query": query})["hits"]
        return [(hit["path"], hit["commit"]) for hit in hits]

    place = str(repository / "geometry.py")
    with daemon.client() as asking:
        asking.call("refresh", {"path": str(repository)})
        with daemon.client() as typing:
            text = (repository / "geometry.py").read_text()
            typing.call("document/open", {"path": place, "text": text, "version": 1})
            wait_until(asking, repository, lambda row: row["overlay_files"] == 0)
            changes = [{"text": "def paraboloid():\n    return circle_area(1)\n"}]
            typing.call("document/change", {"path": place, "version": 2, "changes": changes})
            assert found(asking, "paraboloid") == [("geometry.py", "")]
            assert ("geometry.py", "") in found(asking, "circle_area")
            assert len(found(asking, "circle_area")) == 2  # what is saved in geometry.py is covered
            assert status_of(asking, repository)["overlay_files"] == 1
            path, new = str(repository / "new.py"), "def paraboloid_of_revolution(): pass"
            typing.call("document/open", {"path": path, "text": new, "version": 1})
            assert {path for path, _ in found(asking, "paraboloid")} == {"geometry.py", "new.py"}
            typing.call("document/close", {"path": place})
            assert found(asking, "paraboloid") == [("new.py", "")]
        wait_until(asking, repository, lambda row: row["overlay_files"] == 0)  # its client is gone
        assert found(asking, "paraboloid") == []


def test_an_index_cut_short_under_the_daemon_is_a_rebuild_and_no_crash(
    start: Callable[..., Daemon], repository: Path
) -> None:
    """It has the files mapped: a look behind the new end would be the end of the process (SIGBUS)."""
    own = start()
    with own.client() as client:
        client.call("refresh", {"path": str(repository)})
        query = {"path": str(repository), "query": "circle_area"}
        found = client.call("search", query)["hits"]
        for number, share in enumerate((0.0, 0.5), 1):
            files = [
                file
                for file in (own.home / "cache" / "mccomd" / "index").glob("*/gen-*/*")
                if file.suffix not in (".json", ".lock") and file.stat().st_size
            ]
            for file in files:
                os.truncate(file, int(file.stat().st_size * share))
            assert client.call("search", query)["hits"] == []
            assert ask(client, repository / "report.py")["finish"] in FINISHED
            wait_until(client, repository, lambda row: row["state"] == "current" and not row["indexing"])
            assert client.call("search", query)["hits"] == found
            assert own.log.count("damaged: ") >= number
        for file in (own.home / "cache" / "mccomd" / "index").glob("*/views.db-shm"):  # SQLite's, mapped too
            os.truncate(file, 0)
        assert client.call("search", query)["hits"] == found
        (repository / "new.py").write_text("def circle_area_of(diameter):\n    return 1\n")
        client.call("refresh", {"path": str(repository)})
        assert len(client.call("search", query)["hits"]) == len(found) + 1
        assert own.process.poll() is None


def test_two_work_trees_are_two_rows_and_one_folder(start: Callable[..., Daemon], repository: Path) -> None:
    own = start()
    side = repository.parent / "side"
    git(repository, "worktree", "add", "-q", "-b", "side", str(side))
    (side / "side.py").write_text("def toroid():\n    return 1\n")
    commit_all(side)
    with own.client() as client:
        for place in (repository, side):
            assert client.call("refresh", {"path": str(place)})["repository"] == str(place)
        paths = [
            [hit["path"] for hit in client.call("search", {"path": str(place), "query": "toroid"})["hits"]]
            for place in (repository, side)
        ]
    assert paths == [[], ["side.py"]]
    assert len(list((own.home / "cache" / "mccomd" / "index").iterdir())) == 1


# --- repositories of every kind -----------------------------------------------------------------------


def unborn(folder: Path) -> None:
    git(folder, "init", "-q")


def detached(folder: Path) -> None:
    git(folder, "init", "-q")
    (folder / "b.py").write_text("def b(): pass\n")
    commit_all(folder)
    git(folder, "checkout", "-q", "--detach")


def empty_commit(folder: Path) -> None:
    git(folder, "init", "-q")
    commit_all(folder)


def with_submodule(folder: Path) -> None:
    other = folder.parent / "other"
    other.mkdir()
    detached(other)
    git(folder, "init", "-q")
    git(folder, "submodule", "--quiet", "add", str(other), "sub")
    commit_all(folder)


def with_symlink_loop(folder: Path) -> None:
    detached(folder)
    (folder / "loop").symlink_to("loop")
    (folder / "up").symlink_to("..")
    commit_all(folder)


@pytest.mark.parametrize("make", [unborn, detached, empty_commit, with_submodule, with_symlink_loop])
def test_every_kind_of_repository_gets_an_index_and_a_completion(
    daemon: Daemon, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    make(folder)
    with daemon.client() as client:
        report = client.call("refresh", {"path": str(folder)})
        assert report["state"] == "current"
        assert ask(client, folder / "a.py")["finish"] in FINISHED


def test_a_bare_repository_can_be_searched(daemon: Daemon, repository: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(repository), "bare.git")
    bare = str(tmp_path / "bare.git")
    with daemon.client() as client:
        assert client.call("refresh", {"path": bare})["repository"] == bare
        hits = client.call("search", {"path": bare, "query": "circle_area"})["hits"]
    assert {hit["path"] for hit in hits} == {"geometry.py", "report.py"}


def test_a_broken_repository_is_told_and_completion_goes_on(daemon: Daemon, repository: Path) -> None:
    (repository / ".git" / "HEAD").write_text("nonsense")
    with daemon.client() as client:
        with pytest.raises(RequestError) as caught:
            client.call("refresh", {"path": str(repository)})
        assert caught.value.code == "no_repository"
        assert ask(client, repository / "a.py")["finish"] in FINISHED


def test_a_repository_that_is_deleted_is_a_state(daemon: Daemon, repository: Path) -> None:
    with daemon.client() as client:
        client.call("refresh", {"path": str(repository)})
        shutil.rmtree(repository)
        assert status_of(client, repository)["state"] == "missing"
        assert ask(client, repository / "a.py")["finish"] in FINISHED


def test_a_repositorys_own_file_may_leave_out_and_nothing_else(daemon: Daemon, repository: Path) -> None:
    (repository / ".mccomd.toml").write_text('[index]\nignore = ["report.py"]\n[cloud]\nbackend = "evil"\n')
    with daemon.client() as client:
        client.call("refresh", {"path": str(repository)})
        hits = client.call("search", {"path": str(repository), "query": "circle_area"})["hits"]
        assert {hit["path"] for hit in hits} == {"geometry.py"}
        row = status_of(client, repository)
    assert "may not" in row["reason"]


@pytest.mark.parametrize("name", [".mccomdignore", ".cursorignore"])
def test_what_becomes_ignored_is_not_found_from_then_on(daemon: Daemon, repository: Path, name: str) -> None:
    """The ignore file is not even committed: what a search meets is asked again."""
    with daemon.client() as client:
        query = {"path": str(repository), "query": "circle_area"}
        client.call("refresh", {"path": str(repository)})
        assert "geometry.py" in {hit["path"] for hit in client.call("search", query)["hits"]}
        (repository / name).write_text("/geometry.*\n")
        deadline = time.monotonic() + 30
        while "geometry.py" in {hit["path"] for hit in client.call("search", query)["hits"]}:
            assert time.monotonic() < deadline
        assert {hit["path"] for hit in client.call("search", query)["hits"]} == {"report.py"}


def test_indexing_can_be_switched_off(start: Callable[..., Daemon], repository: Path) -> None:
    own = start("[index]\nenabled = false\n")
    with own.client() as client:
        ask(client, repository / "report.py")
        row = status_of(client, repository)
        assert (row["indexing"], row["chunks"]) == (False, 0)
        assert "index.enabled" in row["reason"]


def test_config_is_read_again_while_the_daemon_runs(start: Callable[..., Daemon], repository: Path) -> None:
    own = start("[completion]\nsnippets = 4\nretrieve_ms = 1500\n")  # a loaded machine needs it
    file = own.home / "config" / "mccomd" / "config.toml"

    def wait(until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + 30
        while not until(found := client.call("status")):
            assert time.monotonic() < deadline, found
        return dict(found)

    with own.client() as client:
        client.call("refresh", {"path": str(repository)})
        text = (repository / "report.py").read_text() + "\nprint(circle_area("
        assert ask(client, repository / "report.py", text)["snippets"]
        file.write_text("[completion]\nsnippets = 'many'\n")
        problem = wait(lambda found: found["config_problem"])["config_problem"]
        assert f"{file}:2" in problem
        assert ask(client, repository / "report.py", text)["snippets"]  # the old options stand
        file.write_text("[completion]\nsnippets = 0\n[plugins]\ndisabled = ['confidence']\n")
        wait(lambda found: any(p["name"] == "confidence" and p["state"] == "off" for p in found["plugins"]))
        assert ask(client, repository / "report.py", text)["snippets"] == []
