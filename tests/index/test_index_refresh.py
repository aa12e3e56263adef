from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from index_repos import Indexed, Repo, Worker

import mccomd_index
from mccomd_index import (
    FolderError,
    IndexOptions,
    IndexState,
    LockedError,
    Progress,
    Report,
    RepositoryError,
    Snapshot,
    database,
    refresh,
    status,
    store,
    views,
)
from mccomd_index.stamp import writer_lock


def check_equals_a_fresh_index(indexed: Indexed, *queries: str) -> None:
    fresh = Indexed(indexed.repo, indexed.folder.with_name(f"fresh-{time.monotonic_ns()}"), indexed.options)
    fresh.refresh()
    for query in queries:
        assert indexed.search(query) == fresh.search(query)
    assert (indexed.status().files, indexed.status().chunks) == (fresh.status().files, fresh.status().chunks)
    assert indexed.status().state is IndexState.CURRENT


def test_it_says_when_everything_is_searchable_and_puts_in_order_after_that(
    repo: Repo, indexed: Indexed
) -> None:
    said: list[tuple[Report, list[str], list[str]]] = []

    def searchable(report: Report) -> None:
        with pytest.raises(LockedError), writer_lock(indexed.folder, wait_s=0.0):
            pass
        said.append((report, indexed.paths("alpha"), indexed.paths("beta")))

    for number in range(12):  # Tantivy merges from eight segments on
        repo.commit({f"a{number}.py": f"def alpha{number}(alpha):\n    return beta\n"})
        report = refresh(repo.found(), indexed.folder, indexed.options, searchable=searchable)
        seen = sorted(f"a{n}.py" for n in range(number + 1))
        assert said.pop() == (report, seen, seen)
    assert not said
    with writer_lock(indexed.folder, wait_s=0.0):
        assert len(list(indexed.generation().glob("*.term"))) < 12  # a merge was waited for


def test_the_first_index_and_what_it_says(repo: Repo, indexed: Indexed) -> None:
    head = repo.commit({"a.py": "def alpha():\n    return beta\n", "doc/b.md": "About beta.\n"})
    before = indexed.status()
    assert (before.state, before.head, before.stamp_commit) == (IndexState.MISSING, head, None)
    assert not indexed.folder.exists()
    seen: list[Progress] = []
    report = refresh(repo.found(), indexed.folder, indexed.options, seen.append)
    assert (report.state, report.head, report.files, report.chunks) == (IndexState.CURRENT, head, 2, 2)
    assert (report.rebuilt, report.reason, report.changed_files) == (True, "no index yet", 2)
    assert seen[-1] == Progress(2, 2, report.bytes)
    assert indexed.search("beta") == {
        ("a.py", 1, 2, "def alpha():\n    return beta"),
        ("doc/b.md", 1, 1, "About beta."),
    }
    after = indexed.status()
    assert (after.state, after.behind, after.files, after.chunks) == (IndexState.CURRENT, 0, 2, 2)
    assert indexed.folder.stat().st_mode & 0o777 == 0o700


def test_nothing_to_do_is_done_at_once(repo: Repo, indexed: Indexed) -> None:
    repo.commit({"a.py": "alpha = 1\n"})
    indexed.refresh()
    report = indexed.refresh()
    assert (report.rebuilt, report.changed_files, report.files) == (False, 0, 1)


def test_empty_repository_and_unborn_branch(repo: Repo, indexed: Indexed) -> None:
    report = indexed.refresh()
    assert (report.state, report.head, report.files) == (IndexState.CURRENT, None, 0)
    assert indexed.search("anything") == set()
    repo.commit({"a.py": "alpha = 1\n"})
    assert indexed.status().state is IndexState.BEHIND
    assert not indexed.refresh().rebuilt
    assert indexed.paths("alpha") == ["a.py"]
    repo.git("checkout", "--quiet", "--orphan", "empty")
    report = indexed.refresh()
    assert (report.files, report.overlay_files) == (0, 1)  # what is staged differs from no commit at all
    repo.git("rm", "--quiet", "--force", "a.py")
    assert indexed.refresh().overlay_files == 0
    assert indexed.paths("alpha") == []


