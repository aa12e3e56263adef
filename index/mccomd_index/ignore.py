"""What a repository's own ignore files leave out: ours and those that other tools read, in any folder.

    .mccomdignore        syntax of .gitignore; its negations (!keep.py) also override the files of other tools
    .cursorignore ...    IGNORE_NAMES: whatever any of them leaves out stays out
    .aiexclude           the same, but without negation, and an empty one leaves out its whole folder

.gitignore is not among them: it speaks of files that are not tracked, and there git itself is asked. A file
that was committed although a .gitignore names it was committed on purpose (34 of 16,900 files in ten
repositories, 25 of them source).

Knows no git: it is given a way to read the ignore files of a folder.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from .globs import RuleSet, read_rules
from .types import Repository

OWN_NAME = ".mccomdignore"
_NO_NEGATION = ".aiexclude"  # Gemini Code Assist, Android Studio
IGNORE_NAMES = (
    OWN_NAME,
    _NO_NEGATION,
    ".aiderignore",
    ".aiignore",  # JetBrains AI
    ".augmentignore",
    ".clineignore",
    ".codeiumignore",  # Windsurf
    ".continueignore",
    ".copilotignore",  # read by extensions, never by Copilot itself
    ".cursorignore",
    ".cursorindexingignore",
    ".geminiignore",
    ".kilocodeignore",
    ".llmignore",
    ".rooignore",
    ".tabnineignore",
)
MAX_BYTES = 262_144  # of one ignore file; the rest of a longer one is not read
FRESH_S = 1.0
_TICK_NS = 20_000_000

FolderTexts = Callable[[str], Mapping[str, str]]
"""The ignore files of a folder (its path, "" the root) as name -> text."""


class IgnoreFiles:
    """Says which paths of one tree are left out. For use from several threads."""

    def __init__(self, texts: FolderTexts) -> None:
        self._texts = texts
        self._lock = threading.Lock()
        self._folders: dict[str, _Read] = {}
        self._left_out: dict[str, str | None] = {}  # folder -> why; only of what cannot change

    @classmethod
    def of_folder(cls, root: str | Path) -> IgnoreFiles:
        """Those on disk, read once: for one pass over a tree."""
        place = os.fspath(root)
        return cls(lambda folder: _texts_of(place, folder))

    def refuse(self, path: str) -> str | None:
        """Why a file is left out ("ignored by .cursorignore"); None: it is not.

        path: relative to the root, with slashes.
        """
        folder, _, name = path.rpartition("/")
        with self._lock:
            if not self._chain(folder):
                return None
            return self._folder_refused(folder) or self._judge(folder, name, is_folder=False)

    def in_force(self) -> dict[str, tuple[str, ...]]:
        """The folders met so far that hold ignore files, each with their names."""
        with self._lock:
            return {folder: tuple(read.rules) for folder, read in self._folders.items() if read.rules}

    def _folder_refused(self, folder: str) -> str | None:
        """Why nothing in a folder may enter: git never looks into a folder that is left out."""
        if not folder:
            return None
        if folder not in self._left_out:
            parent, _, name = folder.rpartition("/")
            why = self._folder_refused(parent) or self._judge(parent, name, is_folder=True)
            self._left_out[folder] = why
        return self._left_out[folder]

    def _judge(self, folder: str, name: str, *, is_folder: bool) -> str | None:
        """The word on one name of the ignore files in `folder` and above; of a tool's the nearest counts."""
        spoken: dict[str, str | None] = {}
        path = f"{folder}/{name}" if folder else name
        for where, rules in self._chain(folder):
            relative = path[len(where) + 1 :] if where else path
            for file, rule_set in rules.items():
                if file not in spoken:
                    verdict = rule_set.verdict(relative, name, folder=is_folder)
                    if verdict is not None:
                        source = f"{where}/{file}" if where else file
                        spoken[file] = f"ignored by {source}" if verdict else None
        if OWN_NAME in spoken:
            return spoken[OWN_NAME]
        return next((why for why in spoken.values() if why), None)

    def _chain(self, folder: str) -> list[tuple[str, Mapping[str, RuleSet]]]:
        """A folder and those above it, the nearest first, as far as they hold ignore files."""
        found = []
        while True:
            if rules := self._read(folder).rules:
                found.append((folder, rules))
            if not folder:
                return found
            folder = folder.rpartition("/")[0]

    def _read(self, folder: str) -> _Read:
        known = self._folders.get(folder)
        if known is None:
            known = self._folders[folder] = _Read(_compiled(self._texts(folder)))
        return known


