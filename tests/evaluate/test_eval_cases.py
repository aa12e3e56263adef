"""Cases from files: what is read, what is refused, and the kinds they are sorted into."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mccomd.errors import MccomdError
from mccomd.evaluate.cases import Case, chosen, cursor_kind, length_kind, load_cases, statement_kind

GOOD = {"id": "a", "path": "m.py", "prefix": "x = ", "suffix": "\n", "target": "1", "language": "python"}


def write(path: Path, *cases: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(case) + "\n" for case in cases))
    return path


def test_fields_that_are_not_ours_are_ignored(tmp_path: Path) -> None:
    (case,) = load_cases(write(tmp_path / "c", {**GOOD, "col": 4, "line_no": 1, "api": None, "test": "..."}))
    assert (case.text, case.position) == ("x = \n", {"line": 0, "column": 4})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "c:1: no case"),
        ('{"id": "a"}', "missing required field `path`"),
        (json.dumps({**GOOD, "target": " \n"}), "case 'a' has an empty target"),
        (json.dumps({**GOOD, "path": "../m.py"}), "'../m.py' is no path inside a repository"),
        (json.dumps({**GOOD, "path": "/etc/passwd"}), "is no path inside a repository"),
        (json.dumps(GOOD) + "\n" + json.dumps(GOOD), "the id 'a' stands there twice"),
        ("", "holds no case"),
    ],
)
def test_what_is_no_case_is_told_with_its_line(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "c").write_text(line)
    with pytest.raises(MccomdError, match=message.replace("(", r"\(")):
        load_cases(tmp_path / "c")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MccomdError, match="cannot read"):
        load_cases(tmp_path / "nothing")


def test_the_same_seed_draws_the_same_cases_and_keeps_repositories_together() -> None:
    cases = [Case(str(i), "m.py", "", "", "x", repo=f"o/r{i % 3}") for i in range(30)]
    first = chosen(cases, 12, 1)
    assert first == chosen(cases, 12, 1) != chosen(cases, 12, 2)
    assert len(first) == 12
    repos = [case.repo for case in first]
    assert repos == sorted(repos)
    assert len(chosen(cases, 0, 1)) == 30


@pytest.mark.parametrize(
    ("prefix", "target", "cursor", "statement"),
    [
        ("def f():\n    ", "return x", "start", "return"),
        ("    retur", "n x", "word", "return"),
        ("x = ", "foo(1)", "token", "assign"),
        ("self.total", " += 1", "token", "assign"),
        ("", "total: int = 0", "start", "assign"),
        ("if x", ":", "token", "if"),
        ("for a in ", "range(3):", "token", "loop"),
        ("with ", "open(p) as f:", "token", "with"),
        ("", "print(x == 1)", "start", "call"),
        ("from a ", "import b", "token", "import"),
        ("raise ", "ValueError()", "token", "raise"),
        ("async d", "ef f():", "word", "def"),
        ("assert x == ", "y", "token", "assert"),
        ("", "a if b else c", "start", "other"),
    ],
)
def test_kinds(prefix: str, target: str, cursor: str, statement: str) -> None:
    case = Case("a", "m.py", prefix, "", target)
    assert (cursor_kind(case), statement_kind(case)) == (cursor, statement)


def test_lengths() -> None:
    kinds = [length_kind(Case("a", "m", "", "", "x" * n)) for n in (1, 15, 16, 40, 41, 80, 81)]
    assert kinds == ["1-15", "1-15", "16-40", "16-40", "41-80", "41-80", "81+"]


def test_positions_count_lines_as_the_daemon_does() -> None:
    assert Case("a", "m", "a\r\nbc\rd\nè😀", "", "x").position == {"line": 3, "column": 2}