def test_an_empty_commit(repo: Repo, indexed: Indexed) -> None:
    repo.commit()
    assert indexed.refresh().files == 0
    assert indexed.search("anything") == set()


def test_commits_are_followed_file_by_file(repo: Repo, indexed: Indexed) -> None:
    repo.commit({"a.py": "alpha = 1\n", "b.py": "beta = 1\n", "c.py": "gamma = 1\n"})
    indexed.refresh()
    repo.commit({"a.py": "changed = 1\n", "b.py": None})
    repo.commit({"new.py": "alpha = 2\n"})
    found = indexed.status()
    assert (found.state, found.behind) == (IndexState.BEHIND, 2)
    report = indexed.refresh()
    assert (report.rebuilt, report.changed_files, report.files) == (False, 3, 3)
    assert [indexed.paths(word) for word in ("alpha", "beta", "gamma", "changed")] == [
        ["new.py"],
        [],
        ["c.py"],
        ["a.py"],
    ]
    check_equals_a_fresh_index(indexed, "alpha beta gamma changed")


def test_every_way_to_move_head_is_one_case(repo: Repo, indexed: Indexed) -> None:
    first = repo.commit({"a.py": "alpha = 1\n", "b.py": "beta = 1\n"})
    indexed.refresh()
    repo.commit({"a.py": "amend = 1\n"})
    repo.commit({"b.py": "amended = 1\n"}, "--amend")  # amend
    indexed.refresh()
    check_equals_a_fresh_index(indexed, "alpha beta amend amended")
    repo.git("reset", "--quiet", "--hard", first)  # reset
    assert indexed.status().behind == -1
    indexed.refresh()
    assert indexed.paths("amend amended") == []
    repo.git("checkout", "--quiet", "-b", "side")  # checkout
    repo.commit({"a.py": None, "side.py": "sideways = 1\n"})
    indexed.refresh()
    assert indexed.paths("alpha sideways") == ["side.py"]
    repo.git("checkout", "--quiet", "main")
    repo.commit({"main.py": "mainly = 1\n"})
    repo.git("merge", "--quiet", "--no-edit", "side")  # merge
    indexed.refresh()
    assert indexed.paths("alpha sideways mainly") == ["main.py", "side.py"]
    repo.git("mv", "main.py", "renamed.py")  # rename
    repo.commit()
    indexed.refresh()
    assert indexed.paths("mainly") == ["renamed.py"]
    check_equals_a_fresh_index(indexed, "alpha beta sideways mainly")


def test_a_change_of_mode_or_message_alone_reads_nothing(repo: Repo, indexed: Indexed) -> None:
    repo.commit({"a.py": "alpha = 1\n"})
    indexed.refresh()
    (repo.path / "a.py").chmod(0o755)
    head = repo.commit()
    report = indexed.refresh()
    assert (report.changed_files, report.rebuilt, report.head) == (0, False, head)
    assert indexed.status().state is IndexState.CURRENT
    assert indexed.paths("alpha") == ["a.py"]
    assert indexed.snapshot().search("alpha", 1)[0].commit == head


def test_bare_repositories_detached_heads_and_submodules(
    repo: Repo, make_repo: Callable[..., Repo], tmp_path: Path
) -> None:
    library = make_repo("library")
    library.commit({"lib.py": "borrowed = 1\n"})
    repo.git("submodule", "--quiet", "add", str(library.path), "sub")
    repo.commit({"a.py": "alpha = 1\n"})
    repo.git("checkout", "--quiet", "--detach")
    detached = Indexed(repo, tmp_path / "detached")
    detached.refresh()
    assert detached.paths("alpha borrowed") == ["a.py"]
    repo.git("clone", "--quiet", "--bare", ".", str(tmp_path / "bare.git"))
    bare = mccomd_index.find_repository(tmp_path / "bare.git")
    assert bare is not None
    assert refresh(bare, tmp_path / "bare", IndexOptions()).files == 2
    inner = mccomd_index.find_repository(repo.path / "sub" / "lib.py")
    assert inner is not None
    assert refresh(inner, tmp_path / "inner", IndexOptions()).files == 1


