"""A text without what stands inside its functions: a parser has less to read, and lines stay where they are.

Nothing inside a function is a definition, and most of a file stands there: a parse takes a third of the time.
Only bodies whose ends indentation shows beyond doubt are left out; whatever is odd stays as it is. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["without_bodies"]

SHORT = 80  # characters: what is shorter is parsed as fast as left out

_HEADS = {  # language -> the last line of a function's head, which opens its body
    "c": re.compile(
        r"^(?P<indent>)(?:\{(?<=\)\n\{)"
        r"|(?!typedef|struct|union|enum|class|namespace|extern|template)[A-Za-z_][^\n;={}\"#]*\)"
        r"[ \t]*(?:const|noexcept|override)?[ \t]*\{)[ \t]*$",
        re.M,
    ),
    "go": re.compile(r"^(?P<indent>)(?:func\b|\))[^\n\"`]*\{$", re.M),
    "java": re.compile(
        r"^(?P<indent>[ ]{4}|\t)(?!if|for|while|switch|try|new|return|synchronized)[a-zA-Z<][^\n;={}\"]*\)"
        r"[^\n;={}()\"]*\{[ \t]*$",
        re.M,
    ),
    "rust": re.compile(
        r"^(?P<indent>[ \t]*)(?:pub(?:\([\w: ]+\))?[ \t]+)?(?:(?:const|async|unsafe)[ \t]+)*fn[ \t]"
        r"[^\n;{}\"]*\{$",
        re.M,
    ),
}
_HEADS["cpp"] = _HEADS["c"]


def without_bodies(text: str, language: str) -> str:
    """The text with line breaks alone in the bodies of functions."""
    head = _HEADS.get(language)
    if head is None:
        return text
    parts = []
    kept = 0
    for start, end in _bodies(text, head):
        parts += [text[kept:start], "\n" * text.count("\n", start, end)]
        kept = end
    return "".join([*parts, text[kept:]]) if parts else text


def _bodies(text: str, head: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    """From behind a brace to before the one that closes it."""
    found = head.search(text)
    while found is not None:
        start = found.end()
        end = text.find(f"\n{found['indent']}}}", start)
        if end < 0:
            return
        another = head.search(text, start, end)  # a closing brace that stands elsewhere
        if another is None and end - start > SHORT and _is_whole(text, start, end):
            yield start, end
        found = another or head.search(text, end)


def _is_whole(text: str, start: int, end: int) -> bool:
    """Whether as many braces close as open, and no text of several lines (Go) is cut in two."""
    closed = text.count("{", start, end) == text.count("}", start, end)
    return closed and text.count("`", start, end) % 2 == 0
