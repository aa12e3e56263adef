"""The stamp: what an index folder holds, of which commit, made how.

    folder/
      stamp.json    written last, under a temporary name, then renamed: it alone says what is live
      lock          one writer at a time; the kernel lets go of a dead one
      gen-0001/     Tantivy's files; the stamp names the live generation

Knows no git and no Tantivy.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .errors import CorruptError, FolderError, LockedError
from .types import IndexOptions

FORMAT = 1  # raise it whenever chunks, words, filters or the schema come out differently
LOCK_WAIT_S = 600.0  # a first index of a very large repository takes minutes

_NAME = "stamp.json"
_GENERATION = re.compile(r"gen-(\d{4,})")


@dataclass(frozen=True)
class Stamp:
    """What the live generation holds."""

    format: int
    options: IndexOptions
    commit: str | None  # None: HEAD was unborn
    generation: str  # name of the folder beside the stamp
    files: int
    chunks: int
    dead_chunks: int  # replaced or removed since the generation began; they still weigh on scores
    # Where refreshes set out for and did not come back from: the generation holds `commit` or one of these.
    pending: tuple[str | None, ...] = ()


def read_stamp(folder: Path) -> Stamp | None:
    """The stamp of an index folder; None where there is none yet.

    CorruptError: it is damaged.  FolderError: it cannot be read.
    """
    place = folder / _NAME
    try:
        text = place.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FolderError(f"{place}: cannot be read: {error.strerror}") from error
    try:
        return _parse(json.loads(text))
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptError(f"{place}: damaged ({len(text)} bytes): {error}") from error


def write_stamp(folder: Path, stamp: Stamp) -> None:
    """Put a stamp in place in one step.

    Not synced to disk: what a power cut may leave is a truncated stamp, which is seen and cured.
    """
    temporary = folder / f"{_NAME}.{os.getpid()}"
    try:
        temporary.write_text(json.dumps(asdict(stamp), indent=1), encoding="utf-8")
        os.replace(temporary, folder / _NAME)
    except OSError as error:
        raise FolderError(f"{folder}: cannot be written: {error.strerror}") from error


def stamp_mark(folder: Path) -> tuple[int, int] | None:
    """A value that differs whenever the stamp was replaced; costs one stat."""
    try:
        found = os.stat(folder / _NAME)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


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
    """Remove what no stamp names: old generations and what a crash left.

    A reader that has one open keeps its mapped files; where the system refuses, the next rebuild tries again.
    """
    for name in os.listdir(folder):
        if _GENERATION.fullmatch(name) and name not in kept:
            shutil.rmtree(folder / name, ignore_errors=True)
        elif name.startswith(f"{_NAME}."):
            with contextlib.suppress(OSError):
                os.unlink(folder / name)


@contextlib.contextmanager
def writer_lock(folder: Path, wait_s: float = LOCK_WAIT_S) -> Iterator[None]:
    """Be the only writer of this folder across processes, waiting for another to finish.

    Creates the folder, 0700.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise FolderError(f"{folder}: the index folder cannot be written: {error.strerror}") from error
    try:
        _wait_for(handle, folder, wait_s)
        yield
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


def _parse(found: Any) -> Stamp:
    if found["format"] != FORMAT:
        return Stamp(int(found["format"]), IndexOptions(), None, "", 0, 0, 0)
    options = found["options"]
    stamp = Stamp(
        format=FORMAT,
        options=IndexOptions(
            int(options["max_file_kb"]), tuple(options["ignore"]), tuple(options["languages"])
        ),
        commit=found["commit"],
        generation=found["generation"],
        files=int(found["files"]),
        chunks=int(found["chunks"]),
        dead_chunks=int(found["dead_chunks"]),
        pending=tuple(found["pending"]),
    )
    commits = (stamp.commit, *stamp.pending)
    if not _GENERATION.fullmatch(stamp.generation) or not all(isinstance(c, str | None) for c in commits):
        raise ValueError("names no generation or commit")
    return stamp
