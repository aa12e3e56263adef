"""The folder of a store: its format, its generations, and who may write.

    folder/
      views.db      which work tree holds what, and which generation is live (views.py)
      lock          one writer at a time; the kernel lets go of a dead one
      gen-0001/     Tantivy's files

Knows no git, no SQLite and no Tantivy.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import FolderError, LockedError
from .types import IndexOptions

FORMAT = 6  # raise it whenever chunks, words, filters or the schema come out differently
LOCK_WAIT_S = 600.0  # a first index of a very large repository takes minutes

_GENERATION = re.compile(r"gen-(\d{4,})")


@dataclass(frozen=True)
class Stamp:
    """What a work tree's view of the live generation is."""

    commit: str | None  # None: HEAD was unborn
    options: IndexOptions
    generation: str  # name of the folder beside views.db
    version: int  # grows with every commit to the store
    files: int
    chunks: int
    overlay_files: int


def new_generation(folder: Path) -> Path:
    """An empty folder under a name that nothing here has, so that no reader takes it for an older one."""
    try:
        numbers = [int(found[1]) for found in map(_GENERATION.fullmatch, os.listdir(folder)) if found]
        place = folder / f"gen-{max(numbers, default=0) + 1:04}"
        place.mkdir(mode=0o700)
    except OSError as error:
        raise FolderError(f"{folder}: cannot be written: {error.strerror}") from error
    return place


def remove_other_generations(folder: Path, *kept: str) -> None:
    """Remove what is not live: old generations and what a crash left.

    A reader that has one open keeps its mapped files; where the system refuses, the next rebuild tries again.
    """
    for name in os.listdir(folder):
        if _GENERATION.fullmatch(name) and name not in kept:
            shutil.rmtree(folder / name, ignore_errors=True)


@contextlib.contextmanager
def writer_lock(folder: Path, wait_s: float = LOCK_WAIT_S) -> Iterator[int]:
    """Be the only writer of this folder across processes, waiting for another to finish.

    Creates the folder, 0700. Gives the open file that is locked.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise FolderError(f"{folder}: the index folder cannot be written: {error.strerror}") from error
    try:
        _wait_for(handle, folder, wait_s)
        yield handle
    finally:
        os.close(handle)


def _wait_for(handle: int, folder: Path, wait_s: float) -> None:
    until = time.monotonic() + wait_s
    while not _try_lock(handle):
        if time.monotonic() >= until:
            raise LockedError(f"{folder}: another process has been writing this index for {wait_s:.0f} s")
        time.sleep(0.02)


try:
    import fcntl
except ImportError:  # Windows: Tantivy's own lock still keeps a second writer out

    def _try_lock(handle: int) -> bool:
        return True

else:

    def _try_lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
