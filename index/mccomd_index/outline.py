"""A definition as few words as it can be used by: its signature and what its docstring begins with.

Pure: lines in, lines out, verbatim where they are short.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Protocol

__all__ = ["signature"]

MAX_LINES = 8  # of a signature
MAX_CHARACTERS = 160
_COMMENT = re.compile(r"[ \t]+#.*")
_QUOTES = re.compile(r"(?:\"\"\"|''').*")
_DOCSTRING = re.compile(r"[ \t]*[rRuU]?(?:\"\"\"|''')[ \t]*(\S[^\n]*)?")


class Spanned(Protocol):
    """Of a definition what its signature follows from; lines are 1-based."""

    @property
    def kind(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def end_line(self) -> int: ...


def signature(
    lines: Sequence[str], one: Spanned, language: str, *, docstring: bool = False, above: int = 0
) -> list[str]:
    """The lines to show of a definition, with the indentation it has.

    lines: of its file, but for so many `above`.
    docstring: with the first line of it, where there is one (Python).
    """
    at = one.line - 1 - above
    first = lines[at]
    if one.kind == "value":
        return [_cut(first.rstrip())]
    head, end = _head(lines, at, at + one.end_line - one.line, ":" if language == "python" else "{;")
    if not (docstring and language == "python"):
        return [head]
    found = _DOCSTRING.match(lines[end]) if end < len(lines) else None
    if found is None or not found[1]:
        return [head]
    quote = found[0].strip()[:3].lstrip("rRuU")[:1] * 3 or '"""'
    said = _QUOTES.sub("", found[1]).strip()
    margin = " " * (len(lines[end]) - len(lines[end].lstrip()))
    return [head, _cut(f"{margin}{quote}{said}{quote}")] if said else [head]


def _head(lines: Sequence[str], number: int, last: int, ends: str) -> tuple[str, int]:
    """The signature on one line, and the number of the line behind it; all from 0."""
    whole = _uncommented(lines[number], ends).rstrip()
    if ends == ":" and _complete(whole, ends):
        return _cut(whole), number + 1
    parts = [whole]
    while not _complete("".join(parts), ends) and len(parts) < MAX_LINES and number < last:
        number += 1
        parts.append(_uncommented(lines[number], ends).strip())
    text = parts[0] + "".join(
        part if before.endswith(("(", "[")) or part[:1] in ")]" else f" {part}"
        for before, part in itertools.pairwise(parts)
    )
    if "{" in ends:
        text = text.split("{", 1)[0].rstrip() or text
    return _cut(text), number + 1


def _complete(text: str, ends: str) -> bool:
    depth = text.count("(") + text.count("[") - text.count(")") - text.count("]")
    return depth <= 0 and (ends[0] in text or ends[-1] in text)


def _uncommented(line: str, ends: str) -> str:
    return _COMMENT.sub("", line) if ends == ":" and "#" in line else line


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"
