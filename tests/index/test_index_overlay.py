"""What differs from HEAD on disk, and in editors, wins over HEAD and goes when it is reverted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from index_repos import Indexed, Repo

from mccomd_index import Buffers, Hit, IndexOptions, overlay


def found(indexed: Indexed, query: str, buffers: Buffers | None = None) -> list[tuple[str, str]]:
    """(path, text) of hits, by path."""
    snapshot = indexed.snapshot()
    hits = snapshot.search(query, 100, None, buffers)
    snapshot.close()
    assert all((hit.commit == "") == _is_uncommitted(indexed, hit) for hit in hits)
    return sorted((hit.path, hit.text) for hit in hits)


def _is_uncommitted(indexed: Indexed, hit: Hit) -> bool:
    """Whether HEAD has another text at the hit's place, or none."""
    git = indexed.repo.git
    if hit.path not in git("ls-tree", "-r", "--name-only", "HEAD").split("\n"):
        return True
    return hit.text not in git("show", f"HEAD:{hit.path}")


def test_an_edit_is_found_instead_of_what_was_committed_and_goes_again(repo: Repo, indexed: Indexed) -> None:
    repo.commit({"a.py": "alpha = 1\n", "b.py": "beta = 1\n"})
    indexed.refresh()
    repo.write("a.py", "gamma = 1\n")
    report = indexed.refresh()
    assert (report.overlay_files, report.files, report.changed_files) == (1, 2, 0)
    assert (found(indexed, "alpha"), found(indexed, "gamma")) == ([], [("a.py", "gamma = 1")])
    assert indexed.status().overlay_files == 1
    repo.git("checkout", "--quiet", "--", "a.py")
    assert indexed.refresh().overlay_files == 0
    assert (found(indexed, "alpha"), found(indexed, "gamma")) == ([("a.py", "alpha = 1")], [])


def test_what_was_edited_is_not_read_again_when_it_is_committed(repo: Repo, indexed: Indexed) -> None:
    repo.commit({"a.py": "alpha = 1\n"})
    indexed.refresh()
    repo.write("a.py", "gamma = 1\n")
    repo.write("new.py", "gamma = 2\n")
    assert indexed.refresh().bytes == 20
    repo.commit()
    report = indexed.refresh()
    assert (report.bytes, report.overlay_files, report.changed_files) == (0, 0, 2)
    assert len(found(indexed, "gamma")) == 2


@pytest.mark.parametrize("how", ["deleted", "link", "folder", "too large", "binary", "secret"])
def test_a_file_that_is_none_any_more_is_not_found(repo: Repo, indexed: Indexed, how: str) -> None:
    repo.commit({"a.py": "alpha = 1\n"})
    indexed.refresh()
    place = repo.path / "a.py"
    if how == "too large":
        place.write_text("alpha = 1\n" * 60_000)
    elif how == "binary":
        place.write_bytes(b"alpha\0")
    else:
        place.unlink()
    if how == "link":
        place.symlink_to("/etc/hostname")
    if how == "folder":
        place.mkdir()
    if how == "secret":
        (repo.path / ".env").write_text("alpha = 1\n")
    assert indexed.refresh().overlay_files == 1
    assert found(indexed, "alpha") == []


def test_untracked_files_are_found_and_ignored_ones_are_not(repo: Repo, indexed: Indexed) -> None:
    repo.commit({".gitignore": "*.log\nbuild/\n", "a.py": "alpha = 1\n"})
    for name in ("new.py", "deep/er/new.py", "a.log", "build/out.py", ".env", "deep/secret.yml"):
        repo.write(name, "needle = 1\n")
    (repo.path / "deep" / "loop").symlink_to(".")
    indexed.refresh()
    assert [path for path, _ in found(indexed, "needle")] == ["deep/er/new.py"]  # a copy counts once
    repo.write(".gitignore", "*.log\nbuild/\ndeep/\n")
    indexed.refresh()
    assert [path for path, _ in found(indexed, "needle")] == ["new.py"]
    repo.write(".gitignore", "")
    indexed.refresh()
    repo.write("new.py", "other = 1\n")
    repo.write("deep/er/new.py", "other = 1\n")
    indexed.refresh()
    assert [path for path, _ in found(indexed, "needle")] == ["a.log", "build/out.py"]


