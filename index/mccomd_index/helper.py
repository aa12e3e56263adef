"""A second core for a branch switch: a forked process takes contents apart, from the far end of the list.

Python runs one thread at a time, so half of the work goes to a process. Nothing is told to it: it has the
list from the fork, and goes through it backwards while its parent goes forwards. What it has done comes
through a pipe, whose size bounds how far it runs ahead: a parent that stands still soon stops it. Where the
two meet, a file may be done twice, and the parent ends it. If it dies, the parent does the rest itself.

Linux only, where a fork is safe as long as no other thread runs; with one core there is none.
Knows neither Tantivy nor SQLite: both are its parent's.
"""

from __future__ import annotations

import contextlib
import gc
import marshal
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from .parent import end_with
from .parts import Part, part_of

PIPE = 1_048_576  # bytes; what Linux lets anyone have
PIECE = 262_144
LENGTH = 4  # bytes before each part that say how long it is


class Task(NamedTuple):
    """A content that the store may lack."""

    content: int
    language: str
    blob: str


class Usage(NamedTuple):
    """What helpers cost, all of this process."""

    cpu_s: float
    peak_mb: float  # of memory that a helper had for itself, beside what this process had at the same time


class Helper:
    """One run of the process."""

    def __init__(self, pid: int, pipe: int) -> None:
        self._pid = pid
        self._pipe = pipe
        self._waiting = bytearray()

    @classmethod
    def start(
        cls, tasks: Iterable[Task], read: Callable[[str], bytes | None], *, release: Iterable[int] = ()
    ) -> Helper | None:
        """Begin; None where there can be none.

        tasks: are drawn by the process.  read: a blob.  release: open files that are its parent's alone.
        """
        if sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2:
            return None
        near, far = os.pipe()
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError:  # no memory, no more processes
            os.close(near)
            os.close(far)
            return None
        if pid == 0:
            _run(parent, far, (0, 1, near, *release), tasks, read)
        os.close(far)
        os.set_blocking(near, False)
        return cls(pid, near)

    def arrived(self) -> Iterator[Part]:
        """What it has done since; does not wait."""
        waiting = self._waiting
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self._pipe, PIECE):
                waiting += piece
                yield from self._whole()

    def _whole(self) -> Iterator[Part]:
        waiting, at = self._waiting, 0
        while len(waiting) >= at + LENGTH:
            end = at + LENGTH + int.from_bytes(waiting[at : at + LENGTH], "big")
            if len(waiting) < end:
                break
            yield Part(*marshal.loads(waiting[at + LENGTH : end]))
            at = end
        del waiting[:at]

    def close(self) -> None:
        """End it, wherever it is."""
        _peaks.append(_resident_mb() + _own_mb(self._pid))
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        os.close(self._pipe)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


_peaks: list[float] = []


def usage() -> Usage:
    """Of the helpers that have ended."""
    times = os.times()
    return Usage(times.children_user + times.children_system, max(_peaks, default=0.0))


def _run(
    parent: int,
    pipe: int,
    closed: Iterable[int],
    tasks: Iterable[Task],
    read: Callable[[str], bytes | None],
) -> None:
    """The process's whole life; never returns into what it was forked from."""
    try:
        gc.disable()  # a walk over what is its parent's would copy it
        end_with(parent)
        for handle in closed:
            os.close(handle)
        with contextlib.suppress(OSError, AttributeError):
            import fcntl

            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE)
        for content, language, blob in tasks:
            data = read(blob)
            if data is not None:
                said = marshal.dumps(tuple(part_of(content, language, data)))
                _write(pipe, len(said).to_bytes(LENGTH, "big") + said)
    finally:
        os._exit(0)


def _write(pipe: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(pipe, view) :]


def _own_mb(pid: int) -> float:
    """Memory that a process shares with nobody; 0.0 where that cannot be said."""
    with contextlib.suppress(OSError, ValueError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1000
    return 0.0


def _resident_mb() -> float:
    with contextlib.suppress(OSError, ValueError), open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return 0.0
