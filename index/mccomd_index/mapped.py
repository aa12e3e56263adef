"""Are the files that a reader has mapped as long as they were?

A store's files are written once and then only removed, and Tantivy reads them through mapped memory. Where
one is made shorter under us (a copy over it, a synchronising tool, a repair of the file system), the kernel
ends the whole process with SIGBUS at the first look behind its new end. So their sizes are compared first:
2 µs a file. What happens between this comparison and the look, or a disk that fails to read, still ends the
process; the next one opens the files anew, finds the damage and rebuilds.

Knows neither Tantivy nor SQLite.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from .errors import CorruptError


class Mapped:
    """The files of a generation as they were when it was opened."""

    def __init__(self, folder: Path) -> None:
        self._sizes: list[tuple[str, int]] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # merged away just now
                    if _is_mapped(entry.name) and (size := entry.stat().st_size):
                        self._sizes.append((entry.path, size))

    def check(self) -> None:
        """CorruptError: one is shorter than it was. One that is gone stays whole for who has it mapped."""
        for path, size in self._sizes:
            try:
                now = os.stat(path).st_size
            except OSError:
                continue
            if now < size:
                raise CorruptError(f"{path}: damaged: {now} of {size} bytes are left")


class Shared:
    """SQLite's file of shared memory (-shm), which an open connection has mapped, too.

    Made as long as it was, with zeros, it is no danger: SQLite takes it for unwritten and fills it anew.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = 0

    def note(self) -> None:
        """A connection is open: what it has mapped is there."""
        with contextlib.suppress(OSError):
            self._size = max(self._size, os.stat(self._path).st_size)

    def mend(self) -> None:
        """To be called before an open connection is used again."""
        with contextlib.suppress(OSError):
            if os.stat(self._path).st_size < self._size:
                os.truncate(self._path, self._size)


def _is_mapped(name: str) -> bool:
    """Files of segments: Tantivy replaces its lists (.json) whole and reads them at once."""
    return not name.startswith(".") and not name.endswith((".json", ".lock"))
