from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from index_repos import Repo

from mccomd_index import RepositoryError, files_at_head, find_repository
from mccomd_index.git import Change, Git


def names(repo: Repo) -> list[str]:
    return files_at_head(repo.found())


def check_diff(repo: Repo, old: str | None, new: str | None, expected: dict[str, bool]) -> None:
    """expected: path -> it is a file afterwards."""
    changes = Git(repo.found()).diff(old, new)
    by_path: dict[str, bool] = {}
    for change in changes:  # a removal comes before an addition of the same path
        by_path[change.path] = change.blob is not None
    assert by_path == expected


def test_outside_any_repository_there_is_none(tmp_path: Path) -> None:
    assert find_repository(tmp_path) is None
    assert find_repository(tmp_path / "not" / "there.py") is None
    assert find_repository("/") is None


def test_a_work_tree_is_found_from_files_that_do_not_exist_yet(repo: Repo) -> None:
    head = repo.commit({"a.py": "a = 1\n"})
    root = os.path.realpath(repo.path)
    for place in (".", "a.py", "new.py", "new/folder/new.py", "a.py/under/a/file"):
        found = find_repository(repo.path / place)
        assert found is not None
        assert (found.work_tree, found.git_dir, found.common_dir) == (root, f"{root}/.git", f"{root}/.git")
        assert (found.head, found.branch, found.detached) == (head, "main", False)


def test_unborn_branch(repo: Repo) -> None:
    found = repo.found()
    assert (found.head, found.branch, found.detached) == (None, "main", False)
    git = Git(found)
    assert git.head() is None
    assert list(git.files(None)) == []


def test_detached_head(repo: Repo) -> None:
    head = repo.commit({"a.py": "a = 1\n"})
    repo.git("checkout", "--quiet", "--detach")
    found = repo.found()
    assert (found.head, found.branch, found.detached) == (head, None, True)


def test_packed_references(repo: Repo) -> None:
    head = repo.commit({"a.py": "a = 1\n"})
    repo.git("gc", "--quiet")
    assert repo.found().head == head
    assert names(repo) == ["a.py"]


def test_bare_repository(repo: Repo, tmp_path: Path) -> None:
    head = repo.commit({"a.py": "a = 1\n"})
    repo.git("clone", "--quiet", "--bare", ".", str(tmp_path / "bare.git"))
    found = find_repository(tmp_path / "bare.git" / "refs")
    assert found is not None
    assert (found.work_tree, found.head) == (None, head)


def test_a_worktree_has_its_own_head_and_shares_the_rest(repo: Repo, tmp_path: Path) -> None:
    repo.commit({"a.py": "a = 1\n"})
    repo.git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "side"))
    found = find_repository(tmp_path / "side" / "a.py")
    assert found is not None
    assert found.branch == "side"
    assert found.work_tree == os.path.realpath(tmp_path / "side")
    assert found.common_dir == repo.found().common_dir
    assert found.git_dir != found.common_dir


def test_a_submodule_is_a_repository_of_its_own_and_no_file_of_ours(
    repo: Repo, make_repo: Callable[..., Repo]
) -> None:
    library = make_repo("library")
    inner = library.commit({"lib.py": "lib = 1\n"})
    repo.git("submodule", "--quiet", "add", str(library.path), "sub")
    repo.commit({"a.py": "a = 1\n"})
    found = find_repository(repo.path / "sub" / "lib.py")
    assert found is not None
    assert found.head == inner
    assert found.work_tree == os.path.realpath(repo.path / "sub")
    assert names(repo) == [".gitmodules", "a.py"]


def test_symlinks_and_their_loops_are_no_files(repo: Repo) -> None:
    (repo.path / "loop").symlink_to("loop")
    (repo.path / "self").symlink_to(".")
    (repo.path / "link.py").symlink_to("a.py")
    repo.commit({"a.py": "a = 1\n"})
    assert names(repo) == ["a.py"]
    for place in ("loop", "loop/x.py", "self/self/self/a.py"):
        found = find_repository(repo.path / place)
        assert found is not None
        assert found.work_tree == os.path.realpath(repo.path)


def test_odd_names_survive(repo: Repo) -> None:
    odd = [
        "with space.py",
        "new\nline.py",
        "tab\t.py",
        'quo"te.py',
        "größe.py",
        os.fsdecode(b"bad\xff\xfe.py"),
    ]
    repo.commit(dict.fromkeys(odd, "x = 1\n"))
    assert names(repo) == sorted(odd)
    removed = repo.commit(dict.fromkeys(odd))
    check_diff(repo, f"{removed}", repo.commit(dict.fromkeys(odd, "x = 2\n")), dict.fromkeys(odd, True))


