"""What must a Python answer begin with, so that it binds what the text below uses?

A line that binds a name has few forms. Knows nothing of tokens and models.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

from mccomd.bare_words import MOST_LINE_CHARS
from mccomd.statement import scan_prefix
from mccomd.surroundings import NEAR_LINES, indentation, lead_of, lines_above
from mccomd.unbound import NEAR_CHARS, Unbound, unbound
from mccomd.undefined import undefined

__all__ = ["bindings"]

MOST_LEVELS = 4  # of a bare line, from that of the line below on

_IMPORTS = ("import ", "from ")
_FUNCTIONS = ("def ", "async def ")
_BIND_NOTHING = ("#", "@", "return ", "raise ", "await ", "assert ", "del ")
_IMPORTED = re.compile(r"(?:from\s+\S+\s+)?import\s+\(?(?:[\w.]+(?:\s+as\s+\w+)?,\s*)*(\w*)$")
_ALIAS = re.compile(r"(?:async\s+with|with|import|from|except)\b.*\sas\s+(\w*)$")
_LATER_TARGET = re.compile(r"(?:async\s+)?for\s+\(?(?:\w+,\s*)+\(?(\w*)$")
_LATER_NAME = re.compile(r"(?:\w+,\s*)+(\w*)$")
_CLASS = re.compile(r"_*[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*$")
_LEAVES = re.compile(r"\s*(?:return|raise|break|continue)\b")
_WORD = re.compile(r"\w+")
_LAST_WORD = re.compile(r"\w*$")


def bindings(prefix: str, suffix: str, language_name: str) -> tuple[str, ...]:
    """The texts with one of which the answer behind prefix begins; () when it may begin with anything.

    ("def f(rows):\\n    f", "\\n        print(row)\\n", "python") -> ("or row in", "or row,", ...).
    """
    above, _, head = prefix.rpartition("\n")
    right, _, _ = suffix[:MOST_LINE_CHARS].partition("\n")
    if language_name != "python" or right.strip() or len(head) > MOST_LINE_CHARS:
        return ()
    lead = lead_of(head)
    typed = head[len(lead) :]
    if typed.startswith(_BIND_NOTHING):
        return ()
    at = scan_prefix(prefix, language_name)
    if (
        at.string_end
        or at.comment
        or (at.brackets and not (_IMPORTED.match(typed) or _LATER_TARGET.match(typed)))
    ):
        return ()
    near = _near(above, suffix)
    # Behind a bare line break the answer chooses its level, and writes it.
    places = [_Place(lead, unbound(prefix, suffix))] if head else _places(prefix, suffix, near)
    if not typed.startswith(_FUNCTIONS) and not any(place.missing.names for place in places):
        return ()
    bound = set(_WORD.findall(_LAST_WORD.sub("", typed)))
    found: list[str] = []
    for place in places:
        written = "" if head else place.lead
        may_be_one = place.missing.deeper or typed.startswith(_FUNCTIONS)
        functions = undefined(prefix + written, suffix) if may_be_one else ()
        found += [written + text for text in _at(place, typed, bound, near, functions)]
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the line that is missing may stand."""

    lead: str
    missing: Unbound

    def only(self, names: Sequence[str]) -> _Place:
        """The same, where nothing else can be missing."""
        inner, outer = (
            tuple(n for n in some if n in names) for some in (self.missing.inner, self.missing.outer)
        )
        return replace(self, missing=replace(self.missing, inner=inner, outer=outer))


def _places(prefix: str, suffix: str, near: tuple[str, str]) -> list[_Place]:
    """Where a bare line may stand: above a block, or in one with the line below or deeper."""
    last, following = near
    tabs, unit = indentation(lines_above(prefix), suffix[:NEAR_CHARS].split("\n")[1:NEAR_LINES])
    step = "\t" if tabs else " " * unit
    inner, top = lead_of(following), lead_of(last)
    least = ""
    if last.endswith(":"):
        top = least = top + step
    elif _LEAVES.match(last):
        top = top.removesuffix(step)
    outer = inner.removesuffix(step)
    header = [_Place(outer, unbound(prefix + outer, suffix))] if outer != inner else []
    if top.startswith(inner):
        flat = unbound(prefix + inner, suffix)
        levels = [inner + step * n for n in range(MOST_LEVELS)]
        header = [place.only(flat.names) for place in header]
        header += [_Place(level, flat) for level in levels if top.startswith(level)] if flat.names else []
    return [place for place in header if top.startswith(place.lead) and place.lead.startswith(least)]


