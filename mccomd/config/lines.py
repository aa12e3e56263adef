"""On which line of a TOML text is each key written? tomllib does not tell.

Also makes text safe to print: every message about a config passes through `shown`.
"""

from __future__ import annotations

import re
import tomllib

__all__ = ["DEEP_KEY", "MAX_KEY_PARTS", "KeyPath", "key_lines", "shown"]

KeyPath = tuple[str, ...]
MAX_KEY_PARTS = 16

_KEY_PART = r"""(?:"(?:\\.|[^"\\\n])*"|'[^'\n]*'|[A-Za-z0-9_-]+)"""
_KEY_PARTS = re.compile(_KEY_PART)
DEEP_KEY = re.compile(rf"(?:{_KEY_PART}[ \t]*\.[ \t]*){{{MAX_KEY_PARTS}}}")
_DOTTED_KEY = rf"[ \t]*({_KEY_PART}(?:[ \t]*\.[ \t]*{_KEY_PART})*)[ \t]*"
_HEADER = re.compile(rf"[ \t]*\[\[?{_DOTTED_KEY}\]")
_ASSIGNMENT = re.compile(rf"{_DOTTED_KEY}=")
_VALUE_PIECE = re.compile(
    r'''"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|\#[^\n]*|[\[{]|[\]}]|\n''',
    re.DOTALL,
)


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line of each key and table of a TOML text that is known to be valid.

    Keys inside inline tables have no entry: they are reported at the line of the key around them.
    """
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    position, line = 0, 1
    while position < len(text):
        if header := _HEADER.match(text, position):
            table = _parts(header[1])
            for length in range(len(table), 0, -1):
                lines.setdefault(table[:length], line)
            position = header.end()
        elif assignment := _ASSIGNMENT.match(text, position):
            lines.setdefault((*table, *_parts(assignment[1])), line)
            position = assignment.end()
        end = _end_of_value(text, position)
        line += text.count("\n", position, end)
        position = end
    return lines


def _end_of_value(text: str, position: int) -> int:
    """Behind the line break that ends the value, comment or blank line at position."""
    depth = 0
    for piece in _VALUE_PIECE.finditer(text, position):
        if piece[0] in "[{":
            depth += 1
        elif piece[0] in "]}":
            depth -= 1
        elif piece[0] == "\n" and depth <= 0:
            return piece.end()
    return len(text)


def _parts(dotted: str) -> KeyPath:
    return tuple(_unquoted(part) for part in _KEY_PARTS.findall(dotted))


def _unquoted(part: str) -> str:
    return str(tomllib.loads(f"k = {part}")["k"]) if part[0] in "\"'" else part


def shown(value: object, most: int = 1000) -> str:
    """Text with everything that could play tricks in a terminal made visible, and not longer than most."""
    text = str(value)
    text = text if len(text) <= most else text[: most - 3] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text)