def test_shallow_clones_and_alternates(repo: Repo, make_repo: Callable[..., Repo], tmp_path: Path) -> None:
    repo.commit({"a.py": "alpha = 1\n"})
    repo.commit({"b.py": "beta = 1\n"})
    for kind in (["--depth", "1", f"file://{repo.path}"], ["--shared", str(repo.path)]):
        place = tmp_path / kind[0].strip("-")
        repo.git("clone", "--quiet", *kind, str(place))
        clone = Indexed(Repo(place), tmp_path / f"index{kind[0]}")
        assert clone.refresh().files == 2
        clone.repo.commit({"c.py": "gamma = 1\n"})
        assert clone.status().behind == 1
        clone.refresh()
        assert clone.paths("alpha beta gamma") == ["a.py", "b.py", "c.py"]


def test_an_old_tree_that_is_incomplete_rebuilds(repo: Repo, indexed: Indexed) -> None:
    repo.commit({"d/a.py": "alpha = 1\n"})
    tree = repo.git("rev-parse", "HEAD:d")
    indexed.refresh()
    repo.commit({"d/a.py": "beta = 1\n"})
    repo.object_file(tree).unlink()
    assert indexed.refresh().rebuilt
    assert indexed.paths("alpha beta") == ["d/a.py"]


def test_what_never_enters(repo: Repo, indexed: Indexed) -> None:
    (repo.path / "loop").symlink_to("loop")
    repo.commit(
        {
            "a.py": "needle = 1\n",
            "binary.py": b"needle\0",
            "big.py": b"needle = 1\n" * 60_000,
            "minified.js": b"needle;" * 1000,
            "generated.py": "# @generated\nneedle = 1\n",
            "poetry.lock": "needle\n",
            ".env": "needle=1\n",
            "table.csv": "needle\n",
        }
    )
    report = indexed.refresh()
    assert (report.files, report.unreadable) == (1, 0)
    assert indexed.paths("needle") == ["a.py"]


def test_a_generated_file_of_50_mb_is_not_even_read(repo: Repo, indexed: Indexed) -> None:
    repo.git("config", "core.compression", "1")
    with open(repo.path / "huge.py", "wb") as file:
        file.truncate(50_000_000)
    repo.commit({"a.py": "needle = 1\n"})
    report = indexed.refresh()
    assert (report.files, report.bytes) == (1, 11)
    assert report.ms < 1000  # inflating it alone would take a third of that; the limit is for loaded machines


def test_odd_files_are_found(repo: Repo, indexed: Indexed) -> None:
    odd = os.fsdecode(b"bad\xff.py")
    repo.commit(
        {
            "latin.py": "größe_latin = 'ä'\n".encode("latin-1"),
            "crlf.py": b"first = 1\r\ncrlf = 2\r\n",
            "with space.py": "space = 1\n",
            "new\nline.py": "newline = 1\n",
            odd: "bytes = 1\n",
        }
    )
    indexed.refresh()
    assert indexed.search("größe_latin") == {("latin.py", 1, 1, "größe_latin = 'ä'")}
    assert indexed.search("crlf") == {("crlf.py", 1, 2, "first = 1\ncrlf = 2")}
    for word, path in (("space", "with space.py"), ("newline", "new\nline.py"), ("bytes", odd)):
        assert indexed.paths(word) == [path]
    repo.commit({odd: None, "new\nline.py": None})
    indexed.refresh()
    assert indexed.paths("newline bytes") == []


def test_a_file_renamed_to_a_secret_leaves_and_comes_back(repo: Repo, indexed: Indexed) -> None:
    repo.commit({"settings.txt": "token_value = 1\n"})
    indexed.refresh()
    repo.git("mv", "settings.txt", ".env")
    repo.commit()
    indexed.refresh()
    assert indexed.paths("token_value") == []
    repo.git("mv", ".env", "settings.txt")
    repo.commit()
    indexed.refresh()
    assert indexed.paths("token_value") == ["settings.txt"]