def test_another_repository_inside_is_not_ours(repo: Repo, indexed: Indexed) -> None:
    repo.commit({"a.py": "alpha = 1\n"})
    inner = Repo(repo.path / "deep" / "inner")
    inner.commit({"i.py": "needle = 1\n"})
    repo.write("deep/mine.py", "needle = 22\n")
    indexed.refresh()
    assert [path for path, _ in found(indexed, "needle")] == ["deep/mine.py"]


def test_odd_names_and_staged_files(repo: Repo, indexed: Indexed) -> None:
    repo.commit({"a.py": "alpha = 1\n"})
    odd = os.fsdecode(b"bad\xff.py")
    for number, name in enumerate((odd, "with space.py", "new\nline.py", "staged.py")):
        repo.write(name, f"needle = {number}00\n")
    repo.git("add", "staged.py")
    (repo.path / "staged.py").write_text("needle = 55500\n")
    indexed.refresh()
    assert len(found(indexed, "needle")) == 4
    assert ("staged.py", "needle = 55500") in found(indexed, "needle")


def test_a_text_that_changed_since_it_was_looked_at_is_not_shown(repo: Repo, indexed: Indexed) -> None:
    """Neither the words that were indexed, which are gone, nor those there now at lines that were others."""
    repo.commit({"a.py": "alpha = 1\n"})
    repo.write("new.py", "needle = 1\n")
    indexed.refresh()
    repo.write("new.py", "password = 1\n")
    assert found(indexed, "needle") == []


def test_many_untracked_files_cost_a_bounded_time(
    repo: Repo, indexed: Indexed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlay, "MAX_FILES", 50)
    monkeypatch.setattr(overlay, "MAX_LOOKS", 200)
    repo.commit({"a.py": "alpha = 1\n"})
    repo.write("a.py", "needle = 1\n")
    now = time.time()
    for number in range(1000):
        repo.write(f"unpacked/{number % 10}/f{number}.py", f"needle = {number}000\n")
        os.utime(repo.path / f"unpacked/{number % 10}/f{number}.py", (now - 1000 + number,) * 2)
    report = indexed.refresh()
    assert report.overlay_files == 50
    assert "the first 200 entries" in report.note
    assert "of 201 changed files the 50 newest are seen" in report.note or "50 newest" in report.note
    assert ("a.py", "needle = 1") in found(indexed, "needle")
    assert indexed.status().note == report.note


def test_an_unreadable_git_index_leaves_head_searchable_and_says_so(repo: Repo, indexed: Indexed) -> None:
    repo.commit({"a.py": "alpha = 1\n"})
    (repo.path / ".git" / "index").write_bytes(b"DIRC nonsense")
    report = indexed.refresh()
    assert report.note.startswith("uncommitted changes are not seen: ")
    assert found(indexed, "alpha") == [("a.py", "alpha = 1")]


def test_a_work_tree_of_a_linked_work_tree_has_its_own_overlay(repo: Repo, indexed: Indexed) -> None:
    repo.commit({"a.py": "alpha = 1\n"})
    repo.git("worktree", "add", "--quiet", "-b", "side", str(repo.path.parent / "side"))
    side = Indexed(Repo(repo.path.parent / "side"), indexed.folder)
    side.repo.write("a.py", "gamma = 1\n")
    indexed.refresh()
    side.refresh()
    assert (found(indexed, "alpha"), found(indexed, "gamma")) == ([("a.py", "alpha = 1")], [])
    assert (found(side, "alpha"), found(side, "gamma")) == ([], [("a.py", "gamma = 1")])
    indexed.refresh(rebuild=True)
    assert found(side, "alpha") == [("a.py", "alpha = 1")]  # until its own next look
    side.refresh()
    assert found(side, "gamma") == [("a.py", "gamma = 1")]