def _near(above: str, suffix: str) -> tuple[str, str]:
    """The lines above and below that are not blank."""
    last = next((line for line in reversed(above[-NEAR_CHARS:].split("\n")) if line.strip()), "")
    following = next((line for line in suffix[:NEAR_CHARS].split("\n")[1:] if line.strip()), "")
    return last.rstrip(), following.rstrip()


def _at(
    place: _Place, typed: str, bound: set[str], near: tuple[str, str], functions: Sequence[str]
) -> Iterator[str]:
    """functions: names that one may have there."""
    imported = not place.lead or near[1].lstrip().startswith(_IMPORTS)

    def wanted(names: Sequence[str]) -> list[str]:
        """Without what is bound in the line already, and classes where none is imported or defined."""
        return [name for name in names if name not in bound and (imported or not _CLASS.match(name))]

    inner, outer = wanted(place.missing.inner), wanted(place.missing.outer)
    if not place.missing.deeper:
        begins = _plain(outer, imported) if outer else []
    elif inner or outer:
        begins = _headers(inner, outer, typed, near[0])
    else:
        begins = []
    if functions and (typed.startswith(_FUNCTIONS) or (place.missing.deeper and not begins)):
        begins = [*_FUNCTIONS]
    if functions:
        begins = [text for begin in begins for text in _named(begin, functions)]
    found = [text[len(typed) :] for text in begins if text.startswith(typed) and text != typed]
    yield from found or _in_the_middle(typed, [*inner, *outer], place.missing.deeper)


def _named(begin: str, functions: Sequence[str]) -> list[str]:
    return [f"{begin}{name}(" for name in functions] if begin in _FUNCTIONS else [begin]


def _headers(inner: Sequence[str], outer: Sequence[str], typed: str, above: str) -> list[str]:
    """Of blocks that use the inner names, or behind which the outer ones are used."""
    if "self" in inner or "cls" in inner:
        return list(_FUNCTIONS)
    begins = ["with ", "async with "]
    for loop in _loops(inner or outer):
        begins += [f"for {loop}", f"async for {loop}"]
    for name in inner or outer:
        walrus = (f"{name} :=", f"({name} :=", f"not ({name} :=")
        # A condition that binds is rare, and would get all that the model gives to those that bind nothing.
        begins += [
            f"{word} {text}" for word in (("if", "elif", "while") if typed else ("while",)) for text in walrus
        ]
    if inner:
        begins += [*_FUNCTIONS, "except "]
        if above.lstrip().startswith(("case ", "match ")):
            begins.append("case ")
    else:
        begins += [f"{word}{name}{end}" for name in outer for word in _FUNCTIONS for end in "(["]
        begins += [f"class {name}{end}" for name in outer for end in "(:["]
    return begins


def _loops(names: Sequence[str]) -> Iterator[str]:
    """What follows "for ": of 18 headers below which several names were missing all 18 bound all of them."""
    for first, second in permutations(names, 2):
        yield from (
            f"{first}, {second}",
            f"{first}, ({second}",
            f"({first}, {second}",
            f"_, ({first}, {second}",
        )
    for name in names if len(names) == 1 else ():
        yield from (f"{name} in", f"{name},", f"({name}", f"_, {name}")


def _plain(names: Sequence[str], imported: bool) -> list[str]:
    """Of lines that no block follows; where several names are missing one line binds them all."""
    if imported:
        return [*(f"{name}{end}" for name in names for end in (" =", ",", ":")), *_IMPORTS]
    if len(names) > 1:
        return [f"{first}, {second}" for first, second in permutations(names, 2)]
    return [f"{name}{end}" for name in names for end in (" =", ",", ":")]


def _in_the_middle(typed: str, names: Sequence[str], deeper: bool) -> Iterator[str]:
    """Behind what was typed, where the next word is the name that is bound."""
    patterns: list[tuple[re.Pattern[str], tuple[str, ...]]] = [(_IMPORTED, ("",)), (_ALIAS, ("",))]
    closed = (")",) if "(" in typed else (" in",)
    patterns.append((_LATER_TARGET, (*closed, ",")) if deeper else (_LATER_NAME, (" =", ",")))
    for pattern, ends in patterns:
        if at := pattern.match(typed):
            partial = at[1]
            if pattern is _IMPORTED and not partial:
                return  # names that are used further down may come first
            for name in names:
                if name.startswith(partial) and name + ends[0] != partial:
                    yield from (name[len(partial) :] + end for end in ends if name[len(partial) :] + end)
            return