def test_a_tree_may_be_of_any_depth(repo: Repo) -> None:
    blob = repo.git("hash-object", "-w", "--stdin", stdin=b"x = 1\n")
    tree = repo.git("mktree", stdin=f"100644 blob {blob}\ta.py\n".encode())
    for _ in range(30):
        tree = repo.git("mktree", stdin=f"040000 tree {tree}\td\n".encode())
    repo.git("update-ref", "HEAD", repo.git("commit-tree", "-m", "deep", tree))
    assert names(repo) == ["d/" * 30 + "a.py"]


def test_differences_between_any_two_commits(repo: Repo) -> None:
    first = repo.commit({"a.py": "a\n", "b.py": "b\n", "d/c.py": "c\n"})
    repo.git("mv", "b.py", "e.py")
    (repo.path / "a.py").chmod(0o755)
    second = repo.commit({"d/c.py": "changed\n", "new.py": "new\n"})
    check_diff(repo, first, second, {"b.py": False, "e.py": True, "d/c.py": True, "new.py": True})
    check_diff(repo, second, first, {"b.py": True, "e.py": False, "d/c.py": True, "new.py": False})
    check_diff(repo, None, first, {"a.py": True, "b.py": True, "d/c.py": True})
    check_diff(repo, first, None, {"a.py": False, "b.py": False, "d/c.py": False})
    check_diff(repo, first, first, {})


def test_a_file_that_becomes_a_link_a_folder_or_a_submodule_leaves(repo: Repo) -> None:
    first = repo.commit({"link.py": "a.py", "folder": "text\n", "sub": "text\n"})
    for name in ("link.py", "folder", "sub"):
        (repo.path / name).unlink()
    (repo.path / "link.py").symlink_to("a.py")  # the same blob, no file any more
    repo.write("folder/in.py", "x\n")
    repo.git("add", "--all")
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{first},sub")
    repo.git("commit", "--quiet", "--message", "types")
    second = repo.git("rev-parse", "HEAD")
    check_diff(repo, first, second, {"link.py": False, "folder": False, "folder/in.py": True, "sub": False})
    check_diff(repo, second, first, {"link.py": True, "folder": True, "folder/in.py": False, "sub": True})


def test_a_missing_blob_is_none(repo: Repo) -> None:
    repo.commit({"a.py": "a = 1\n"})
    blob = repo.git("rev-parse", "HEAD:a.py")
    git = Git(repo.found())
    assert (git.size(blob), git.read(blob)) == (6, b"a = 1\n")
    repo.object_file(blob).unlink()
    again = Git(repo.found())
    assert (again.size(blob), again.read(blob)) == (None, None)
    assert again.diff(None, again.head()) == [Change("a.py", blob)]
    assert (again.size("00" * 20), again.read("00" * 20), again.read("junk")) == (None, None, None)


def test_a_missing_folder_or_commit_is_a_clear_error(repo: Repo) -> None:
    head = repo.commit({"d/a.py": "a = 1\n"})
    repo.object_file(repo.git("rev-parse", "HEAD:d")).unlink()
    git = Git(repo.found())
    with pytest.raises(RepositoryError, match="cannot read this repository"):
        list(git.files(head))
    assert not git.has_commit("00" * 20)
    with pytest.raises(RepositoryError, match="git fsck"):
        list(git.files("00" * 20))


def test_commits_between(repo: Repo) -> None:
    first = repo.commit({"a.py": "1\n"})
    repo.commit({"a.py": "2\n"})
    third = repo.commit({"a.py": "3\n"})
    git = Git(repo.found())
    assert git.commits_between(first, third) == 2
    assert git.commits_between(third, first) == -1
    assert git.commits_between("00" * 20, third) == -1


def test_a_sha256_repository_is_named_as_such(make_repo: Callable[..., Repo]) -> None:
    repo = make_repo("new", "--object-format=sha256")
    with pytest.raises(RepositoryError, match="SHA-256"):
        find_repository(repo.path)


@pytest.mark.parametrize("head", ["", "junk\n", "ref: refs/heads/../../x\n"])
def test_a_broken_repository_is_a_clear_error(repo: Repo, head: str) -> None:
    repo.commit({"a.py": "1\n"})
    (repo.path / ".git" / "HEAD").write_text(head)
    with pytest.raises(RepositoryError, match="repo"):
        find_repository(repo.path)


def test_head_at_a_commit_that_is_gone(repo: Repo) -> None:
    head = repo.commit({"a.py": "1\n"})
    repo.object_file(head).unlink()
    with pytest.raises(RepositoryError):
        find_repository(repo.path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_repository_of_another_user_says_how_to_trust_it(repo: Repo) -> None:
    repo.commit({"a.py": "1\n"})
    for place in (repo.path, repo.path / ".git"):
        os.chown(place, 12345, 12345)
    with pytest.raises(RepositoryError, match=r"safe\.directory"):
        find_repository(repo.path)