def test_buffers_win_over_the_disk_and_over_head(repo: Repo, indexed: Indexed) -> None:
    repo.commit({"a.py": "alpha = 1\n", "b.py": "alpha = 22\n"})
    repo.write("b.py", "alpha = 333\n")
    indexed.refresh()
    buffers = Buffers()
    buffers.update([("a.py", "gamma = 1\n"), ("b.py", "gamma = 2\n"), ("c/new.py", "gamma = 3\n")])
    assert found(indexed, "alpha", buffers) == []
    assert [path for path, _ in found(indexed, "gamma", buffers)] == ["a.py", "b.py", "c/new.py"]
    buffers.update([("a.py", "gamma = 1\n")])
    assert found(indexed, "alpha", buffers) == [("b.py", "alpha = 333")]
    buffers.update([])
    assert [path for path, _ in found(indexed, "alpha", buffers)] == ["a.py", "b.py"]


@pytest.mark.parametrize("text", ["alpha = 1\nb = 2\n", "alpha = 1\nb = 2", "alpha = 1\r\nb = 2\r\n"])
def test_a_buffer_as_it_was_saved_is_no_difference(repo: Repo, indexed: Indexed, text: str) -> None:
    repo.commit({"a.py": "alpha = 1\nb = 2\n" if "\r" not in text else "alpha = 1\r\nb = 2\r\n"})
    indexed.refresh()
    buffers = Buffers()
    buffers.update([("a.py", text)])
    snapshot = indexed.snapshot()
    assert snapshot.unsaved(buffers) == 0
    assert snapshot.search("alpha", 5, None, buffers)[0].commit != ""
    buffers.update([("a.py", text + "c = 3\n")])
    assert snapshot.unsaved(buffers) == 1


def test_a_buffer_is_ranked_as_its_file_would_be(repo: Repo, indexed: Indexed) -> None:
    files: dict[str, str | bytes | None] = {
        f"m{number}.py": f"def area_{number}(radius):\n    return radius * {number}\n" for number in range(30)
    }
    files["best.py"] = "def parse_request(data):\n    return data.request\n"
    files["worse.py"] = "def parse(data):\n    return data\n"
    repo.commit(files)
    indexed.refresh()
    buffers = Buffers()
    buffers.update([("unsaved.py", "def parse_request(data):\n    x = 1\n    return data.request\n")])
    hits = indexed.snapshot().search("parse_request(data)", 3, None, buffers)
    assert {hit.path for hit in hits[:2]} == {"best.py", "unsaved.py"}
    assert hits[2].path == "worse.py"


@pytest.mark.parametrize("text", ["", "\0", "\ud800 alpha", "x" * 1_000_000, "alpha " * 60_000, "\n" * 5000])
def test_odd_buffers_are_no_crash(repo: Repo, indexed: Indexed, text: str) -> None:
    repo.commit({"b.py": "alpha = 1\n"})
    indexed.refresh()
    buffers = Buffers()
    buffers.update([("a.py", text)])
    hits = indexed.snapshot().search("alpha", 5, None, buffers)
    assert "b.py" in {hit.path for hit in hits}


def test_an_overlay_is_left_out_by_the_same_rules(make_repo: Callable[..., Repo], tmp_path: Path) -> None:
    repo = make_repo("ruled")
    indexed = Indexed(
        repo, tmp_path / "ruled-index", IndexOptions(ignore=("vendor/",), languages=("python",))
    )
    repo.commit({"a.py": "alpha = 1\n"})
    for name in ("vendor/v.py", "new.go", "new.py"):
        repo.write(name, "needle = 1\n")
    indexed.refresh()
    assert [path for path, _ in found(indexed, "needle")] == ["new.py"]


def test_a_folder_in_the_place_of_a_file_is_no_text(tmp_path: Path) -> None:
    """It may come between git's word and our reading."""
    (tmp_path / "a.py").mkdir()
    assert overlay.read(str(tmp_path), "a.py", 100) is None
