"""What a text says of the names around its cursor: imported from where, of which class, how near.

Pure. Patterns over the text, no parse: the text around a cursor is broken code most of the time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from mccomd.types import Query
from mccomd_index import Import, imports

__all__ = ["Receiver", "Scope", "bases_of", "look_around", "words_of"]

LEFT_LINES = 12
RIGHT_LINES = 4
FADING = 0.25  # a line's weight falls to 1 / (1 + 0.25 n), n lines away
BELOW = 0.6  # lines below the cursor count less
REACH = 8_000  # characters before the cursor in which a variable's class is looked for
HEAD = 30_000  # characters at the top of a file in which imports are looked for
_WORD = re.compile(r"[A-Za-z_]\w*")
_HUMP = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_RECEIVER = re.compile(r"([A-Za-z_]\w*(?:\.\w+)*)(?:\([^()\n]*\))?(?:\.|->|::)\w*$")
_CLASS = r"['\"]?(?:(?:Optional|[tT]ype|[lL]ist|Sequence|Iterable|Annotated)\[)?([A-Za-z_][\w.]*)"
_VARIABLE = re.compile(
    rf"\b([A-Za-z_]\w*)[ \t]*(?::[ \t]*{_CLASS}|=[ \t]*(?:await[ \t]+|new[ \t]+)?([A-Za-z_][\w.]*)[ \t]*\()"
)
_WITH = re.compile(r"([A-Za-z_][\w.]*)\([^\n]*\)[ \t]+as[ \t]+([A-Za-z_]\w*)")
_ATTRIBUTE = re.compile(rf"\bself\.(\w+)[ \t]*(?::[ \t]*{_CLASS}|=[ \t]*([A-Za-z_][\w.]*)[ \t]*\()")
_HEADER = re.compile(r"^class[ \t]+\w+[ \t]*\(([^)]*)\)", re.M)
_BASES = re.compile(
    r"class[ \t]+\w+[ \t]*\(([^)]*)|class[ \t]+\w+[^{\n]*?\b(?:extends|implements)[ \t]+([^{\n]*)"
)
_TYPED = frozenset({"python", "typescript", "javascript", "rust"})


@dataclass(frozen=True, slots=True)
class Receiver:
    """What stands before the dot at the cursor."""

    classes: tuple[str, ...] = ()  # names of classes it may be of
    module: Import | None = None  # or what it was imported as


@dataclass(frozen=True, slots=True)
class Scope:
    """The names around a cursor."""

    imports: tuple[Import, ...]
    near: Mapping[str, float]  # name -> 0..1, how near its nearest use is
    words: Mapping[str, float]  # the same for the subwords of those names, in lower case
    classes: Mapping[str, str]  # variable -> name of its class
    receiver: Receiver


def look_around(query: Query) -> Scope:
    """The scope of a query."""
    found = tuple(imports((query.prefix + query.suffix)[:HEAD], query.language, query.relative_path))
    near = dict(_near(query))
    words: dict[str, float] = {}
    for name, weight in near.items():
        for word in words_of(name):
            words[word] = max(words.get(word, 0.0), weight)
    classes = _classes(query.prefix[-REACH:]) if query.language in _TYPED else {}
    return Scope(found, near, words, classes, _receiver(query, found, classes))


@lru_cache(maxsize=20_000)
def words_of(name: str) -> frozenset[str]:
    """The subwords of an identifier. "parseHTTPRequest" -> parse, http, request."""
    return frozenset(hump.lower() for hump in _HUMP.findall(name))


def bases_of(header: str) -> list[str]:
    """The names of the classes that a class's first line names as its bases."""
    found = _BASES.search(header)
    named = "" if found is None else found[1] or found[2] or ""
    return [name.rsplit(".", 1)[-1] for name in re.findall(r"[\w.]+", named)]


def _near(query: Query) -> Iterator[tuple[str, float]]:
    """Names with the weight of their nearest use; farthest first, so that the nearest stays in a dict."""
    above = query.prefix[-REACH:].split("\n")[-LEFT_LINES:]
    below = query.suffix[:REACH].split("\n")[1 : 1 + RIGHT_LINES]
    weighed = [(1 / (1 + FADING * away), line) for away, line in enumerate(reversed(above))]
    weighed += [(BELOW / (1 + FADING * away), line) for away, line in enumerate(below)]
    for weight, line in sorted(weighed, key=lambda pair: pair[0]):
        for name in _WORD.findall(line):
            yield name, weight


def _classes(text: str) -> dict[str, str]:
    found = {name: (told or called).rsplit(".", 1)[-1] for name, told, called in _VARIABLE.findall(text)}
    for line in text.split("\n") if "as" in text else ():
        if ")" in line and "as" in line:  # searched alone: 0.3 ms of the whole text
            found.update((name, called.rsplit(".", 1)[-1]) for called, name in _WITH.findall(line))
    return found


def _receiver(query: Query, found: tuple[Import, ...], classes: Mapping[str, str]) -> Receiver:
    match = _RECEIVER.search(query.prefix[-500:].rsplit("\n", 1)[-1])
    if match is None:
        return Receiver()
    root, *rest = match[1].split(".")
    if root in ("self", "cls", "super") and query.language == "python":
        text = query.prefix[-HEAD:] + query.suffix[:HEAD]
        if len(rest) == 1:
            of = [told or called for name, told, called in _ATTRIBUTE.findall(text) if name == rest[0]]
            return Receiver(tuple(name.rsplit(".", 1)[-1] for name in dict.fromkeys(of)))
        headers = list(_HEADER.finditer(query.prefix))
        return Receiver(tuple(bases_of(headers[-1][0])) if headers else ())
    imported = next((one for one in found if one.local == root), None)
    if imported is not None:
        named = (root, *rest[-1:]) if imported.name else tuple(rest[-1:])
        return Receiver(named, imported)
    variable = root if root in classes else (rest or [root])[-1]
    return Receiver((classes[variable],) if variable in classes else ())
