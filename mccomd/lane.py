"""A lane: one daemon thread that runs jobs one after the other, awaited from the event loop.

Unlike an executor's, its thread never keeps the process alive: a plugin that hangs must not hang the
daemon's shutdown. Knows nothing of what the jobs do.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["Lane"]

T = TypeVar("T")


class Lane:
    """Jobs run in the order they were handed over; start is lazy."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._thread: threading.Thread | None = None
        self._pending = 0

    @property
    def pending(self) -> int:
        """Jobs handed over and not finished, the running one included."""
        return self._pending

    async def run(self, job: Callable[..., T], *args: Any) -> T:
        """What `job(*args)` returns or raises.

        Cancelling the waiter does not stop a running job; one that has not begun is dropped.
        """
        self._start()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._pending += 1
        self._jobs.put((lambda: job(*args), future))
        return await future

    def close(self) -> None:
        """No more jobs after those handed over; does not wait."""
        if self._thread is not None:
            self._jobs.put(None)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, name=self._name, daemon=True)
            self._thread.start()

    def _loop(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, future = item
            if future.cancelled():
                self._finish(future, None, None)
                continue
            try:
                self._finish(future, job(), None)
            except BaseException as error:  # noqa: BLE001 - it is the waiter's
                self._finish(future, None, error)

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