def test_a_file_that_becomes_binary_or_too_large_leaves(repo: Repo, indexed: Indexed) -> None:
    repo.commit({"a.py": "needle = 1\n", "b.py": "needle = 2\n"})
    indexed.refresh()
    repo.commit({"a.py": b"needle\0", "b.py": b"needle = 2\n" * 60_000})
    indexed.refresh()
    assert indexed.paths("needle") == []
    assert indexed.status().files == 0


def test_other_options_rebuild_with_the_reason(repo: Repo, indexed: Indexed) -> None:
    repo.commit({"a.py": "needle = 1\n", "b.go": "needle := 1\n", "vendor/c.py": "needle = 1\n"})
    indexed.refresh()
    indexed.options = replace(indexed.options, ignore=("vendor/",), languages=("python",))
    found = indexed.status()
    assert found.state is IndexState.OTHER_OPTIONS
    assert "ignore was ()" in found.reason
    assert "languages was ()" in found.reason
    assert indexed.refresh().rebuilt
    assert indexed.paths("needle") == ["a.py"]
    assert indexed.status().state is IndexState.CURRENT


def test_an_index_of_the_first_format_rebuilds(repo: Repo, indexed: Indexed) -> None:
    repo.commit({"a.py": "needle = 1\n"})
    (indexed.folder / "gen-0007").mkdir(parents=True)
    (indexed.folder / "stamp.json").write_text(json.dumps({"format": 1, "generation": "gen-0007"}))
    assert indexed.status().state is IndexState.OTHER_FORMAT
    assert Snapshot.open(repo.found(), indexed.folder) is None
    report = indexed.refresh()
    assert report.rebuilt
    assert "index format 1, this version writes" in report.reason
    assert indexed.paths("needle") == ["a.py"]
    assert sorted(place.name for place in indexed.folder.iterdir() if place.is_dir()) == ["gen-0008"]
    assert not (indexed.folder / "stamp.json").exists()


@pytest.mark.parametrize("number", [1, 99])
def test_another_format_rebuilds(repo: Repo, indexed: Indexed, number: int) -> None:
    repo.commit({"a.py": "needle = 1\n"})
    indexed.refresh()
    with contextlib.closing(sqlite3.connect(indexed.folder / database.NAME)) as db:
        db.execute(f"PRAGMA user_version = {number}")
    assert indexed.status().state is IndexState.OTHER_FORMAT
    assert Snapshot.open(repo.found(), indexed.folder) is None
    report = indexed.refresh()
    assert report.rebuilt
    assert f"format {number}" in report.reason
    assert indexed.paths("needle") == ["a.py"]


@pytest.mark.parametrize("keep", [0, 1, 40, 5000])
def test_truncated_views_rebuild(repo: Repo, indexed: Indexed, keep: int) -> None:
    repo.commit({"a.py": "needle = 1\n"})
    indexed.refresh()
    os.truncate(indexed.folder / database.NAME, keep)
    assert indexed.status().state is IndexState.CORRUPT
    assert Snapshot.open(repo.found(), indexed.folder) is None
    report = indexed.refresh()
    assert report.rebuilt
    assert "views.db: damaged" in report.reason
    assert indexed.paths("needle") == ["a.py"]


@pytest.mark.parametrize("sql", [
    "DROP TABLE places", "DROP TABLE views", "DROP TABLE store", "DELETE FROM store",
    "UPDATE views SET options = '[]'", "UPDATE store SET generation = '../x'",
])  # fmt: skip
def test_views_with_anything_in_them_are_no_crash(repo: Repo, indexed: Indexed, sql: str) -> None:
    repo.commit({"a.py": "needle = 1\n"})
    indexed.refresh()
    with contextlib.closing(sqlite3.connect(indexed.folder / database.NAME)) as db:
        db.execute(sql)
        db.commit()
    repo.commit({"b.py": "needle = 2\n"})
    assert indexed.refresh().rebuilt
    assert indexed.paths("needle") == ["a.py", "b.py"]


def segment_files(indexed: Indexed) -> list[Path]:
    return sorted(
        file for file in indexed.generation().iterdir() if file.suffix in (".idx", ".term", ".store")
    )


