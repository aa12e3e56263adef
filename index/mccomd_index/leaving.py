"""Which contents must leave the disk: those of files that became secret or ignored.

A content that no work tree names any more is not found, but stays in the store until much of it is of that
kind: a branch switched back is free. What somebody has just told us to leave out must not wait so long.

A file became so when it went from a view and stands on disk, where git or an ignore file leaves it out now
(`git rm --cached` and a line in .gitignore), or when the same bytes have a name now that is left out (renamed
to .env). Of a file that was renamed and changed in one step this is not seen.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice

from . import overlay
from .filters import Filters
from .git import Git, blob_id
from .views import Place

NO_SECRETS = frozenset({"generated", "data", "lock file", "other language"})
MAX_RENAMED = 50  # files looked for under a name that is left out
MAX_LOOKS = 200  # entries of a folder among which a renamed file is looked for


class Leaving:
    """What went from the view in one refresh."""

    def __init__(self) -> None:
        self._left: dict[str, Place] = {}
        self._uncommitted: dict[str, Place] = {}
        self._refused: set[str] = set()  # blobs that stand in HEAD under a name that is left out

    def __bool__(self) -> bool:
        """Whether anything went."""
        return bool(self._left or self._uncommitted)

    def left(self, place: Place) -> None:
        """A path of HEAD is no more."""
        if place.chunks > 0:
            self._left[place.path] = place

    def left_overlay(self, places: Iterable[Place]) -> None:
        """Paths that differed from HEAD do so no more."""
        self._uncommitted.update((place.path, place) for place in places if place.chunks > 0)

    def refused(self, blob: str, reason: str) -> None:
        """A blob of HEAD has a name that is left out."""
        if reason not in NO_SECRETS:
            self._refused.add(blob)

    def became_so(self, git: Git, work_tree: str | None, filters: Filters, limit: int) -> Iterator[Place]:
        """Of what went, what is left out now. limit: bytes of the largest file that is read."""
        for place in (*self._left.values(), *self._uncommitted.values()):
            if place.blob in self._refused or _left_out(git, work_tree, filters, place.path):
                yield place
        if work_tree is None:
            return
        hidden: dict[str, set[str]] = {}  # folder -> blobs of files left out there
        for place in islice(self._uncommitted.values(), MAX_RENAMED):
            for folder in () if _is_there(work_tree, place.path) else (os.path.dirname(place.path), ""):
                if folder not in hidden:
                    hidden[folder] = set(_blobs_left_out(git, work_tree, filters, folder, limit))
                if place.blob in hidden[folder]:
                    yield place


def _left_out(git: Git, work_tree: str | None, filters: Filters, path: str) -> bool:
    if filters.refuse_path(path) not in (None, *NO_SECRETS):
        return True
    return work_tree is not None and _is_there(work_tree, path) and git.is_ignored(path)


def _is_there(work_tree: str, path: str) -> bool:
    return os.path.lexists(os.path.join(work_tree, path))


def _blobs_left_out(git: Git, work_tree: str, filters: Filters, folder: str, limit: int) -> Iterator[str]:
    """What a folder's own files hold that are left out, hashed and forgotten."""
    try:
        with os.scandir(os.path.join(work_tree, folder)) as entries:
            names = [entry.name for entry in islice(entries, MAX_LOOKS)]
    except OSError:
        return
    for name in names:
        path = os.path.join(folder, name)
        if _left_out(git, work_tree, filters, path):
            data = overlay.read(work_tree, path, limit)
            if data is not None:
                yield blob_id(data)
