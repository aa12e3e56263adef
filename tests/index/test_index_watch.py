"""The watcher beside real git and real files: everything waits for what it is told, nothing for the clock."""

from __future__ import annotations

import errno
import hashlib
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from index_repos import Repo
from watchdog.observers.inotify_c import InotifyFD

from mccomd_index import folders as folders_module
from mccomd_index.events import TreeWatch
from mccomd_index.watch import Changes, Watcher, explain

WAIT_S = 20.0
Watch = Callable[..., "Told"]


class Told:
    """What a watcher tells, awaited."""

    def __init__(self, repo: Repo, poll: str = "", max_folders: int = 1000) -> None:
        self.told: queue.SimpleQueue[Changes] = queue.SimpleQueue()
        self.repo = repo
        self.watcher = Watcher(repo.found(), self.told.put, poll=poll, max_folders=max_folders)
        self.watcher.start()
        first = self.told.get(timeout=WAIT_S)
        assert first.everything

    def path(self, path: str) -> None:
        """Wait until a change of this path, or of a folder it is in, is told."""
        self.until(lambda changes: any(one in changes.paths for one in _path_and_folders(path)), path)

    def git(self, what: str = "git") -> None:
        self.until(lambda changes: changes.git, what)

    def until(self, met: Callable[[Changes], bool], what: str) -> None:
        seen = []
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            try:
                changes = self.told.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            seen.append(changes)
            if changes.everything or met(changes):
                return
        raise AssertionError(f"{what} was not told; told: {seen}")

    def paths_until(self, path: str) -> set[str]:
        """All paths told until this one is."""
        seen: set[str] = set()
        while path not in seen:
            seen |= self.told.get(timeout=WAIT_S).paths
        return seen


def _path_and_folders(path: str) -> list[str]:
    parts = path.split("/")
    return [path, *("/".join(parts[:n]) + "/" for n in range(1, len(parts)))]


@pytest.fixture
def watch(repo: Repo) -> Iterator[Watch]:
    running: list[Told] = []

    def begin(poll: str = "", of: Repo | None = None, max_folders: int = 1000) -> Told:
        running.append(Told(of or repo, poll, max_folders))
        return running[-1]

    yield begin
    for one in running:
        one.watcher.close()


