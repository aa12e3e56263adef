"""Where a cursor may stand in a file, and what is to be written there.

Statement holes are those of a realistic completion: the rest of a statement from its start, from behind some
tokens, or from inside an identifier, up to the statement's end. Brackets that an editor closed by itself
need no holes of their own: the prompt does not show them (mccomd/prompt.py). Span holes are arbitrary
characters. Pure.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

__all__ = ["Hole", "Kind", "Statement", "find_statements", "pick_hole", "span_hole"]

Kind = Literal["start", "token", "inside", "span"]

MAX_LINES = 6
MAX_LINE = 160
MIN_STATEMENT = 8  # visible characters
MIN_MIDDLE = 5  # visible characters
MAX_MIDDLE = 320
MAX_SPAN = 120
IMPORTS_KEPT = 0.2
AT_LINE_START, AT_LINE_END = 0.25, 0.15  # of the holes at a statement's start
_SKIPPED = (ast.Pass, ast.Break, ast.Continue)
_TOKEN = re.compile(
    r"""(?P<string>[rbfuRBFU]{0,2}(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))|(?P<name>[^\W\d]\w*)|(?P<number>\d[\w.]*)"""
    r"""|(?P<blank>\s+)|(?P<operator>->|\*\*|//|[=!<>:+\-*/%&|^@]=|.)"""
)
# How much likelier a completion is asked for behind these.
_TRIGGER = {
    "(": 3, ".": 3, "=": 4, ",": 2, "[": 2, ":": 1, "{": 2, "->": 2, "return": 4, "if": 3, "in": 3,
    "await": 3, "not": 2, "raise": 3, "assert": 3, "and": 2, "or": 2, "import": 2, "with": 2, "def": 3,
    "class": 2,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Statement:
    """A simple statement, or the header of a compound one up to its colon: text[start:end]."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Hole:
    """text[start:end] is the middle."""

    start: int
    end: int
    kind: Kind


def find_statements(text: str, tree: ast.Module, rng: random.Random) -> list[Statement]:
    """The statements worth completing, in the order of the text."""
    at = _Offsets(text)
    spans = {at.span(node, text) for node in _statements(tree, rng)}
    return [Statement(*span) for span in sorted(s for s in spans if s) if _usable(text, *span)]


def _statements(tree: ast.Module, rng: random.Random) -> Iterator[ast.stmt]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.stmt) or isinstance(node, _SKIPPED):
            continue
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # docstrings and "..."
        if isinstance(node, ast.Import | ast.ImportFrom) and rng.random() > IMPORTS_KEPT:
            continue
        yield node


class _Offsets:
    """Positions of a syntax tree (line, UTF-8 column) as positions in the text."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines(keepends=True) if "\f" not in text else text.split("\n")
        if "\f" in text:
            self._lines = [f"{line}\n" for line in self._lines]
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))

    def of(self, line: int, column: int) -> int:
        text = self._lines[line - 1]
        if not text.isascii():
            column = len(text.encode()[:column].decode("utf-8", "ignore"))
        return self._starts[line - 1] + column

    def span(self, node: ast.stmt, text: str) -> tuple[int, int] | None:
        """None for one-line compound statements and headers that end with a comment."""
        start = self.of(node.lineno, node.col_offset)
        if isinstance(node, ast.Match):
            return None
        body = getattr(node, "body", None)
        if not body:
            end_line, end_column = node.end_lineno, node.end_col_offset
            if end_line is None or end_column is None:
                return None
            return start, self.of(end_line, end_column)
        first = body[0]
        decorators = getattr(first, "decorator_list", [])
        line = min([first.lineno, *(decorator.lineno for decorator in decorators)])
        if line <= node.lineno:
            return None
        head = text[start : self._starts[line - 1]].rstrip()
        return (start, start + len(head)) if head.endswith(":") else None


def _usable(text: str, start: int, end: int) -> bool:
    before = text[text.rfind("\n", 0, start) + 1 : start]
    line_end = text.find("\n", end)
    behind = text[end : line_end if line_end >= 0 else len(text)]
    statement = text[start:end]
    lines = statement.split("\n")
    if before.strip() or behind.strip() or len(lines) > MAX_LINES or max(map(len, lines)) > MAX_LINE:
        return False
    if "#" in statement or '"""' in statement or "'''" in statement:
        return False
    literals = [len(m[0]) for m in _TOKEN.finditer(statement) if m.lastgroup == "string"]
    too_literal = sum(literals) > 0.6 * len(statement) or max(literals, default=0) > 90
    return _visible(statement) >= MIN_STATEMENT and not too_literal


def _visible(text: str) -> int:
    return len("".join(text.split()))


def pick_hole(text: str, statement: Statement, rng: random.Random) -> Hole | None:
    """A hole in one statement: 40 % at its start, 40 % behind some tokens, 20 % inside an identifier.

    None: there is no place for it.
    """
    choose: Callable[[str, Statement, random.Random], Hole | None]
    choose = rng.choices([_start_hole, _token_hole, _inside_hole], weights=[40, 40, 20])[0]
    hole = choose(text, statement, rng)
    return hole if hole and hole.end - hole.start <= MAX_MIDDLE else None


def _start_hole(text: str, statement: Statement, rng: random.Random) -> Hole | None:
    """At the statement's first character, before its indentation, or at the end of the line above."""
    start, chance = statement.start, rng.random()
    if chance < AT_LINE_START + AT_LINE_END:
        start = text.rfind("\n", 0, start) + 1
    if chance < AT_LINE_END and start > 1 and not text[start - 2].isspace():
        start -= 1
    return Hole(start, statement.end, "start")


def _token_hole(text: str, statement: Statement, rng: random.Random) -> Hole | None:
    options: list[tuple[float, int]] = []
    tokens = [m for m in _TOKEN.finditer(text, statement.start, statement.end) if m.lastgroup != "blank"]
    for index, token in enumerate(tokens[:-2]):
        if _visible(text[token.end() : statement.end]) < MIN_MIDDLE:
            break
        first_line = "\n" not in text[statement.start : token.end()]
        weight = _TRIGGER.get(token[0], 1) * (1 if first_line else 0.35) / (1 + 0.12 * index)
        position = tokens[index + 1].start() if rng.random() < 0.6 else token.end()
        options.append((weight, position))
    if not options:
        return None
    start = rng.choices([o[1] for o in options], weights=[o[0] for o in options])[0]
    return Hole(start, statement.end, "token")


def _inside_hole(text: str, statement: Statement, rng: random.Random) -> Hole | None:
    options: list[tuple[float, int]] = []
    for index, token in enumerate(_TOKEN.finditer(text, statement.start, statement.end)):
        if token.lastgroup == "name" and len(token[0]) >= 4:
            start = token.start() + rng.randint(1, min(4, len(token[0]) - 2))
            if _visible(text[start : statement.end]) >= MIN_MIDDLE:
                options.append((1 / (1 + 0.06 * index), start))
    if not options:
        return None
    start = rng.choices([o[1] for o in options], weights=[o[0] for o in options])[0]
    return Hole(start, statement.end, "inside")


def span_hole(text: str, rng: random.Random) -> Hole | None:
    """Any characters: up to 120, from anywhere to anywhere."""
    start = rng.randrange(len(text))
    end = min(len(text), start + rng.randint(MIN_MIDDLE, MAX_SPAN))
    if _visible(text[start:end]) < MIN_MIDDLE or "\n\n\n" in text[start:end]:
        return None
    return Hole(start, end, "span")
