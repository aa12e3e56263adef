"""Text -> what it defines: functions, classes and values, by name and lines.

    class Cache:            Cache     1-5  class
        size = 3            size      2-2  value     of Cache
        def get(self, key):
            ...             get       3-4  function  of Cache

Pure. Nothing inside a function is a definition, but for what Python's `__init__` puts on `self`. Never fails:
broken code gives fewer or odd definitions. Python is scanned by its indentation (twice as fast as a parse,
and one name in 13,000 missed); other languages are parsed (grammars.py), any without a grammar has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, partial
from typing import NamedTuple

from .grammars import Found, parsed

__all__ = ["Definition", "definitions"]

MAX_VALUES = 2_000  # of one file: what has more is a table, not code


class Definition(NamedTuple):
    """A named piece of a file. Lines are 1-based, both ends inclusive."""

    name: str
    kind: str  # function, class (whatever has members), value
    container: str  # the class it is a member of; "" for none
    start_line: int  # with its decorators
    line: int  # the one that its name stands on
    end_line: int


_definition = partial(tuple.__new__, Definition)  # `_make` is the same in Python, five times slower


def definitions(text: str, language: str) -> list[Definition]:
    """What a text defines, in order of where it begins."""
    if language == "python":
        return _python(text)
    found = parsed(text, language)
    return sorted((Definition(*one) for one in found), key=_place) if found else []


def _place(one: Definition | Found) -> tuple[int, int]:
    return one.start_line, -one.end_line


_CANDIDATE = re.compile(
    r"\n(?P<indent>[ \t\f]*)(?:"
    r"(?:async[ \t]+)?def[ \t]+(?P<function>\w+)"
    r"|class[ \t]+(?P<class>\w+)[ \t]*(?:[(:\[]|$)"
    r"|(?P<decorator>@)"
    r"|self\.(?P<attribute>\w+)[ \t]*(?::[^=\n]+)?=(?!=)"
    r"|(?P<value>\w+)[ \t]*(?::[ \t]*(?!\s)[^=\n]+(?:=(?!=)|$)|=(?!=))"
    r"|(?P<code>(?<![ \t\f])[^\s#)\]}\"']))",
    re.M,
)
_KEYWORDS = frozenset({"else", "try", "finally", "return", "yield", "lambda", "if", "for", "while", "with"})


class _Open(NamedTuple):
    """A definition whose end is not known yet."""

    indent: int
    name: str
    kind: str
    container: str
    start_line: int
    line: int


def _python(text: str) -> list[Definition]:
    return sorted(_Scan(text).run(), key=_place)


class _Scan:
    """One pass over the lines that can begin a definition or end one."""

    def __init__(self, text: str) -> None:
        self._text = "\n" + text  # every line has a break before it, which a search finds fast
        self._next = 0  # where the search goes on
        self._open: list[_Open] = []  # outermost first
        self._members: dict[int, int] = {}  # depth of open definitions -> indentation of its members
        self._values: set[tuple[str, str]] = set()
        self._line = 0
        self._counted = 0
        self._found: list[Definition] = []

    def run(self) -> list[Definition]:
        decorator: tuple[int, int] | None = None  # (indentation, line)
        for found in self._candidates():
            kind, indent = found.lastgroup, _width(found["indent"])
            if kind == "value" and self._is_local(indent):
                continue
            at = found.start() + 1
            line = self._number(at)
            if kind == "decorator":
                decorator = decorator or (indent, line)
                self._close(indent, at)
            elif kind == "function" or kind == "class":
                start = decorator[1] if decorator and decorator[0] == indent else line
                self._close(indent, at, 0 if start == line else start)
                self._begin(indent, found[kind], kind, start, line)
                if kind == "function" and found[kind] != "__init__":
                    self._next = self._behind_body(found)
                decorator = None
            elif kind == "code":
                self._close(indent, at)
            else:
                self._value(found, indent, line, at)
        self._number(len(self._text))
        self._close(-1, len(self._text))
        return self._found

    def _is_local(self, indent: int) -> bool:
        """Whether a line of this indentation stands inside a function."""
        return bool(self._open) and self._open[-1].kind == "function" and indent > self._open[-1].indent

    def _begin(self, indent: int, name: str, kind: str, start: int, line: int) -> None:
        within = self._open[-1] if self._open else None
        if within is not None and within.kind == "function":
            return  # what a function defines for itself
        self._note_member(indent)
        self._open.append(_Open(indent, name, kind, within.name if within else "", start, line))

    def _value(self, found: re.Match[str], indent: int, line: int, at: int) -> None:
        name, is_attribute = found["value"] or found["attribute"], found["attribute"] is not None
        if not is_attribute:
            self._close(indent, at)
        within = self._open[-1] if self._open else None
        if name in _KEYWORDS or len(self._values) >= MAX_VALUES:
            return
        if is_attribute:
            wanted = within is not None and within.name == "__init__" and within.container != ""
            owner = within.container if within else ""
        elif within is None:
            wanted, owner = indent == 0, ""
        else:
            wanted = within.kind == "class" and self._note_member(indent) == indent
            owner = within.name
        if wanted and (owner, name) not in self._values:
            self._values.add((owner, name))
            self._found.append(_definition((name, "value", owner, line, line, line)))

    def _note_member(self, indent: int) -> int:
        """The indentation of the innermost class's members: that of the first one seen."""
        return self._members.setdefault(len(self._open), indent)

    def _close(self, indent: int, at: int, line: int = 0) -> None:
        """End what is open at this indentation or deeper, before a place.

        line: what stands there begins at this line; 0: behind the last line that is not blank.
        """
        while self._open and self._open[-1][0] >= indent:
            line = line or self._before(at)
            _, name, kind, container, start, own = self._open.pop()
            self._members.pop(len(self._open) + 1, None)
            end = line - 1 if line > own else own
            self._found.append(_definition((name, kind, container, start, own, end)))

    def _candidates(self) -> Iterator[re.Match[str]]:
        """The lines that matter and do not begin within a long string, from `_next` on."""
        text = self._text
        blocked = _long_strings(text)
        at = 0
        while (found := _CANDIDATE.search(text, self._next)) is not None:
            place, self._next = found.start(), found.end()
            while at < len(blocked) and blocked[at][1] <= place:
                at += 1
            if at == len(blocked) or place < blocked[at][0]:
                yield found

    def _behind_body(self, found: re.Match[str]) -> int:
        """The line break before the first line that is indented no deeper than a function's own."""
        behind = _no_deeper(len(found["indent"])).search(self._text, found.end())
        return behind.start() if behind else len(self._text)

    def _before(self, place: int) -> int:
        """The line behind the last one before a place that is not blank."""
        line, text = self._line + 1, self._text
        while place and text[place - 1].isspace():
            place -= 1
            line -= text[place] == "\n"
        return line

    def _number(self, place: int) -> int:
        self._line += self._text.count("\n", self._counted, place)
        self._counted = place
        return self._line


def _long_strings(text: str) -> list[tuple[int, int]]:
    """Where the strings of three quotes stand, each to behind its end; what a comment holds is none.

    Looks for quotes alone, then at their line for a comment: a fifth of the time of one pattern for all.
    """
    found = []
    find = text.find
    double, single, at = find('"""'), find("'''"), 0
    while double >= 0 or single >= 0:
        start, quote = (double, '"""') if single < 0 or 0 <= double < single else (single, "'''")
        line = text.rfind("\n", at, start) + 1
        if find("#", max(line, at), start) >= 0:
            at = find("\n", start)
            at = at if at >= 0 else len(text)
        else:
            at = find(quote, start + 3)
            at = at + 3 if at >= 0 else len(text)
            found.append((start, at))
        if 0 <= double < at:
            double = find('"""', at)
        if 0 <= single < at:
            single = find("'''", at)
    return found


@cache
def _no_deeper(indent: int) -> re.Pattern[str]:
    return re.compile(rf"\n[ \t\f]{{0,{indent}}}[^\s#)\]}}\"']")


def _width(margin: str) -> int:
    if "\t" in margin or "\f" in margin:
        return len(margin.replace("\f", "").expandtabs(8))
    return len(margin)