@pytest.mark.parametrize("harm", ["truncate", "remove", "meta", "folder"])
def test_damaged_files_rebuild(repo: Repo, indexed: Indexed, harm: str) -> None:
    repo.commit({"a.py": "needle = 1\n"})
    indexed.refresh()
    generation = indexed.generation()
    if harm == "folder":
        shutil.rmtree(generation)
    elif harm == "meta":
        (generation / "meta.json").write_text("{}")
    for file in segment_files(indexed) if harm in ("truncate", "remove") else []:
        if harm == "remove":
            file.unlink()
        else:
            os.truncate(file, file.stat().st_size // 2)
    found = indexed.status()
    assert found.state is IndexState.CORRUPT
    report = indexed.refresh()
    assert report.rebuilt
    assert "damaged" in report.reason
    assert indexed.paths("needle") == ["a.py"]
    assert harm == "folder" or not generation.exists()


def test_a_commit_that_is_gone_rebuilds(repo: Repo, indexed: Indexed) -> None:
    repo.commit({"a.py": "first = 1\n"})
    old = repo.commit({"a.py": "second = 1\n"})
    indexed.refresh()
    repo.commit({"a.py": "third = 1\n"}, "--amend")
    repo.git("reflog", "expire", "--expire=now", "--all")
    repo.git("gc", "--quiet", "--prune=now")
    found = indexed.status()
    assert (found.state, found.behind) == (IndexState.BEHIND, -1)
    report = indexed.refresh()
    assert report.rebuilt
    assert f"{old[:10]} of the index is gone" in report.reason
    assert indexed.paths("first second third") == ["a.py"]


def test_a_repository_replaced_under_its_index(repo: Repo, indexed: Indexed) -> None:
    repo.commit({"a.py": "first = 1\n"})
    indexed.refresh()
    shutil.rmtree(repo.path)
    again = Repo(repo.path)
    again.ticks = 100
    again.commit({"b.py": "other = 1\n"})
    assert indexed.refresh().rebuilt
    assert indexed.paths("first other") == ["b.py"]


def test_missing_blobs_are_counted_and_left_out(repo: Repo, indexed: Indexed) -> None:
    repo.commit({"a.py": "needle = 1\n", "b.py": "needle = 2\n"})
    repo.object_file(repo.git("rev-parse", "HEAD:a.py")).unlink()
    report = indexed.refresh()
    assert (report.files, report.unreadable) == (1, 1)
    assert indexed.paths("needle") == ["b.py"]


def test_a_missing_folder_of_the_commit_is_a_clear_error_and_keeps_the_old_index(
    repo: Repo, indexed: Indexed
) -> None:
    repo.commit({"d/a.py": "needle = 1\n"})
    indexed.refresh()
    repo.commit({"d/a.py": "needle = 2\n"})
    repo.object_file(repo.git("rev-parse", "HEAD:d")).unlink()
    with pytest.raises(RepositoryError):
        indexed.refresh()
    assert indexed.paths("needle") == ["d/a.py"]


class Crash(BaseException):
    """The process dies here."""


STEPS = ["add", "commit", "put", "update"]  # of the store, and of the views


def crash_at(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise Crash

    place = store.Writer if step in ("add", "commit") else views.Views
    monkeypatch.setattr(place, step, crash)


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_at_any_step_of_catching_up_is_cured_by_the_next_refresh(
    repo: Repo, indexed: Indexed, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    repo.commit({"a.py": "alpha = 1\n", "b.py": "beta = 1\n"})
    indexed.refresh()
    repo.commit({"a.py": "changed = 1\n", "b.py": None, "c.py": "changed = 2\n"})
    crash_at(step, monkeypatch)
    with pytest.raises(Crash):
        indexed.refresh()
    monkeypatch.undo()
    assert indexed.status().state is IndexState.BEHIND
    assert indexed.paths("alpha beta") == ["a.py", "b.py"]
    assert not indexed.refresh().rebuilt
    check_equals_a_fresh_index(indexed, "alpha", "beta", "changed")


@pytest.mark.parametrize("then", ["reset", "move on", "amend", "gone"])
def test_a_crash_before_the_view_is_no_trap_when_head_moves_before_the_next_refresh(
    repo: Repo, indexed: Indexed, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    """Tantivy held b's commit, the stamp said a's, HEAD went back to a's: the index called itself current."""
    first = repo.commit({"a.py": "alpha = 1\n", "b.py": "beta = 1\n"})
    indexed.refresh()
    repo.commit({"a.py": "interrupted = 1\n", "b.py": None, "c.py": "interrupted = 2\n"})
    crash_at("update", monkeypatch)
    with pytest.raises(Crash):
        indexed.refresh()
    monkeypatch.undo()
    if then == "amend":
        repo.commit({"a.py": "alpha = 2\n"}, "--amend")
    else:
        repo.git("reset", "--quiet", "--hard", first)
    if then == "move on":
        repo.commit({"d.py": "delta = 1\n"})
    if then == "gone":
        repo.git("reflog", "expire", "--expire=now", "--all")
        repo.git("gc", "--quiet", "--prune=now")
    indexed.refresh()
    check_equals_a_fresh_index(indexed, "alpha", "beta", "interrupted", "delta")


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_at_any_step_of_a_rebuild_leaves_the_old_index(
    repo: Repo, indexed: Indexed, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    repo.commit({"a.py": "alpha = 1\n"})
    indexed.refresh()
    crash_at(step, monkeypatch)
    with pytest.raises(Crash):
        indexed.refresh(rebuild=True)
    monkeypatch.undo()
    assert indexed.paths("alpha") == ["a.py"]
    assert indexed.refresh().changed_files == 0
    assert len([place for place in indexed.folder.iterdir() if place.is_dir()]) == 1


def test_an_index_folder_that_cannot_be_made_is_a_clear_error(repo: Repo, tmp_path: Path) -> None:
    repo.commit({"a.py": "alpha = 1\n"})
    (tmp_path / "file").write_text("in the way")
    folder = tmp_path / "file" / "index"
    with pytest.raises(FolderError, match="index"):
        refresh(repo.found(), folder, IndexOptions())
    with pytest.raises(FolderError, match="cannot be read"):
        status(repo.found(), folder, IndexOptions())
    with pytest.raises(FolderError, match="cannot be read"):
        Snapshot.open(repo.found(), folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_index_folder_is_a_clear_error(repo: Repo, indexed: Indexed) -> None:
    repo.commit({"a.py": "alpha = 1\n"})
    indexed.refresh()
    snapshot = indexed.snapshot()
    repo.commit({"b.py": "beta = 1\n"})
    places = [indexed.folder, *indexed.folder.rglob("*")]
    for place in places:
        place.chmod(0o500 if place.is_dir() else 0o400)
    try:
        for action in (indexed.refresh, indexed.status, indexed.snapshot):
            with pytest.raises(FolderError, match="cannot be written"):
                action()
        snapshot.reload()
        assert [hit.path for hit in snapshot.search("alpha", 1)] == ["a.py"]
    finally:
        for place in places:
            place.chmod(0o700)


def test_a_writer_waits_for_another_but_not_for_ever(tmp_path: Path) -> None:
    with (
        writer_lock(tmp_path),
        pytest.raises(LockedError, match="another process"),
        writer_lock(tmp_path, 0.05),
    ):
        pass
    with writer_lock(tmp_path, 0):
        pass


def test_concurrent_refreshes_take_turns(repo: Repo, indexed: Indexed) -> None:
    workers = [Worker() for _ in range(3)]
    for number in range(3):
        repo.commit({f"m{number}_{other}.py": f"word_{number} = {other}\n" * 30 for other in range(20)})
        for worker in workers:
            worker.send(op="refresh", repository=str(repo.path), index=str(indexed.folder))
        done = [worker.answer() for worker in workers]
        assert [event["event"] for event in done] == ["done"] * 3
        assert sorted(event["changed_files"] for event in done) == [0, 0, 20]
        check_equals_a_fresh_index(indexed, f"word_{number}", "word_0")
    for worker in workers:
        assert worker.end() == 0


def test_contents_that_no_work_tree_has_are_cleared_away(
    repo: Repo, indexed: Indexed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BM25 counts dead chunks: past as many as live ones they go."""
    monkeypatch.setattr(sys.modules["mccomd_index.refresh"], "MIN_DEAD", 3)
    repo.commit({f"m{number}.py": f"word = {number}00\n" for number in range(8)})
    indexed.refresh()
    repo.commit({f"m{number}.py": f"word = {number}11\n" for number in range(8)})
    assert not indexed.refresh().rebuilt
    repo.commit({"m0.py": "word = 222\n"})
    report = indexed.refresh()
    assert report.rebuilt
    assert report.reason == "9 chunks that no work tree has beside 8 live ones"
    assert indexed.snapshot().stamp.generation == "gen-0002"
    check_equals_a_fresh_index(indexed, "word")


def test_a_branch_switched_back_reads_nothing(repo: Repo, indexed: Indexed) -> None:
    repo.commit({f"m{number}.py": f"main_{number} = 1\n" for number in range(8)})
    indexed.refresh()
    repo.git("checkout", "--quiet", "-b", "side")
    repo.commit({f"m{number}.py": f"side_{number} = 1\n" for number in range(8)})
    assert indexed.refresh().bytes > 0
    repo.git("checkout", "--quiet", "main")
    report = indexed.refresh()
    assert (report.rebuilt, report.changed_files, report.bytes) == (False, 8, 0)
    check_equals_a_fresh_index(indexed, "main_1 main_2", "side_1")


def test_a_rename_reads_nothing(repo: Repo, indexed: Indexed) -> None:
    repo.commit({"a.py": "alpha = 1\n", "b.py": "beta = 1\n"})
    indexed.refresh()
    repo.git("mv", "a.py", "deep.py")
    repo.commit()
    assert indexed.refresh().bytes == 0
    assert indexed.paths("alpha") == ["deep.py"]
    repo.git("mv", "deep.py", "deep.txt")  # another language: other chunks
    repo.commit()
    assert indexed.refresh().bytes > 0
    check_equals_a_fresh_index(indexed, "alpha")


def test_work_trees_of_one_repository_share_contents_and_see_their_own(
    repo: Repo, indexed: Indexed, tmp_path: Path
) -> None:
    repo.commit({f"m{number}.py": f"word_{number} = 1\n" for number in range(8)})
    indexed.refresh()
    repo.git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "side"))
    (tmp_path / "side" / "s.py").write_text("sideways = 1\n")
    repo.git("-C", str(tmp_path / "side"), "add", "s.py")
    repo.git("-C", str(tmp_path / "side"), "commit", "--quiet", "-m", "side")
    side = mccomd_index.find_repository(tmp_path / "side")
    assert side is not None
    report = refresh(side, indexed.folder, IndexOptions())
    assert (report.files, report.bytes, report.rebuilt) == (9, len("sideways = 1\n"), True)
    snapshot = Snapshot.open(side, indexed.folder)
    assert snapshot is not None
    assert [hit.path for hit in snapshot.search("sideways", 5)] == ["s.py"]
    assert indexed.paths("sideways") == []
    assert indexed.refresh(rebuild=True).files == 8
    assert [hit.path for hit in snapshot.search("sideways", 5)] == ["s.py"]  # in the new generation, too
    assert len(indexed.paths("word")) == 8
    repo.git("worktree", "remove", "--force", str(tmp_path / "side"))
    indexed.refresh(rebuild=True)
    assert snapshot.search("sideways", 5) == []


def test_a_partial_clone_that_fetched_what_it_lacked_is_completed(repo: Repo, indexed: Indexed) -> None:
    repo.commit({"a.py": "needle = 1\n", "b.py": "needle = 2\n"})
    place = repo.object_file(repo.git("rev-parse", "HEAD:a.py"))
    data = place.read_bytes()
    place.unlink()
    assert indexed.refresh().unreadable == 1
    assert indexed.refresh().unreadable == 1
    place.write_bytes(data)
    report = indexed.refresh()
    assert (report.files, report.unreadable, report.rebuilt) == (2, 0, False)
    check_equals_a_fresh_index(indexed, "needle")
