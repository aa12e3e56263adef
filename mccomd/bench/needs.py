"""Places in a repository where a definition of another file is needed, and which one.

Taken from the repository itself: lines that use a name defined once in it, in another file of the same
language, and not used in the prompt's reach before. Or read from a file of cases. The same seed gives the
same cases. Knows no index and no retriever.
"""

from __future__ import annotations

import builtins
import json
import logging
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mccomd.errors import MccomdError
from mccomd_index import Definition, definitions, language_of

__all__ = ["Need", "needs_in", "read_needs"]

PER_FILE = 4
SHORTEST = 5  # characters of a name
SHOWN_ABOVE = 60  # lines the prompt shows anyway; a name used there needs no finding
SHOWN_BELOW = 15
_WORD = re.compile(r"[A-Za-z_]\w*")
_QUOTED = re.compile(
    r'"""[\s\S]*?(?:"""|\Z)'
    r"|'''[\s\S]*?(?:'''|\Z)|/\*[\s\S]*?(?:\*/|\Z)"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\\n]|\\.)*`|(?://|#)[^\n]*"
)
_IMPORTS = re.compile(r"^[ \t]*(?:from[^\n]*?)?\bimport[ \t]+(?:\([^)]*\)|[^\n(]*)", re.M)
_COMMON = frozenset({*dir(builtins), *dir(str), *dir(dict), *dir(list), *dir(set), *dir(logging.Logger)})
_NAMED_ARGUMENT = re.compile(r"\s*(?:=(?!=)|:(?!:))")
_BORING = re.compile(
    r"\s*(?:#|//|/\*|\*|\"|'|import\b|from\b|use\b|using\b|package\b|export\b|pub use\b|require\b"
    r"|.*\brequire\(|def\b|class\b|func\b|fn\b|function\b)"
)


@dataclass(frozen=True, slots=True)
class Place:
    """The line a definition's name stands on."""

    path: str
    line: int  # 1-based
    head: str  # of that line, up to and with the name


@dataclass(frozen=True, slots=True)
class Need:
    """A cursor, and the definitions any of which would help there."""

    path: str  # relative to the repository
    language: str
    prefix: str
    suffix: str
    name: str
    kind: str  # free (a name by itself), member (behind a dot)
    wanted: tuple[Place, ...]


def needs_in(texts: Mapping[str, str], count: int, seed: int) -> list[Need]:
    """At most `count` needs in the files of a repository, at most four a file.

    texts: path -> text, of all its files.
    """
    unique = _defined_once(texts)
    chance = random.Random(seed)
    paths = sorted(texts)
    chance.shuffle(paths)
    found: list[Need] = []
    for path in paths:
        language = language_of(path)
        if unique.get(language):
            found += _of_file(path, texts[path], language, unique[language], chance)
        if len(found) >= count:
            break
    return found[:count]


def read_needs(file: Path, commits: Sequence[str], texts: Mapping[str, str]) -> list[Need]:
    """The cases of a file of JSON lines that belong to one of the commits.

    Each has path, prefix, suffix, target, commit, and crossfile_member: the name whose definition is needed,
    with crossfile_name: what it is a member of. Cases whose definition is not in `texts` are left out.
    """
    by_name: dict[str, list[tuple[str, Definition]]] = defaultdict(list)
    for path, text in texts.items():
        for one in definitions(text, language_of(path)):
            by_name[one.name].append((path, one))
    found: list[Need] = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            if row["commit"] in commits:
                found += _of_row(row, by_name, texts)
        except (ValueError, KeyError, TypeError) as error:
            raise MccomdError(f"{file}:{number}: not a case: {error!r}") from error
    return found


def _of_row(
    row: Mapping[str, Any], by_name: Mapping[str, list[tuple[str, Definition]]], texts: Mapping[str, str]
) -> Iterator[Need]:
    owner, member, path = row["crossfile_name"], row["crossfile_member"], row["path"]
    others = [(place, one) for place, one in by_name.get(member, ()) if place != path]
    homes = {place for place, _ in by_name.get(owner, ()) if place != path}
    modules = {place for place, _ in others if owner in place.removesuffix(".py").split("/")}
    wanted = (
        [(place, one) for place, one in others if one.container == owner]
        or [(place, one) for place, one in others if place in modules]
        or [(place, one) for place, one in others if place in homes]
        or (others if len(others) <= 3 else [])
    )
    if wanted:
        places = tuple(_place(place, texts[place], one) for place, one in wanted)
        yield Need(path, row["language"], row["prefix"], row["suffix"], member, "member", places)


def _place(path: str, text: str, one: Definition) -> Place:
    line = text.split("\n", one.line)[one.line - 1].strip()
    return Place(path, one.line, line[: line.find(one.name) + len(one.name)])


def _defined_once(texts: Mapping[str, str]) -> dict[str, dict[str, Place]]:
    """language -> name -> where, for names that one line of the repository defines."""
    places: dict[str, dict[str, list[Place]]] = defaultdict(lambda: defaultdict(list))
    for path, text in texts.items():
        for one in definitions(text, language_of(path)):
            if one.kind != "value" and len(one.name) >= SHORTEST and one.name not in _COMMON:
                places[language_of(path)][one.name].append(_place(path, text, one))
    return {
        language: {name: found[0] for name, found in names.items() if len(found) == 1}
        for language, names in places.items()
    }


def _of_file(
    path: str, text: str, language: str, unique: Mapping[str, Place], chance: random.Random
) -> list[Need]:
    lines = text.split("\n")
    code = _QUOTED.sub(_blank, text).split("\n")
    imported = frozenset(_WORD.findall(" ".join(_IMPORTS.findall(text)))) if language == "python" else None
    seen: dict[str, int] = {}  # name -> the last line that used it
    found: list[Need] = []
    for number, line in enumerate(code):
        if _BORING.match(line):
            continue
        for match in _WORD.finditer(line):
            name = match[0]
            before, seen[name] = seen.get(name, -SHOWN_ABOVE - 1), number
            place = unique.get(name)
            if place is None or place.path == path or _NAMED_ARGUMENT.match(line, match.end()):
                continue
            if number - before <= SHOWN_ABOVE or any(
                name in later for later in lines[number + 1 : number + 1 + SHOWN_BELOW]
            ):
                continue
            if imported is not None and name not in imported and not _is_member(line, match.start()):
                continue
            found.append(_need(path, lines, number, match, language, place, chance))
            break
    return chance.sample(found, min(PER_FILE, len(found)))


def _blank(found: re.Match[str]) -> str:
    """Blanks in place of a string or a comment, its lines kept."""
    return re.sub(r"[^\n]", " ", found[0])


def _need(
    path: str,
    lines: Sequence[str],
    number: int,
    use: re.Match[str],
    language: str,
    place: Place,
    chance: random.Random,
) -> Need:
    """The cursor stands before one of the words of the line, at the latest before the name itself."""
    line = lines[number]
    starts = [word.start() for word in _WORD.finditer(line) if word.start() <= use.start()]
    column = chance.choice(starts)
    prefix = "\n".join([*lines[:number], line[:column]])
    suffix = "\n".join(["", *lines[number + 1 :]])
    kind = "member" if _is_member(line, use.start()) else "free"
    return Need(path, language, prefix, suffix, use[0], kind, (place,))


def _is_member(line: str, column: int) -> bool:
    return line[:column].rstrip().endswith((".", "->", "::"))
