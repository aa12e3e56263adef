"""What is asked, and what stood there: cases from a JSONL file, and how they are sorted into kinds.

One JSON object a line: id, repo, commit, path, language, prefix, suffix, target; further fields are
ignored. Pure but for reading the one file.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from mccomd.errors import MccomdError

__all__ = ["Case", "chosen", "cursor_kind", "length_kind", "load_cases", "statement_kind", "whole_statement"]

LINE_LIMIT_MB = 64


class Case(msgspec.Struct, frozen=True):
    """A text with a statement, or the rest of one, missing."""

    id: str
    path: str  # relative to the repository
    prefix: str
    suffix: str
    target: str  # what stood between them
    repo: str = ""  # owner/name; "" where there is none
    commit: str = ""
    language: str = ""
    kind: str = "statement"  # statement: scored to its end; line, api, infill: by lines
    benchmark: str = ""

    @property
    def text(self) -> str:
        """What the user has before the eyes."""
        return self.prefix + self.suffix

    @property
    def is_statement(self) -> bool:
        return self.kind == "statement" and self.language in ("python", "")

    @property
    def position(self) -> dict[str, int]:
        """Line and column from 0, in code points; lines end as the daemon counts them."""
        breaks = list(_BREAK.finditer(self.prefix))
        start = breaks[-1].end() if breaks else 0
        return {"line": len(breaks), "column": len(self.prefix) - start}


_BREAK = re.compile(r"\r\n|\n|\r")


def load_cases(path: Path) -> list[Case]:
    """All cases of a file. Raises MccomdError with the line that is none."""
    cases: list[Case] = []
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    cases.append(_case(path, number, line))
    except OSError as error:
        raise MccomdError(f"cannot read {path}: {error.strerror}") from error
    if not cases:
        raise MccomdError(f"{path} holds no case")
    twice = _first_twice(case.id for case in cases)
    if twice is not None:
        raise MccomdError(f"{path}: the id {twice!r} stands there twice")
    return cases


def _case(path: Path, number: int, line: bytes) -> Case:
    try:
        case = msgspec.json.decode(line, type=Case)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MccomdError(f"{path}:{number}: no case: {error}") from error
    if not case.target.strip():
        raise MccomdError(f"{path}:{number}: case {case.id!r} has an empty target")
    if case.path.startswith("/") or ".." in case.path.split("/") or "\0" in case.path or not case.path:
        raise MccomdError(f"{path}:{number}: {case.path!r} is no path inside a repository")
    return case


def _first_twice(ids: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for one in ids:
        if one in seen:
            return one
        seen.add(one)
    return None


def chosen(cases: Sequence[Case], limit: int, seed: int) -> list[Case]:
    """`limit` cases drawn at random (0: all), in an order that asks one repository after the other."""
    drawn = list(cases)
    random.Random(seed).shuffle(drawn)
    drawn = drawn[:limit] if limit else drawn
    return sorted(drawn, key=lambda case: (case.repo, case.commit))


def cursor_kind(case: Case) -> str:
    """start: of a line; word: inside a name; token: elsewhere."""
    line = case.prefix[case.prefix.rfind("\n") + 1 :]
    if not line.strip():
        return "start"
    is_word = line[-1].isidentifier() or line[-1].isdigit()
    return "word" if is_word and (case.target[0].isalnum() or case.target[0] == "_") else "token"


def length_kind(case: Case) -> str:
    """By characters of what is missing."""
    n = len(case.target.strip())
    return "1-15" if n <= 15 else "16-40" if n <= 40 else "41-80" if n <= 80 else "81+"


_STATEMENTS = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("import", r"(import|from|use|#include|package|require)\b|#include"),
        ("return", r"return\b"),
        ("if", r"(if|elif|else|switch|case|match)\b"),
        ("loop", r"(async\s+for|for|while|loop)\b"),
        ("with", r"(async\s+with|with|try|except|finally|catch)\b"),
        ("def", r"(async\s+def|def|class|fn|func|function|struct|impl|interface|pub\s+fn|@)"),
        ("raise", r"(raise|throw|panic!)"),
        ("assert", r"assert"),
        (
            "assign",
            r"(let|var|const|auto)\b|[\w.\[\]'\"*, ()]+?(:[^=()]+)?\s*([-+*/%&|^@]|//|\*\*|<<|>>|:)?=(?!=)",
        ),
        ("call", r"(await\s+|yield\s+)?[\w.:]+!?\s*\("),
    )
)


def statement_kind(case: Case) -> str:
    """The kind of statement, by its first words."""
    statement = whole_statement(case).lstrip()
    return next((kind for kind, pattern in _STATEMENTS if pattern.match(statement)), "other")


def whole_statement(case: Case) -> str:
    """What stands on the cursor's line before it, and what is missing."""
    return case.prefix[case.prefix.rfind("\n") + 1 :] + case.target
