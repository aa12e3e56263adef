"""Cases of a repository's own commits: real git, Python and others."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from mccomd.errors import MccomdError
from mccomd.evaluate import harvest as module
from mccomd.evaluate.harvest import harvest, lines_of_code, python_statements
from tests.conftest import commit_all, git


def test_every_case_is_the_file_with_a_hole_of_one_statement(repository: Path) -> None:
    found = harvest(repository, 20, 1)
    assert len(found.cases) >= 8
    assert found.recent == len(found.cases)
    for case in found.cases:
        text = (repository / case.path).read_text()
        assert case.prefix + case.target + case.suffix == text
        assert case.suffix.startswith("\n")
        assert case.commit == git(repository, "rev-parse", "HEAD")
    assert {case.path for case in found.cases} == {"geometry.py", "report.py"}
    assert len({case.id for case in found.cases}) == len(found.cases)


def test_the_same_seed_gives_the_same_cases(repository: Path) -> None:
    assert harvest(repository, 5, 1).cases == harvest(repository, 5, 1).cases
    assert harvest(repository, 5, 1).cases != harvest(repository, 5, 2).cases


def test_uncommitted_text_is_not_asked_for(repository: Path) -> None:
    (repository / "geometry.py").write_text("secret_of_mine = compute_it_all(1, 2, 3)\n")
    assert all("secret_of_mine" not in case.text + case.target for case in harvest(repository, 20, 1).cases)


def test_statements_of_recent_commits_come_first(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_COMMITS", 1)
    text = (repository / "report.py").read_text()
    (repository / "report.py").write_text(
        text + "\n\ndef fresh(number: int) -> int:\n    return number + 17\n"
    )
    commit_all(repository)
    found = harvest(repository, 2, 1)
    assert found.recent == 2
    assert all("fresh" in case.prefix[-40:] + case.target or "17" in case.target for case in found.cases)
    more = harvest(repository, 10, 1)
    assert more.recent == 2 < len(more.cases)  # older ones fill up, and are counted apart


def test_a_folder_inside_and_a_linked_worktree_and_a_bare_clone(repository: Path, tmp_path: Path) -> None:
    cases = harvest(repository, 3, 1).cases
    git(repository, "worktree", "add", "-q", str(tmp_path / "linked"))
    git(repository, "clone", "-q", "--bare", str(repository), str(tmp_path / "bare"))
    (repository / "deep").mkdir()
    for place in (repository / "deep", tmp_path / "linked", tmp_path / "bare"):
        assert [case.target for case in harvest(place, 3, 1).cases] == [case.target for case in cases]


def test_places_without_a_commit(tmp_path: Path) -> None:
    with pytest.raises(MccomdError, match="is in no git repository"):
        harvest(tmp_path, 3, 1)
    git(tmp_path, "init", "-q")
    with pytest.raises(MccomdError, match="HEAD is no commit"):
        harvest(tmp_path, 3, 1)
    (tmp_path / "notes.txt").write_text("no code\n")
    commit_all(tmp_path)
    with pytest.raises(MccomdError, match="no statement of a commit to hide"):
        harvest(tmp_path, 3, 1)


PYTHON = '''\
"""Docstring."""
import os, sys
x = 1; y = 2
def f(a: int, b: str = "é (") -> None:
    """Docs."""
    total = call(a,
                 b)
    z = a + b  # a comment
    if a == {1: 2}[1]:
        return total
    ...
    name: str = "a long text that is nearly all of it, and too much of it to be code"
'''


def test_which_python_statements() -> None:
    found = [PYTHON[span.start : span.end] for span in python_statements(PYTHON)]
    assert sorted(found) == sorted(
        [
            "import os, sys",
            'def f(a: int, b: str = "é (") -> None:',
            "total = call(a,\n                 b)",
            "if a == {1: 2}[1]:",
        ]
    )


def test_what_cannot_be_parsed_has_none() -> None:
    assert list(python_statements("def f(:\n")) == []
    assert list(python_statements("x = '\\d'\n" * 2)) != []


def test_offsets_of_characters_beyond_ascii() -> None:
    text = "größe = berechne('äöü', ß)\nnächste = größe + zwölf\n"
    spans = [text[span.start : span.end] for span in python_statements(text)]
    assert spans == text.splitlines()
    assert ast.parse(spans[1])


def test_lines_of_other_languages() -> None:
    text = "// comment\nfunc f(a int) int {\n\treturn a + 1 // more\n\tx := g(a, b)\n}\n"
    assert [text[s.start : s.end] for s in lines_of_code(text, "a.go")] == [
        "func f(a int) int {",
        "x := g(a, b)",
    ]
