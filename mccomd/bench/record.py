"""How would somebody have typed this commit? Traces from a repository's history.

A trace starts with a file as it stood before a commit. The commit's hunks are made from top to bottom: what
goes is removed in one stroke, what comes is typed key by key, and Enter brings the next line's
indentation along, as editors do. No typing errors and no accepted completions: what a completion would
have saved is for whoever replays to say.

When each key is hit is drawn at random, repeatably. The hand: intervals are log-normal round a median
drawn for each trace at 170 ms, more for Shift, symbols and the first letter of a word, less inside words and
for a repeated key; after Dhakal, Feit, Kristensson and Oulasvirta, "Observations on Typing from 136 Million
Keystrokes", CHI 2018 (mean 239 ms, deviation 112 ms over 168,000 people; the fast ones 120 ms). The head:
pauses before a token, a line and a hunk. Their frequencies and medians (0.6, 1.4 and 5 s) are assumptions;
none is longer than 15 s, where Shrestha and others, "Pausing While Programming", ICSE-SEET 2022, see the
thinking about the next step end.

Reads with the git command; writes nothing in the repository.
"""

from __future__ import annotations

import difflib
import math
import random
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mccomd.bench.traces import Event, Trace, apply
from mccomd.errors import MccomdError
from mccomd.languages import language, language_of

__all__ = ["Wanted", "record_traces", "type_edit"]

MAX_TEXT = 200_000  # characters of a file
MAX_LINE = 200
MAX_HUNKS = 12
MAX_PAUSE_MS = 15_000
_TOKEN = re.compile(r"\s+|\w+|[^\w\s]")
_MOVED_SHARE = 0.3  # of the new lines that stood elsewhere in the file already: moved, not typed
_UNTYPED = re.compile(r"(^|/)(vendor|third_party|node_modules|dist|build)/|\.min\.|\.lock$")


@dataclass(frozen=True)
class Wanted:
    """Which edits of a history become traces."""

    count: int = 10
    seed: int = 1
    since: str = ""  # any date git understands; "" for the whole history
    min_lines: int = 5  # added by the commit in this file
    max_lines: int = 80
    languages: tuple[str, ...] = ()  # () for all but prose, data and what mccomd completes line by line


@dataclass(frozen=True)
class _Change:
    """One file of one commit."""

    commit: str
    parent: str  # "" for the first commit
    path: str


def record_traces(repository: Path, wanted: Wanted) -> list[Trace]:
    """Traces of edits drawn from the history of HEAD, at most one a file, edits of existing files first.

    Raises MccomdError when git fails or no commit fits.
    """
    changes = list(_changes(repository, wanted))
    random.Random(wanted.seed).shuffle(changes)
    edits: dict[str, Trace] = {}
    new_files: dict[str, Trace] = {}
    for change in changes:
        if len(edits) == wanted.count:
            break
        trace = None if change.path in edits else _trace(repository, change, wanted.seed)
        if trace is not None:
            (edits if trace.initial_text else new_files)[change.path] = trace
    traces = [*edits.values(), *(trace for path, trace in new_files.items() if path not in edits)]
    if not traces:
        raise MccomdError(
            f"{repository}: no commit adds {wanted.min_lines} to {wanted.max_lines} lines to a source file"
            + (f" since {wanted.since}" if wanted.since else "")
        )
    return traces[: wanted.count]


def type_edit(old: str, new: str, seed: object) -> tuple[Event, ...]:
    """The events that turn one text into the other; the same seed, the same times."""
    typing = _Typing(random.Random(str(seed)))
    old_lines, new_lines = old.split("\n"), new.split("\n")
    for i1, i2, j1, j2 in _hunks(old_lines, new_lines):
        typing.pause(1.0, 5000, 0.7)
        edit = _edit(old_lines[i1:i2], new_lines, j1, j2)
        typing.remove(edit)
        typing.write(edit)
    return tuple(typing.events)


