"""The indexer as a process of its own: JSON lines in, JSON lines out, at the lowest priority.

    python -m mccomd_index.worker [PARENT]

    -> {"event": "ready"}                      with PARENT, a process id: from here on it ends with that one
    <- {"id": 1, "op": "refresh", "repository": PATH, "index": FOLDER, "options": {...}, "rebuild": false}
    -> {"id": 1, "event": "progress", "files": 120, "total": 1603, "mb": 2.1}     at most about 10 a second
    -> {"id": 1, "event": "done", ...}  or  {"id": 1, "event": "failed", "error": "..."}     exactly one

Requests are done in order. Ends when its input closes, or its output: nobody is left to read. It may be
killed at any moment; the next refresh sets right what it left.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
import time
from dataclasses import asdict, fields
from pathlib import Path
from typing import IO, Any

import psutil

from .errors import IndexingError, OptionsError, RepositoryError
from .git import find_repository
from .helper import usage
from .parent import end_with
from .refresh import refresh
from .types import IndexOptions, Progress, Report

PROGRESS_S = 0.1
COLLECT = 50_000, 20, 100  # objects: a file's words and definitions are no cycles; 3 to 7 % of the time


def main() -> None:
    """Serve standard input and output until either closes."""
    output = sys.stdout
    sys.stdout = sys.stderr  # a stray print must not tear the protocol
    parent = sys.argv[1:2]
    if parent:
        end_with(int(parent[0]))
    lower_priority()
    gc.set_threshold(*COLLECT)
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        if parent:
            _write(output, {"event": "ready"})
        for line in sys.stdin.buffer:
            answer(line, output)
    with contextlib.suppress(OSError):
        output.close()


def lower_priority() -> None:
    """Give way to everything else, as far as the system lets us."""
    with contextlib.suppress(OSError, AttributeError):
        os.nice(19)
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with contextlib.suppress(psutil.Error, OSError, AttributeError):
        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)


def answer(line: bytes, output: IO[str]) -> None:
    """Do one request and write its events; a bad one is answered as failed."""
    answered = _Answer(output)
    try:
        request = json.loads(line)
        if not isinstance(request, dict):
            raise ValueError("a request is a JSON object")
        answered.id = request.get("id")
        crowded = _do(request, answered)
    except BrokenPipeError:
        raise
    except (IndexingError, ValueError, TypeError, KeyError) as error:
        answered.give("failed", error=_text(error))
    except Exception as error:  # noqa: BLE001  one request must not end the process
        answered.give("failed", error=f"{type(error).__name__}: {error}")
    else:
        if crowded:
            _tidy(request)


class _Answer:
    """The one answer of a request. What fails behind it (a merge, a full disk) shows in the next one."""

    def __init__(self, output: IO[str]) -> None:
        self.output = output
        self.id: Any = None
        self._given = False

    def give(self, event: str, **more: Any) -> None:
        if not self._given:
            self._given = True
            _write(self.output, {"id": self.id, "event": event, **more})


def _do(request: dict[str, Any], answered: _Answer) -> bool:
    """Whether the store should be cleared away."""
    operation = request.get("op")
    if operation != "refresh":
        raise ValueError(f"op: {operation!r} is unknown; known: refresh")
    place = _string(request, "repository")
    repository = find_repository(place)
    if repository is None:
        raise RepositoryError(f"{place}: not inside a git repository")
    options = _options(request.get("options", {}))
    cpu = time.process_time() + usage().cpu_s
    folder = Path(_string(request, "index"))
    rebuild = request.get("rebuild") is True

    def searchable(report: Report) -> None:
        helpers = usage()
        used_s = time.process_time() + helpers.cpu_s - cpu
        used = {"cpu_s": used_s, "rss_peak_mb": max(_rss_peak_mb(), helpers.peak_mb)}
        answered.give("done", **asdict(report), **used)

    progress = _Rated(answered.output, answered.id)
    report = refresh(
        repository,
        folder,
        options,
        progress,
        rebuild=rebuild,
        tidy=False,
        helped=True,
        searchable=searchable,
    )
    return bool(report.crowded)


def _tidy(request: dict[str, Any]) -> None:
    """Clear the store away after the answer; nobody waits, and what fails is tried again at the next one."""
    with contextlib.suppress(IndexingError):
        repository = find_repository(request["repository"])
        if repository is not None:
            refresh(repository, Path(request["index"]), _options(request.get("options", {})))


class _Rated:
    """Writes progress, but not more often than anyone can look."""

    def __init__(self, output: IO[str], id_: Any) -> None:
        self._output = output
        self._id = id_
        self._next = time.monotonic() + PROGRESS_S

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + PROGRESS_S
        counts = {"files": progress.files, "total": progress.total, "mb": round(progress.bytes / 1e6, 3)}
        _write(self._output, {"id": self._id, "event": "progress", **counts})


def _string(request: dict[str, Any], key: str) -> str:
    found = request.get(key)
    if not isinstance(found, str) or not found or "\0" in found:
        raise ValueError(f"{key}: expected a path, found {found!r}")
    return found


def _options(found: Any) -> IndexOptions:
    known = {field.name for field in fields(IndexOptions)}
    if not isinstance(found, dict) or not found.keys() <= known:
        raise OptionsError(f"options: expected an object with {' '.join(sorted(known))}, found {found!r}")
    size = found.get("max_file_kb", IndexOptions().max_file_kb)
    if not isinstance(size, int) or isinstance(size, bool):
        raise OptionsError(f"options: max_file_kb: expected a number, found {size!r}")
    return IndexOptions(size, _strings(found, "ignore"), _strings(found, "languages"))


def _strings(found: dict[str, Any], key: str) -> tuple[str, ...]:
    values = found.get(key, [])
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise OptionsError(f"options: {key}: expected a list of strings, found {values!r}")
    return tuple(values)


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, IndexingError) else f"bad request: {error}"


def _rss_peak_mb() -> float:
    """Peak resident memory of this process. Linux: VmHWM, since ru_maxrss counts the parent before exec."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1000
    return float(psutil.Process().memory_info().rss) / 1e6


def _write(output: IO[str], event: dict[str, Any]) -> None:
    output.write(json.dumps(event) + "\n")
    output.flush()


if __name__ == "__main__":
    main()
