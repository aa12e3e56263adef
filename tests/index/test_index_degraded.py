"""Every bad state of a disk or a repository is one that is said, and none is a crash or an empty index."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from index_repos import Indexed, Repo, Worker

from mccomd_index import FolderError, IndexOptions, IndexState, RepositoryError, find_repository, refresh


def ask_worker(indexed: Indexed, **options: Any) -> dict[str, Any]:
    """One refresh in a process of its own, with limits of its own."""
    job = {"id": 1, "op": "refresh", "repository": str(indexed.repo.path), "index": str(indexed.folder)}
    done = subprocess.run(
        [sys.executable, "-m", "mccomd_index.worker"],
        input=json.dumps(job).encode() + b"\n", capture_output=True, timeout=60, check=False, **options,
    )  # fmt: skip
    assert done.stdout, done.stderr.decode()
    return dict(json.loads(done.stdout.splitlines()[-1]))


def sources(count: int, word: str = "needle") -> dict[str, str | bytes | None]:
    return {f"m{n}.py": "".join(f"{word}_{n}_{k} = {k}\n" for k in range(200)) for n in range(count)}


@pytest.mark.parametrize("kb", [8, 25, 40])
def test_a_full_disk_is_said_and_what_stood_stays(repo: Repo, indexed: Indexed, kb: int) -> None:
    """No file may grow past a limit: the kernel refuses the write as it does on a full disk."""
    import resource
    import signal

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (kb * 1000, kb * 1000))

    repo.commit(sources(3, "before"))
    indexed.refresh()
    repo.commit(sources(150))
    failed = ask_worker(indexed, preexec_fn=limit)
    assert failed["event"] == "failed"
    assert str(indexed.folder) in failed["error"]
    assert "Traceback" not in failed["error"]
    assert len(indexed.paths("before")) == 3
    assert indexed.status().state is IndexState.BEHIND
    report = indexed.refresh()
    assert (report.files, report.state) == (150, IndexState.CURRENT)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to be")
def test_a_read_only_cache_is_said_by_everyone_and_is_no_crash(repo: Repo, indexed: Indexed) -> None:
    repo.commit({"a.py": "needle = 1\n"})
    indexed.refresh()
    repo.commit({"b.py": "needle = 2\n"})
    open_to_all(repo.path.parent)
    for place in (indexed.folder, *indexed.folder.rglob("*")):
        place.chmod(0o555 if place.is_dir() else 0o444)
    code = """
import sys, os, pygit2
from mccomd_index import *
os.setgid(65534), os.setuid(65534)
pygit2.settings.owner_validation = False
repository = find_repository(sys.argv[1]); folder = __import__('pathlib').Path(sys.argv[2])
for action in (lambda: refresh(repository, folder, IndexOptions()), lambda: Snapshot.open(repository, folder),
               lambda: status(repository, folder, IndexOptions())):
    try:
        print('fine', action() is not None)
    except FolderError as error:
        print('said', error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(repo.path), str(indexed.folder)],
        capture_output=True, text=True, check=False,
        env={**os.environ, "HOME": str(repo.path)},
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done.stderr
    assert lines[0].startswith("said")
    assert "cannot be written" in lines[0]
    assert all(line.startswith(("said", "fine")) for line in lines)
    assert indexed.refresh().files == 2  # root may


def open_to_all(place: Path) -> None:
    for folder in (place, *place.parents):
        if folder == Path("/tmp"):
            return
        folder.chmod(folder.stat().st_mode | 0o055)


def test_a_sha256_repository_is_said(tmp_path: Path) -> None:
    place = tmp_path / "sha256"
    repo = Repo(place, "--object-format=sha256")
    repo.commit({"a.py": "needle = 1\n"})
    with pytest.raises(RepositoryError, match="SHA-256"):
        find_repository(place)
    worker = Worker()
    worker.send(op="refresh", repository=str(place), index=str(tmp_path / "index"))
    assert "SHA-256 repository, which libgit2 cannot read yet" in worker.answer()["error"]
    assert worker.end() == 0


def test_packed_refs_and_packed_objects_change_nothing(repo: Repo, indexed: Indexed) -> None:
    repo.commit({"a.py": "alpha = 1\n"})
    repo.git("checkout", "--quiet", "-b", "feature/deep")
    repo.commit({"a.py": "beta = 1\n"})
    indexed.refresh()
    repo.git("pack-refs", "--all", "--prune")
    repo.git("gc", "--quiet", "--prune=now")
    assert indexed.refresh().changed_files == 0
    repo.git("checkout", "--quiet", "main")
    assert indexed.status().state is IndexState.BEHIND
    assert (indexed.refresh().changed_files, indexed.paths("alpha"), indexed.paths("beta")) == (
        1,
        ["a.py"],
        [],
    )


