"""The indexer's process: started when first needed, started again when it has died.

Speaks the JSON lines of `mccomd_index.worker`, one job at a time. Knows nothing of what an index is for.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mccomd_index import IndexOptions

__all__ = ["Indexer"]

_LINE_LIMIT = 4 * 1024 * 1024


class Indexer:
    """One child process at low priority. Not for several jobs at once."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._next_id = 0

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
        while line := await process.stdout.readline():
            event = json.loads(line)
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
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "mccomd_index.worker",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_LINE_LIMIT,
                start_new_session=True,  # a Ctrl-C in the daemon's terminal is the daemon's to handle
            )
        return self._process

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()
