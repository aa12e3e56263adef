"""A case's repository without its answer: in no file, no commit and no index stands what is asked for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mccomd.errors import MccomdError
from mccomd.evaluate.cases import Case
from mccomd.evaluate.trees import Source, Tree, find_source
from tests.conftest import commit_all, git

TARGET = "return math.pi * radius**2"


def case_of(repository: Path, target: str, path: str = "geometry.py") -> Case:
    prefix, suffix = (repository / path).read_text().split(target)
    return Case("a", path, prefix, suffix, target, "o/project", git(repository, "rev-parse", "HEAD"))


def grep(folder: Path, text: str) -> str:
    done = subprocess.run(
        ["git", "grep", "-F", text, "HEAD"], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.stdout


def test_the_target_is_nowhere_and_the_file_before_is_back(repository: Path) -> None:
    first = case_of(repository, TARGET)
    second = case_of(repository, "print(shape.area())", "report.py")
    with Tree(Source(repository), first.commit) as tree:
        assert grep(tree.root, TARGET)
        path = tree.show(first)
        assert path.read_text() == first.text
        assert grep(tree.root, TARGET) == ""
        assert git(tree.root, "status", "--porcelain") == ""  # nor is anything left for an overlay
        tree.show(second)
        assert grep(tree.root, TARGET)
        assert grep(tree.root, second.target) == ""
        assert git(tree.root, "status", "--porcelain") == ""
        kept = tree.root
    assert not kept.exists()


def test_the_commit_of_the_case_and_not_the_newest(repository: Path) -> None:
    case = case_of(repository, TARGET)
    (repository / "later.py").write_text("later = 1\n")
    commit_all(repository)
    with Tree(Source(repository), case.commit) as tree:
        tree.show(case)
        assert sorted(p.name for p in tree.root.iterdir()) == [
            ".git",
            "README.md",
            "geometry.py",
            "report.py",
        ]


def test_a_file_that_the_repository_does_not_have_goes_again(repository: Path) -> None:
    case = case_of(repository, TARGET)
    new = Case("b", "new/deep/file.py", "x = ", "\n", "1", case.repo, case.commit)
    with Tree(Source(repository), case.commit) as tree:
        assert tree.show(new).read_text() == "x = \n"
        tree.show(case)
        assert not (tree.root / "new/deep/file.py").exists()
        assert git(tree.root, "status", "--porcelain") == ""


def test_attributes_and_ignore_files_of_the_repository_change_nothing(repository: Path) -> None:
    (repository / ".gitattributes").write_text("* text=auto eol=crlf\n*.py filter=lfs ident\n")
    (repository / ".gitignore").write_text("geometry.py\n")
    commit_all(repository)
    case = case_of(repository, TARGET)
    with Tree(Source(repository), case.commit) as tree:
        tree.show(case)
        assert git(tree.root, "show", "HEAD:geometry.py").strip() == case.text.strip()


def test_a_plain_source_tree(tmp_path: Path) -> None:
    folder = tmp_path / "trees" / "o+project"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "m.py").write_text("x = 1\n")
    source = find_source(tmp_path / "trees", "o/project")
    with Tree(source, "whatever") as tree:
        tree.show(Case("a", "a/m.py", "x = ", "\n", "1"))
        assert git(tree.root, "show", "HEAD:a/m.py") == "x ="


@pytest.mark.parametrize("name", ["o+project", "o__project", "o/project", "project"])
def test_where_repositories_are_looked_for(repository: Path, tmp_path: Path, name: str) -> None:
    place = tmp_path / "trees" / name
    git(repository, "clone", "-q", "--bare", str(repository), str(place))
    assert find_source(tmp_path / "trees", "o/project").git_dir == place


def test_a_repository_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MccomdError, match=r"has no folder o\+project: put a clone"):
        find_source(tmp_path, "o/project")
    with pytest.raises(MccomdError, match="is no owner/name"):
        find_source(tmp_path, "../x")


def test_a_commit_that_is_not_there(repository: Path) -> None:
    with pytest.raises(MccomdError, match="git ls-tree failed"), Tree(Source(repository), "0" * 40):
        pass
