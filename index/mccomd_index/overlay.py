"""What differs from HEAD on disk: which files, bounded in number, in bytes and in what is looked at.

Git says what is changed, staged, removed or untracked, and what is ignored. Whole untracked folders are
walked here, so that fifty thousand files somebody unpacked into a work tree cost a bounded time. Knows no
index.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from .filters import Filters
from .git import Dirty, Git

MAX_FILES = 2_000
MAX_BYTES = 32_000_000
MAX_LOOKS = 10_000  # entries of untracked folders; most of what one costs is the question "ignored?"
RACY_NS = 100_000_000  # a file changed so shortly ago may change again within the same tick of its clock


class OnDisk(NamedTuple):
    """A regular file as it was when it was looked at."""

    path: str
    size: int
    mtime_ns: int
    mark: int  # the same while the file is the same; 0: cannot be said


@dataclass
class Overlay:
    """What the overlay holds."""

    files: list[OnDisk] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)  # in HEAD, and no file of ours on disk
    note: str = ""  # what was left out, and why


def look(git: Git, work_tree: str, filters: Filters) -> Overlay:
    """What differs from HEAD now. RepositoryError: git cannot say."""
    tracked, untracked = Overlay(), Overlay()
    walk = _Walk(git, work_tree, filters)
    for dirty in git.dirty():
        if filters.refuse_path(dirty.path) and not dirty.path.endswith("/"):
            continue
        if dirty.tracked:
            _sort_in(tracked, walk.on_disk(dirty.path), dirty, filters)
        else:
            untracked.files.extend(walk.files(dirty.path))
    newest = [*_newest_first(tracked.files), *_newest_first(untracked.files)]
    kept = list(_within_bounds(newest))
    notes = []
    if len(kept) < len(newest):
        notes.append(f"of {len(newest)} changed files the {len(kept)} newest are seen")
    if walk.looks >= MAX_LOOKS:
        notes.append(f"untracked folders: the first {MAX_LOOKS} entries are seen")
    return Overlay(kept, tracked.gone, "; ".join(notes))


def read(work_tree: str, path: str, limit: int) -> bytes | None:
    """A file's bytes; None where it is gone, no regular file, or larger than `limit`."""
    try:
        handle = os.open(os.path.join(work_tree, path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (OSError, ValueError):
        return None
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            return None
        data = os.read(handle, min(found.st_size, limit) + 1)
        while len(data) <= limit and (more := os.read(handle, limit + 1 - len(data))):  # it has grown
            data += more
    except OSError:
        return None
    finally:
        os.close(handle)
    return data if len(data) <= limit else None


def _sort_in(found: Overlay, file: OnDisk | None, dirty: Dirty, filters: Filters) -> None:
    if file is None or filters.refuse_size(file.size):
        found.gone.append(dirty.path)
    else:
        found.files.append(file)


def _newest_first(files: list[OnDisk]) -> list[OnDisk]:
    return sorted(files, key=lambda file: (-file.mtime_ns, file.path))


def _within_bounds(files: list[OnDisk]) -> Iterator[OnDisk]:
    total = 0
    for file in files[:MAX_FILES]:
        total += file.size
        if total > MAX_BYTES:
            return
        yield file


class _Walk:
    """Looks at paths below a work tree, and counts its looks."""

    def __init__(self, git: Git, work_tree: str, filters: Filters) -> None:
        self._git = git
        self._root = work_tree
        self._filters = filters
        self._now = time.time_ns()
        self.looks = 0

    def on_disk(self, path: str) -> OnDisk | None:
        """The regular file at a path; None where there is none."""
        try:
            found = os.lstat(os.path.join(self._root, path))
        except (OSError, ValueError):
            return None
        if not stat.S_ISREG(found.st_mode):
            return None
        changed = max(found.st_mtime_ns, found.st_ctime_ns)
        said = found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
        mark = 0 if abs(self._now - changed) < RACY_NS else hash(said) & 0x7FFF_FFFF_FFFF_FFFF
        return OnDisk(path, found.st_size, found.st_mtime_ns, mark)

    def files(self, path: str) -> Iterator[OnDisk]:
        """The files to index that an untracked path is or holds."""
        if not path.endswith("/"):
            yield from self._file(path)
            return
        waiting = [path]
        while waiting and self.looks < MAX_LOOKS:
            folder = waiting.pop()
            for name, is_folder in self._entries(folder):
                inner = folder + name
                if self._git.is_ignored(inner + "/" if is_folder else inner):
                    continue
                if is_folder:
                    waiting.append(inner + "/")
                else:
                    yield from self._file(inner)

    def _file(self, path: str) -> Iterator[OnDisk]:
        if self._filters.refuse_path(path):
            return
        file = self.on_disk(path)
        if file is not None and not self._filters.refuse_size(file.size):
            yield file

    def _entries(self, folder: str) -> list[tuple[str, bool]]:
        """The entries of a folder, by name; none of a repository inside this one, or of a refused folder."""
        if self._filters.refuse_path(folder + "x") not in (None, "other language"):
            return []
        found = []
        try:
            with os.scandir(os.path.join(self._root, folder)) as entries:
                for entry in entries:
                    self.looks += 1
                    if entry.name == ".git":
                        return []
                    found.append((entry.name, entry.is_dir(follow_symlinks=False)))
                    if self.looks >= MAX_LOOKS:
                        break
        except (OSError, ValueError):
            return []
        return sorted(found)