def read_ignore_files(
    read: Callable[[str], str | None], paths: Iterable[str]
) -> tuple[tuple[str, ...], IgnoreFiles]:
    """The ignore files among these paths and in the root: a line each with its content's hash, and as rules.

    read: a file's text; None: it is no regular file.
    """
    texts: dict[str, dict[str, str]] = {}
    lines = []
    for path in sorted({*IGNORE_NAMES, *paths}):
        text = read(path)
        if text is not None:
            folder, _, name = path.rpartition("/")
            texts.setdefault(folder, {})[name] = text
            digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
            lines.append(f"{digest[:16]} {path}")
    return tuple(lines), IgnoreFiles(lambda folder: texts.get(folder, {}))


def paths_in(lines: Iterable[str]) -> list[str]:
    """The paths that such lines name."""
    return [line.partition(" ")[2] for line in lines]


def read_text(root: str, path: str) -> str | None:
    """An ignore file's text on disk; None: it is no regular file. Links are not followed."""
    folder, _, name = path.rpartition("/")
    return _texts_of(root, folder, (name,)).get(name)


class LiveIgnoreFiles(IgnoreFiles):
    """Those on disk as they are now: a change is seen after FRESH_S at most."""

    def __init__(self, root: str | Path) -> None:
        self._root = os.fspath(root)
        super().__init__(lambda folder: _texts_of(self._root, folder))

    def _folder_refused(self, folder: str) -> str | None:
        self._left_out.clear()
        return super()._folder_refused(folder)

    def _read(self, folder: str) -> _Read:
        """Costs one stat a folder when nothing was added or removed there, and one for each ignore file."""
        known, now = self._folders.get(folder), time.monotonic()
        if known is not None and now - known.looked < FRESH_S:
            return known
        mark = None if known is None else _mark_of(self._root, folder, known.rules)
        if known is None or mark is None or mark != known.mark:
            rules = _compiled(self._texts(folder))
            known = _Read(rules, _mark_of(self._root, folder, rules))
        self._folders[folder] = known._replace(looked=now)
        return known


class _Read(NamedTuple):
    """The rules of one folder."""

    rules: Mapping[str, RuleSet]  # by the ignore file's name
    mark: object = None
    looked: float = 0.0


def live_ignore_files(repository: Repository) -> IgnoreFiles | None:
    """Those of a repository's work tree as they are now; None: it is bare."""
    return None if repository.work_tree is None else LiveIgnoreFiles(repository.work_tree)


def is_ignore_file(path: str) -> bool:
    """Whether a change of this path may change what is left out."""
    return path.rpartition("/")[2] in _NAMES


_NAMES = frozenset(IGNORE_NAMES)


def _compiled(texts: Mapping[str, str]) -> Mapping[str, RuleSet]:
    return {name: _rule_set(name, text) for name, text in texts.items()}


def _rule_set(name: str, text: str) -> RuleSet:
    if name != _NO_NEGATION:
        return RuleSet(read_rules(text))
    if not text.strip():
        return RuleSet(read_rules("*"))
    return RuleSet(rule for rule in read_rules(text) if not rule.negated)


def _mark_of(root: str, folder: str, files: Iterable[str]) -> object:
    """A value that differs when a folder's entries or one of these files changed; None: look again anyway.

    A folder changed within the last tick of the clock may change once more under the same time.
    """
    place = os.path.join(root, folder)
    try:
        here = os.stat(place)
        entries = [os.lstat(os.path.join(place, name)) for name in files]
    except (OSError, ValueError):
        return None
    newest = max(entry.st_mtime_ns for entry in (here, *entries))
    if abs(time.time_ns() - newest) < _TICK_NS:
        return None
    return here.st_mtime_ns, tuple((entry.st_mtime_ns, entry.st_size, entry.st_ino) for entry in entries)


def _texts_of(root: str, folder: str, names: Iterable[str] = IGNORE_NAMES) -> Mapping[str, str]:
    """Links are not followed: what they name may lie outside the repository."""
    texts = {}
    for name in names:
        try:
            handle = os.open(os.path.join(root, folder, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except (OSError, ValueError):
            continue
        try:
            if stat.S_ISREG(os.fstat(handle).st_mode):
                texts[name] = os.read(handle, MAX_BYTES).decode("utf-8", "surrogateescape")
        finally:
            os.close(handle)
    return texts