def test_a_partial_clone_indexes_what_it_has_and_counts_the_rest(
    repo: Repo, make_repo: Callable[..., Repo], tmp_path: Path
) -> None:
    repo.git("config", "uploadpack.allowFilter", "true")
    repo.commit({"small.py": "needle = 1\n", "d/large.py": "needle = 22\n" * 300})
    place = tmp_path / "partial"
    repo.git("clone", "--quiet", "--bare", "--filter=blob:limit=1k", f"file://{repo.path}", str(place))
    found = find_repository(place)
    assert found is not None
    report = refresh(found, tmp_path / "partial-index", IndexOptions())
    assert (report.files, report.unreadable, report.state) == (1, 1, IndexState.CURRENT)
    subprocess.run(
        ["git", "-C", str(place), "cat-file", "blob", "HEAD:d/large.py"], check=True, capture_output=True
    )
    report = refresh(found, tmp_path / "partial-index", IndexOptions())
    assert (report.files, report.unreadable) == (2, 0)


def test_alternates_that_vanish_are_said_and_come_back(
    repo: Repo, make_repo: Callable[..., Repo], tmp_path: Path
) -> None:
    repo.commit({"a.py": "needle = 1\n"})
    place = tmp_path / "shared"
    repo.git("clone", "--quiet", "--shared", str(repo.path), str(place))
    clone = Indexed(Repo(place), tmp_path / "shared-index")
    clone.refresh()
    clone.repo.commit({"b.py": "needle = 2\n"})
    hidden = repo.path.with_name("hidden")
    repo.path.rename(hidden)
    report = clone.refresh()  # what is known of the old blob needs no reading; its text is on disk
    assert (report.files, report.state) == (2, IndexState.CURRENT)
    assert clone.paths("needle") == ["a.py", "b.py"]
    (place / "a.py").unlink()
    assert clone.paths("needle") == ["b.py"]
    hidden.rename(repo.path)
    clone.refresh()
    clone.repo.git("checkout", "--quiet", "a.py")
    clone.refresh()
    assert clone.paths("needle") == ["a.py", "b.py"]


def test_a_repository_replaced_by_another_shows_nothing_of_the_first(repo: Repo, indexed: Indexed) -> None:
    repo.commit({"a.py": "secret_of_the_first = 1\n"})
    indexed.refresh()
    snapshot = indexed.snapshot()
    shutil.rmtree(repo.path)
    again = Repo(repo.path)
    again.ticks = 100
    again.commit({"b.py": "other = 1\n"})
    assert "is gone from the repository" in indexed.refresh().reason
    assert indexed.paths("secret_of_the_first") == []
    assert [hit.path for hit in snapshot.search("other", 5)] == ["b.py"]  # one that was open all the time


def test_a_repository_that_vanished_leaves_its_reader_alive(repo: Repo, indexed: Indexed) -> None:
    repo.commit({"a.py": "needle = 1\n"})
    indexed.refresh()
    snapshot = indexed.snapshot()
    shutil.rmtree(repo.path)
    assert [hit.path for hit in snapshot.search("needle", 5)] in ([], ["a.py"])
    with pytest.raises((FolderError, RepositoryError, AssertionError)):
        indexed.refresh()


@pytest.mark.parametrize("name", [".store", ".idx", ".term", ".fast", "meta.json"])
def test_a_corrupted_segment_is_an_explained_rebuild(repo: Repo, indexed: Indexed, name: str) -> None:
    repo.commit(sources(20))
    indexed.refresh()
    for file in indexed.generation().iterdir():
        if file.name.endswith(name):
            data = bytearray(file.read_bytes())
            data[len(data) // 3 : len(data) // 2] = b"\xff" * (len(data) // 2 - len(data) // 3)
            damaged = file.with_suffix(".damaged")  # in its place, not in it: readers have the file mapped
            damaged.write_bytes(bytes(data[: len(data) - 7]))
            damaged.replace(file)
    state = indexed.status()
    repo.commit({"new.py": "needle = 1\n"})
    report = indexed.refresh()
    if state.state is IndexState.CORRUPT:
        assert "damaged" in report.reason
    assert "new.py" in indexed.paths("needle")
    assert report.files == 21
