"""A server that reads a prompt before it is asked: one at a time, for the newest place, as long as it pays.

Whether it pays is strategy.py's estimate "ahead": what an answer took whose prompt was read before, against
what plain would have taken. Knows no wire format.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mccomd.cloud.strategy import Estimates
from mccomd.outgoing import CloudRequest

__all__ = ["NAME", "Ahead", "Primed"]

NAME = "ahead"
MOST_TYPED = 200  # characters since: so far on it is another place
SOME_PRIMES = 60
LEAST_USED = 0.05


@dataclass(frozen=True, slots=True)
class Primed:
    """What the server has read, or is reading."""

    prefix: str
    suffix: str
    snippets: object
    draft: str

    def helps(self, request: CloudRequest) -> bool:
        """Whether most of the request's prompt is read already."""
        typed = len(request.prefix) - len(self.prefix)
        same = request.suffix == self.suffix and request.snippets == self.snippets
        return same and 0 <= typed <= MOST_TYPED and request.prefix.startswith(self.prefix)

    def is_whole(self, request: CloudRequest, draft: str) -> bool:
        """Whether nothing is left to be primed in series."""
        return request.prefix == self.prefix and draft == self.draft


class Ahead:
    """One server. On the event loop only."""

    def __init__(self, estimates: Estimates) -> None:
        self._estimates = estimates
        self._primed: Primed | None = None
        self._running: asyncio.Task[None] | None = None
        self.primes = 0
        self.used = 0

    @property
    def off(self) -> str:
        """Why it is not done any more."""
        if self.primes >= SOME_PRIMES and self.used < LEAST_USED * self.primes:
            return f"only {self.used} of {self.primes} prompts that were read ahead were asked"
        return self._estimates.record(NAME).off

    async def prime(self, request: CloudRequest, draft: str, work: Callable[[], Awaitable[None]]) -> None:
        """Have it read; whatever it was reading ahead before is given up. Raises CloudError."""
        wanted = Primed(request.prefix, request.suffix, request.snippets, draft)
        if wanted == self._primed:
            return
        await self._stop()
        self._primed, self._running = wanted, asyncio.ensure_future(_awaited(work))
        self.primes += 1
        running = self._running
        try:
            await running
        except BaseException:
            running.cancel()
            if self._primed is wanted:
                self._primed = None
            raise
        finally:
            if self._running is running:
                self._running = None

    async def meet(self, request: CloudRequest) -> Primed | None:
        """The prime that helps this request, once it is done; one that does not is given up."""
        primed, self._primed = self._primed, None
        if primed is None or not primed.helps(request):
            await self._stop()
            return None
        if (running := self._running) is not None:
            await asyncio.wait([running])
            if running.cancelled() or running.exception() is not None:
                return None
        self.used += 1
        return primed

    async def _stop(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await asyncio.wait([running])


async def _awaited(work: Callable[[], Awaitable[None]]) -> None:
    await work()