@dataclass(frozen=True)
class _Edit:
    """Replace `removed` by `typed` at a place; everything above it is done already."""

    line: int  # from 0
    col: int
    removed: str
    typed: str


def _hunks(old: list[str], new: list[str]) -> list[tuple[int, int, int, int]]:
    codes = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return [(i1, i2, j1, j2) for tag, i1, i2, j1, j2 in codes if tag != "equal"]


def _edit(gone: list[str], new: list[str], j1: int, j2: int) -> _Edit:
    """A hunk: the lines `gone` give way to new[j1:j2]; new[:j1] stands above."""
    come = new[j1:j2]
    if gone and come:
        return _narrow(j1, "\n".join(gone), "\n".join(come))
    if j1 == 0:
        return _Edit(0, 0, "".join(f"{line}\n" for line in gone), "".join(f"{line}\n" for line in come))
    before, after = ("".join(f"\n{line}" for line in lines) for lines in (gone, come))
    return _Edit(j1 - 1, len(new[j1 - 1]), before, after)


def _narrow(line: int, gone: str, come: str) -> _Edit:
    """Without what both begin and end with, whole words left together."""
    head = _common(gone, come)
    while head and _splits_word(gone, head) | _splits_word(come, head):
        head -= 1
    tail = min(_common(gone[::-1], come[::-1]), len(gone) - head, len(come) - head)
    while tail and _splits_word(gone, len(gone) - tail) | _splits_word(come, len(come) - tail):
        tail -= 1
    above = gone[:head]
    place = line + above.count("\n"), len(above) - above.rfind("\n") - 1
    return _Edit(*place, gone[head : len(gone) - tail], come[head : len(come) - tail])


def _common(left: str, right: str) -> int:
    pairs = enumerate(zip(left, right, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(left), len(right)))


def _splits_word(text: str, at: int) -> bool:
    return 0 < at < len(text) and bool(re.match(r"\w\w", text[at - 1 : at + 1]))


class _Typing:
    """A pair of hands at a keyboard: collects events and the time they take."""

    def __init__(self, chance: random.Random) -> None:
        self.events: list[Event] = []
        self._chance = chance
        self._median_ms = min(260.0, max(110.0, self._around(170, 0.22)))
        self._now_ms = 0.0
        self._last_key = ""
        self._known: set[str] = set()

    def pause(self, probability: float, median_ms: float, sigma: float) -> None:
        if self._chance.random() < probability:
            self._now_ms += min(MAX_PAUSE_MS, self._around(median_ms, sigma))

    def remove(self, edit: _Edit) -> None:
        if not edit.removed:
            return
        self._now_ms += 300
        end = edit.line + edit.removed.count("\n")
        width = len(edit.removed) - edit.removed.rfind("\n") - 1
        end_col = width if "\n" in edit.removed else edit.col + width
        where = {"line": edit.line + 1, "col": edit.col, "end_line": end + 1, "end_col": end_col}
        self.events.append(Event(int(self._now_ms), "delete", edit.removed, **where))

    def write(self, edit: _Edit) -> None:
        line, col = edit.line, edit.col
        for number, text in enumerate(edit.typed.split("\n")):
            if number:
                indentation = text[: len(text) - len(text.lstrip())]
                self.pause(0.55, 1400, 0.8)
                self._key("\n")
                self._insert("\n" + indentation, line, col)
                line, col, text = line + 1, len(indentation), text[len(indentation) :]
            for token in _TOKEN.findall(text):
                self.pause(0.1 if token.strip() else 0.0, 650, 0.6)
                speed = 0.9 if len(token) > 3 and token in self._known else 1.0
                self._known.add(token)
                for key in token:
                    self._key(key, speed)
                    self._insert(key, line, col)
                    col += 1

    def _insert(self, text: str, line: int, col: int) -> None:
        self.events.append(Event(int(self._now_ms), "insert", text, line + 1, col))

    def _key(self, key: str, speed: float = 1.0) -> None:
        self._now_ms += max(35.0, self._around(self._median_ms * speed * self._effort(key), 0.45))
        self._last_key = key

    def _effort(self, key: str) -> float:
        last = self._last_key
        if key == last:
            return 0.55
        if key == "\n":
            return 1.3
        if key.isupper() or not (key.isalnum() or key.isspace() or key == "_"):
            return 1.5
        if key.isspace():
            return 1.0
        return 0.85 if last.isalnum() or last == "_" else 1.25

    def _around(self, median: float, sigma: float) -> float:
        return median * math.exp(self._chance.gauss(0, sigma))


