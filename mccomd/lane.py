"""A lane: one daemon thread that runs jobs one after the other, awaited from the event loop.

Unlike an executor's, its thread never keeps the process alive: a plugin that hangs must not hang the
daemon's shutdown. Knows nothing of what the jobs do.
"""

from __future__ import annotations

import asyncio
import itertools
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

__all__ = ["Lane"]

T = TypeVar("T")


@dataclass(order=True, slots=True)
class _Job:
    rank: int
    order: int
    call: Callable[[], Any] | None = field(compare=False)  # None: no more jobs
    future: asyncio.Future[Any] | None = field(compare=False)


class Lane:
    """Jobs run by rank, those of one rank in the order they came, or newest first; start is lazy."""

    LAST = 2**31

    def __init__(self, name: str, *, newest_first: bool = False) -> None:
        self._name = name
        self._step = -1 if newest_first else 1
        self._jobs: queue.PriorityQueue[_Job] = queue.PriorityQueue()
        self._count = itertools.count(1)
        self._thread: threading.Thread | None = None
        self._pending = 0

    @property
    def pending(self) -> int:
        """Jobs handed over and not finished, the running one included."""
        return self._pending

    async def run(self, job: Callable[..., T], *args: Any, rank: int = 0) -> T:
        """What `job(*args)` returns or raises; jobs of a lower rank go first.

        Cancelling the waiter does not stop a running job; one that has not begun is dropped.
        """
        self._start()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._pending += 1
        self._jobs.put(_Job(rank, self._step * next(self._count), lambda: job(*args), future))
        return await future

    def close(self) -> None:
        """No more jobs after those handed over; does not wait."""
        if self._thread is not None:
            self._jobs.put(_Job(self.LAST, 0, None, None))

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, name=self._name, daemon=True)
            self._thread.start()

    def _loop(self) -> None:
        while True:
            job = self._jobs.get()
            if job.call is None or job.future is None:
                return
            if job.future.cancelled():
                self._finish(job.future, None, None)
                continue
            try:
                self._finish(job.future, job.call(), None)
            except BaseException as error:  # noqa: BLE001 - it is the waiter's
                self._finish(job.future, None, error)

    def _finish(self, future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
        def settle() -> None:
            self._pending -= 1
            if future.done():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        loop = future.get_loop()
        if not loop.is_closed():
            try:
                loop.call_soon_threadsafe(settle)
            except RuntimeError:  # closed between the two lines: nobody waits any more
                return
