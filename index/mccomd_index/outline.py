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
_DOCSTRING = re.compile(r"[ \t]*[rRuU]?(?:\"\"\"|''')[ \t]*(\S[^\n]*)?")


class Spanned(Protocol):
    """Of a definition what its signature follows from; lines are 1-based."""

    @property
    def kind(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def end_line(self) -> int: ...


def signature(lines: Sequence[str], one: Spanned, language: str, *, docstring: bool = False) -> list[str]:
    """The lines to show of a definition, with the indentation it has.

    docstring: with the first line of it, where there is one (Python).
    """
    first = lines[one.line - 1]
    if one.kind == "value":
        return [_cut(first.rstrip())]
    head, end = _head(lines, one, ":" if language == "python" else "{;")
    if not (docstring and language == "python"):
        return [head]
    found = _DOCSTRING.match(lines[end]) if end < len(lines) else None
    if found is None or not found[1]:
        return [head]
    quote = found[0].strip()[:3].lstrip("rRuU")[:1] * 3 or '"""'
    said = re.sub(r"(?:\"\"\"|''').*", "", found[1]).strip()
    margin = " " * (len(lines[end]) - len(lines[end].lstrip()))
    return [head, _cut(f"{margin}{quote}{said}{quote}")] if said else [head]


def _head(lines: Sequence[str], one: Spanned, ends: str) -> tuple[str, int]:
    """The signature on one line, and the number (from 0) of the line behind it."""
    number = one.line - 1
    parts = [_uncommented(lines[number], ends).rstrip()]
    while not _complete("".join(parts), ends) and len(parts) < MAX_LINES and number + 1 < one.end_line:
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
    depth = sum(text.count(letter) for letter in "([") - sum(text.count(letter) for letter in ")]")
    return depth <= 0 and any(end in text for end in ends)


def _uncommented(line: str, ends: str) -> str:
    return re.sub(r"[ \t]+#.*", "", line) if ends == ":" else line


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"