@pytest.fixture(params=["events", "tree"])
def any_events(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """One watch a folder (Linux), and the watch of whole trees that other systems use."""
    if request.param == "tree":
        monkeypatch.setattr("mccomd_index.watch.listen", lambda *given: TreeWatch(*given[:3]))
    elif not sys.platform.startswith("linux"):
        pytest.skip("inotify is Linux's")
    return str(request.param)


def test_every_move_of_head_is_told(repo: Repo, watch: Watch, any_events: str) -> None:
    first = repo.commit({"a.py": "a = 1\n", "b/c.py": "c = 1\n"})
    told = watch()
    assert told.watcher.state.mode == "events"
    moves: list[tuple[str, ...]] = [
        ("commit", "--quiet", "--allow-empty", "--message", "empty"),
        ("commit", "--quiet", "--amend", "--allow-empty", "--message", "amended"),
        ("reset", "--quiet", "--soft", first),
        ("checkout", "--quiet", "-b", "feature/x"),
        ("commit", "--quiet", "--allow-empty", "--message", "on a branch whose folder is new"),
        ("update-ref", "refs/heads/feature/x", first),
        ("commit", "--quiet", "--allow-empty", "--message", "to be merged"),
        ("checkout", "--quiet", "--detach"),
        ("checkout", "--quiet", "main"),
        ("merge", "--quiet", "--no-ff", "--message", "merge", "feature/x"),
        ("pack-refs", "--all"),
    ]
    for move in moves:
        repo.git(*move)
        told.git(" ".join(move))


def test_files_of_the_work_tree_are_told(repo: Repo, watch: Watch, any_events: str) -> None:
    repo.commit({"a.py": "a = 1\n", "deep/er/b.py": "b = 1\n", "gone/c.py": "c = 1\n"})
    told = watch()
    repo.write("deep/er/b.py", "b = 2\n")
    told.path("deep/er/b.py")
    repo.write("new/folder/d.py", "d = 1\n")
    told.path("new/folder/d.py")
    repo.write("new/folder/e.py", "e = 1\n")  # in a folder that appeared after the watch began
    told.path("new/folder/e.py")
    os.replace(repo.path / "a.py", repo.path / "z.py")
    told.path("z.py")
    os.rename(repo.path / "deep", repo.path / "shallow")
    told.path("shallow/er/b.py")
    repo.write("shallow/er/b.py", "b = 3\n")
    told.path("shallow/er/b.py")
    shutil.rmtree(repo.path / "gone")
    told.path("gone/c.py")


def test_what_is_ignored_is_not_told_and_not_even_watched(repo: Repo, watch: Watch) -> None:
    repo.commit({".gitignore": "build/\n*.log\n", "src/a.py": "a = 1\n"})
    for folder in (
        "build/deep",
        "node_modules/x/y",
        "src/__pycache__",
        ".venv/lib",
        "target/debug",
        "other/x",
    ):
        (repo.path / folder).mkdir(parents=True)
    repo.write(".venv/pyvenv.cfg", "home = /usr\n")
    repo.write("target/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n")
    subprocess.run(["git", "init", "-q", str(repo.path / "other")], check=True)
    told = watch()
    git_only = len(list(folders_module.git_folders(repo.found())))
    assert told.watcher.state.folders == git_only + 2  # the root and src
    for path in ("build/deep/x.py", "node_modules/x/y/z.js", ".venv/lib/m.py", "other/x/y.py", "loud.log"):
        repo.write(path, "x = 1\n")
    (repo.path / "build/made/later").mkdir(parents=True)
    repo.write("src/last.py", "x = 1\n")
    assert told.paths_until("src/last.py") == {"src/last.py"}


def test_a_gitignore_that_changes_changes_what_is_watched(repo: Repo, watch: Watch) -> None:
    repo.commit({"out/a.py": "a = 1\n", "src/b.py": "b = 1\n", ".gitignore": ""})
    told = watch()
    before = told.watcher.state.folders
    repo.write(".gitignore", "out/\n")
    told.path(".gitignore")
    assert told.watcher.state.folders == before - 1
    repo.write(".gitignore", "")
    told.path(".gitignore")
    assert told.watcher.state.folders == before
    repo.write("out/a.py", "a = 2\n")
    told.path("out/a.py")


def test_a_worktree_is_watched_by_its_own_head(repo: Repo, watch: Watch, tmp_path: Path) -> None:
    repo.commit({"a.py": "a = 1\n"})
    repo.git("worktree", "add", "--quiet", str(tmp_path / "linked"), "-b", "side")
    linked = Repo.__new__(Repo)
    linked.path, linked.ticks = tmp_path / "linked", 100
    told = watch(of=linked)
    linked.commit({"b.py": "b = 1\n"})
    told.git()
    repo.git("update-ref", "refs/heads/side", "HEAD")
    told.git()


def test_a_repository_made_anew_in_its_place_is_told(repo: Repo, watch: Watch) -> None:
    repo.commit({"a.py": "a = 1\n"})
    told = watch()
    shutil.rmtree(repo.path / ".git")
    told.until(lambda changes: changes.everything, "everything")


def test_a_flood_is_told_in_few_calls_and_bounded(repo: Repo, watch: Watch) -> None:
    repo.commit({"a.py": "a = 1\n"})
    told = watch()
    for number in range(3_000):
        (repo.path / f"f{number}.py").write_text("x = 1\n")
    calls = 0
    while True:
        calls += 1
        changes = told.told.get(timeout=WAIT_S)
        assert len(changes.paths) <= 2_000
        if changes.everything or "f2999.py" in changes.paths:
            break
    assert calls < 100


def test_without_watches_left_it_polls_and_says_why(
    repo: Repo, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.commit({f"d{n}/a.py": "a = 1\n" for n in range(20)})
    monkeypatch.setattr("mccomd_index.watch.GIT_EVERY_S", 0.01)
    told = watch(max_folders=10)
    repo.commit({"b.py": "b = 1\n"})
    told.git()
    assert told.watcher.state.mode == "polling"
    assert "more than 10 folders" in told.watcher.state.reason


def test_polling_sees_commits_and_files(repo: Repo, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mccomd_index.watch.GIT_EVERY_S", 0.01)
    monkeypatch.setattr("mccomd_index.poll.TREE_EVERY_S", 0.0)
    repo.commit({"a.py": "a = 1\n", ".gitignore": "build/\n", "gone.py": ""})
    told = watch("nfs4 is a network file system")
    repo.write("build/x.py", "")
    repo.write("a.py", "a = 22\n")
    told.path("a.py")
    (repo.path / "gone.py").unlink()
    told.path("gone.py")
    repo.write("new/b.py", "b = 1\n")
    assert told.paths_until("new/b.py") == {"new/b.py"}
    repo.commit()
    told.git()
    assert told.watcher.state.mode == "polling"
    assert told.watcher.state.reason == "nfs4 is a network file system"


@pytest.mark.parametrize(
    ("code", "text"),
    [(errno.ENOSPC, "fs.inotify.max_user_watches"), (errno.EMFILE, "fs.inotify.max_user_instances")],
)
def test_a_limit_of_inotify_is_named(code: int, text: str) -> None:
    assert text in explain(OSError(code, "some words"), 3)


def test_a_network_file_system_is_known_by_its_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = f"1 0 8:1 / / rw - ext4 /dev/x rw\n2 1 0:5 / {tmp_path} rw shared:1 - nfs4 host:/x rw\n"
    monkeypatch.setattr(folders_module, "MOUNTS", tmp_path / "mountinfo")
    (tmp_path / "mountinfo").write_text(mounts)
    assert "nfs4" in folders_module.why_no_events(str(tmp_path / "a"))
    assert folders_module.why_no_events(str(tmp_path.parent)) == ""


def test_idle_it_costs_no_processor_time(repo: Repo, watch: Watch) -> None:
    """No thread of the watcher wakes while nothing happens: the kernel counts their switches."""
    repo.commit({f"d{n}/a.py": "a = 1\n" for n in range(50)})
    told = watch()
    repo.write("d1/a.py", "a = 2\n")
    told.path("d1/a.py")
    while (threads := _switches()) != _switches_after(0.3):  # the thread that told goes to sleep
        pass
    after = _switches_after(2.5)  # longer than any timer of the watcher
    assert {name: after[name] - count for name, count in threads.items() if after[name] != count} == {}


def _switches_after(seconds: float) -> dict[str, int]:
    until = time.monotonic() + seconds
    while time.monotonic() < until:  # no child processes meanwhile: their SIGCHLD may wake any thread
        hashlib.sha256(bytes(1_000_000)).digest()
    return _switches()


def _switches() -> dict[str, int]:
    """How often each thread of a watcher was put on a processor."""
    counts = {}
    for thread in threading.enumerate():
        if thread.name == "watch" or isinstance(thread, InotifyFD):
            status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
            switches = [line.split()[1] for line in status.splitlines() if "ctxt_switches" in line]
            counts[f"{thread.name} {thread.native_id}"] = sum(map(int, switches))
    assert len(counts) == 2
    return counts
