"""The indexer's process: started when first needed, started again when it has died.

Speaks the JSON lines of `mccomd_index.worker`, one job at a time. Knows nothing of what an index is for.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mccomd_index import IndexOptions

__all__ = ["Indexer"]

_LINE_LIMIT = 4 * 1024 * 1024


LONGEST_HUSH_S = 5.0
BREATH_S = 0.2
"""It is stopped for so long at a time, then goes on for a breath, or endless completions would starve it."""


class Indexer:
    """One child process at low priority. Not for several jobs at once."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._next_id = 0
        self._ready = False  # it will not outlive us: only then may it be stopped
        self._hushes = 0
        self._breath: asyncio.TimerHandle | None = None

    @contextlib.contextmanager
    def hushed(self) -> Iterator[None]:
        """Stop it while this block runs: the lowest priority yields the processor, not caches and memory."""
        self._hushes += 1
        if self._hushes == 1:
            self._stop()
        try:
            yield
        finally:
            self._hushes -= 1
            if not self._hushes:
                self._go_on()

    async def refresh(
        self,
        root: str,
        folder: Path,
        options: IndexOptions,
        rebuild: bool,
        progressed: Callable[[dict[str, Any]], None],
    ) -> dict[str, Any]:
        """The worker's report; {"error": text} when it failed, with "crashed" when it died."""
        self._next_id += 1
        job = {
            "id": self._next_id,
            "op": "refresh",
            "repository": root,
            "index": str(folder),
            "rebuild": rebuild,
            "options": dataclasses.asdict(options),
        }
        try:
            return await self._ask(job, progressed)
        except asyncio.CancelledError:
            self._kill()  # it would go on with a job that nobody waits for
            raise
        except (OSError, ValueError) as error:
            self._kill()
            return {"error": f"the indexer stopped: {error}", "crashed": True}

    async def close(self) -> None:
        self._go_on()
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        if process.stdin:
            process.stdin.close()
        try:
            async with asyncio.timeout(1.0):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _ask(self, job: dict[str, Any], progressed: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        process = await self._running()
        if process.stdin is None or process.stdout is None:
            raise OSError("its process has no pipes")
        process.stdin.write(json.dumps(job).encode() + b"\n")
        await process.stdin.drain()
        if self._hushes:
            self._stop()
        while line := await process.stdout.readline():
            event = json.loads(line)
            if event["event"] == "ready":
                self._ready = True
                if self._hushes:
                    self._stop()
            if event.get("id") != job["id"]:
                continue
            if event["event"] == "progress":
                progressed(event)
            elif event["event"] == "failed":
                return {"error": event["error"]}
            else:
                return dict(event)
        code = await process.wait()
        raise OSError(f"its process ended with code {code}")

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._ready = False
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "mccomd_index.worker",
                str(os.getpid()),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_LINE_LIMIT,
                # A Ctrl-C in the daemon's terminal is the daemon's to handle. No session of its own: if the
                # daemon dies while this is stopped, the kernel wakes and ends a group left without a leader
                # (where it can, the worker has itself killed then: a stop under way may reach it later).
                process_group=0,
            )
        return self._process

    def _stop(self) -> None:
        if self._signal("SIGSTOP") and self._breath is None:
            self._breath = asyncio.get_running_loop().call_later(LONGEST_HUSH_S, self._breathe)

    def _breathe(self) -> None:
        self._signal("SIGCONT")
        self._breath = asyncio.get_running_loop().call_later(BREATH_S, self._hold_again)

    def _hold_again(self) -> None:
        self._breath = None
        if self._hushes:
            self._stop()

    def _go_on(self) -> None:
        breath, self._breath = self._breath, None
        if breath is not None:
            breath.cancel()
            self._signal("SIGCONT")

    def _signal(self, name: str) -> bool:
        """Whether it was sent: Windows has no such signals."""
        number = getattr(signal, name, None)
        if number is None or self._process is None or self._process.returncode is not None or not self._ready:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)  # its group: it may have a helper
            return True
        return False

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()