def _changes(repository: Path, wanted: Wanted) -> Iterator[_Change]:
    since = [f"--since={wanted.since}"] if wanted.since else []
    shown = ["--format=%x00%H %P", "--numstat", "-z", "--no-renames", "--diff-filter=AM", "--no-merges"]
    log = _git(repository, "log", *since, *shown, "HEAD").decode("utf-8", "surrogateescape")
    commit = parent = ""
    for item in filter(None, log.replace("\n", "\0").split("\0")):
        added, removed, path = (*item.split("\t", 2), "", "")[:3]
        if not path:
            commit, _, parent = item.partition(" ")
        elif added != "-" and _fits(int(added), int(removed), wanted) and _is_typed(path, wanted):
            yield _Change(commit, parent, path)


def _fits(added: int, removed: int, wanted: Wanted) -> bool:
    """An edit that adds more than it rewrites, and not too much for one sitting."""
    return wanted.min_lines <= added <= wanted.max_lines and removed <= 0.8 * added


def _is_typed(path: str, wanted: Wanted) -> bool:
    name = language_of(path)
    fits = name in wanted.languages if wanted.languages else bool(name) and not language(name).line_only
    return fits and not _UNTYPED.search(path)


def _trace(repository: Path, change: _Change, seed: int) -> Trace | None:
    """None for what nobody types: binary, generated or moved text."""
    old = _text(repository, change.parent, change.path) if change.parent else ""
    new = _text(repository, change.commit, change.path)
    if old is None or new is None or not _is_typed_text(old, new):
        return None
    events = type_edit(old, new, f"{seed} {change.commit} {change.path}")
    if apply(old, events) != new or not any(event.op == "insert" for event in events):
        return None
    name = f"{change.commit[:12]}:{change.path}"
    return Trace(name, change.path, language_of(change.path), old, events, new)


def _is_typed_text(old: str, new: str) -> bool:
    old_lines, new_lines = old.split("\n"), new.split("\n")
    if max(len(old), len(new)) > MAX_TEXT or "\r" in old + new or max(map(len, new_lines)) > MAX_LINE:
        return False
    hunks = _hunks(old_lines, new_lines)
    stood = set(old_lines)
    come = [line for _, _, j1, j2 in hunks for line in new_lines[j1:j2] if len(line.strip()) > 15]
    moved = sum(line in stood for line in come)
    return 0 < len(hunks) <= MAX_HUNKS and moved <= _MOVED_SHARE * len(come)


def _text(repository: Path, commit: str, path: str) -> str | None:
    """A file at a commit; "" where it is not there yet, None where it is no UTF-8 text."""
    if not _git(repository, "ls-tree", "-z", commit, "--", f":(top,literal){path}"):
        return ""
    try:
        return _git(repository, "show", f"{commit}:{path}").decode()
    except UnicodeDecodeError:
        return None


def _git(repository: Path, *arguments: str) -> bytes:
    command = ["git", "-C", str(repository), *arguments]
    try:
        return subprocess.run(command, check=True, capture_output=True).stdout
    except FileNotFoundError as error:
        raise MccomdError("recording needs the git command on PATH") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines()
        raise MccomdError(f"git {arguments[0]} in {repository}: {said[-1] if said else 'failed'}") from error
