"""Places of a repository at which a completion can be tried, with what stood there.

Pure choice over the files of a work tree: the rest of a line is cut out, so that it can be asked for.
"""

from __future__ import annotations

import difflib
import os
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mccomd.languages import language, language_of

__all__ = ["Trial", "choose_trials", "places_in", "similarity"]

MAX_FILE_BYTES = 200_000
MIN_LINES_ABOVE = 10
MIN_HIDDEN = 6
_CUT = re.compile(r"(?<=[=(,.])\s*|(?<=\breturn )|(?<=\bif )|(?<=\bin )")


@dataclass(frozen=True, slots=True)
class Trial:
    """A text with the rest of one line missing."""

    path: str  # absolute
    name: str  # relative to the repository
    line: int  # 1-based
    column: int  # 0-based, code points
    text: str  # the file without what is expected
    typed: str  # the line left of the cursor
    expected: str


def choose_trials(root: str, files: Sequence[str], count: int, seed: int) -> list[Trial]:
    """At most `count` trials, each in another file if there are as many; the same seed, the same places."""
    chance = random.Random(seed)
    names = [name for name in files if _is_code(name)]
    chance.shuffle(names)
    trials: list[Trial] = []
    for name in names:
        if len(trials) == count:
            break
        text = _read(os.path.join(root, name))
        places = list(places_in(text))
        if places:
            trials.append(_trial(root, name, text, *chance.choice(places)))
    return trials


def places_in(text: str) -> Iterator[tuple[int, int]]:
    """(line from 0, column) of every place where the rest of a line is worth asking for."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        stripped = line.strip()
        if number < MIN_LINES_ABOVE or not stripped or not (stripped[0].isalpha() or stripped[0] == "_"):
            continue
        if stripped.startswith(("import ", "from ", "#include", "use ", "package ")) or len(line) > 160:
            continue
        for cut in _CUT.finditer(line):
            if len(line) - cut.end() >= MIN_HIDDEN and line[: cut.end()].strip():
                yield number, cut.end()
                break


def similarity(answer: str, expected: str) -> float:
    """1.0 where they are equal but for blanks at both ends; difflib's ratio otherwise."""
    answer, expected = answer.strip(), expected.strip()
    return difflib.SequenceMatcher(None, answer, expected, autojunk=False).ratio()


def _trial(root: str, name: str, text: str, number: int, column: int) -> Trial:
    lines = text.split("\n")
    line = lines[number]
    typed, expected = line[:column], line[column:]
    lines[number] = typed
    return Trial(os.path.join(root, name), name, number + 1, column, "\n".join(lines), typed, expected)


def _is_code(name: str) -> bool:
    entry = language(language_of(name))
    return bool(entry.name) and not entry.line_only


def _read(path: str) -> str:
    """A file's text; "" for what cannot be read or is too large."""
    try:
        if os.path.islink(path) or os.path.getsize(path) > MAX_FILE_BYTES:
            return ""
        with open(path, encoding="utf-8", newline="") as file:
            return file.read().replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError):
        return ""
