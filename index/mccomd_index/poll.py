"""Seeing changes by looking again, where no file system tells of them.

Looks at the few files of git often, and at the work tree as often as one hundredth of the time allows. Knows
no thread: it is asked.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from .folders import walk
from .types import Repository

GIT_EVERY_S = 2.0
TREE_EVERY_S = 5.0
MAX_SHARE = 0.01  # of one processor, for looking at the work tree

Mark = tuple[int, int, int] | None


class Poll:
    """What one repository looked like the last time."""

    def __init__(self, repository: Repository, ignored: Callable[[str], bool], max_folders: int) -> None:
        self._repository = repository
        self._ignored = ignored
        self._max_folders = max_folders
        self.folders = 0
        self.too_many = False  # folders: only git is looked at
        self._git = self._git_marks()
        self._tree = self._tree_marks()
        self._tree_next = time.monotonic() + TREE_EVERY_S

    def changes(self) -> tuple[bool, set[str]]:
        """Whether git moved, and the paths that changed, appeared or went since the last call."""
        git = self._git_marks()
        moved, self._git = git != self._git, git
        if time.monotonic() < self._tree_next or self.too_many:
            return moved, set()
        began = time.monotonic()
        tree = self._tree_marks()
        now = time.monotonic()
        self._tree_next = now + max(TREE_EVERY_S, (now - began) / MAX_SHARE)
        paths = {path for path in tree.keys() | self._tree.keys() if tree.get(path) != self._tree.get(path)}
        self._tree = tree
        return moved, paths

    def _git_marks(self) -> list[Mark]:
        git_dir, common = self._repository.git_dir, self._repository.common_dir
        places = [os.path.join(git_dir, name) for name in ("HEAD", "index", "logs/HEAD", "reftable")]
        places += [os.path.join(common, name) for name in ("packed-refs", "info/exclude")]
        head = _read_line(places[0])
        if head.startswith("ref: "):
            places.append(os.path.join(common, head.removeprefix("ref: ")))
        return [_mark(place) for place in places]

    def _tree_marks(self) -> dict[str, Mark]:
        marks: dict[str, Mark] = {}
        if self._repository.work_tree is None:
            return marks
        self.folders = 0
        for folder, entries in walk(self._repository.work_tree, "", self._ignored):
            self.folders += 1
            if self.folders > self._max_folders:
                self.too_many = True
                return {}
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    marks[f"{folder}/{entry.name}" if folder else entry.name] = _mark(entry.path)
        return marks


def _mark(place: str) -> Mark:
    try:
        found = os.lstat(place)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read_line(place: str) -> str:
    try:
        with open(place, errors="replace") as file:
            return file.readline(4096).strip()
    except OSError:
        return ""
