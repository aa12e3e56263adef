"""What stands in each repository, as n-grams for the model's mixture: made in the background, kept in memory.

A table holds the files of one language. It is made when somebody completes there, and again when the index
has changed and the old one has served for a while; what is typed meanwhile is in the text around the cursor.
Knows no model but its folder, and nothing of what a table is asked for.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mccomd.config import CompletionConfig
from mccomd.errors import MccomdError
from mccomd.indexing import Indexed, Indexing
from mccomd.lane import Lane
from mccomd.protocol import NgramStatus
from mccomd_index import language_of

if TYPE_CHECKING:  # numpy and ONNX Runtime: `status` must not wait for them
    from mccomd.engine import Table
    from mccomd.ngram_worker import Built, Job

__all__ = ["NgramTables"]

log = logging.getLogger(__name__)

KEPT = 2
"""Tables in memory: of the repositories and languages used last."""
SERVES_S, SERVES_TIMES = 600.0, 200.0
"""A table of an index that has changed is made anew after so long, and after so many times what it took."""
AGAIN_S = 60.0
"""After a failure."""
MOST_S = 900.0  # that one may take: its process runs when nobody else wants the processor
LOOK_S = 1.0
"""So often a table is looked through for files that must not be shown any more."""
GONE_S = 30.0
"""A table with files that the index has no more is made anew after so long: they may be secret now."""


class _Key(NamedTuple):
    repository: str
    language: str
    model: str  # its folder


@dataclass
class _Slot:
    """One table, and what becomes of it."""

    built: Built | None = None
    of: Indexed | None = None  # what it was made of
    made: float = -1e9  # time.monotonic()
    looked: float = -1e9  # the same
    failed: float = -1e9  # the same
    gone: bool = False  # it has files that the index has no more
    problem: str = ""  # why it failed
    waits: str = ""  # what for
    task: asyncio.Task[None] | None = None  # that makes one
    look: asyncio.Task[None] | None = None  # that looks it through

    @property
    def busy(self) -> bool:
        return self.task is not None and not self.task.done()

    @property
    def looking(self) -> bool:
        return self.look is not None and not self.look.done()


class NgramTables:
    """All tables of this daemon; on the event loop only."""

    def __init__(
        self,
        indexing: Indexing,
        config: Callable[[], CompletionConfig],
        saver: Callable[[], str],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """saver: why the machine has better things to do than to make one; "" when it has not."""
        self._indexing = indexing
        self._config = config
        self._saver = saver
        self._now = now
        self._slots: OrderedDict[_Key, _Slot] = OrderedDict()
        self._lane = Lane("ngrams")
        self._looks = Lane("ngram-looks")  # a table may take long on a busy machine
        self._running: tuple[Job, subprocess.Popen[bytes]] | None = None

    def of(self, repository: str | None, path: str, model: Path) -> Table | None:
        """What the repository's files of path's language hold, that file left out; None while there is none.

        path: in the repository. model: the folder of the model whose tokens are wanted.
        """
        language, config = language_of(path), self._config()
        if repository is None or language is None or not config.ngrams or not config.ngram_tokens:
            return None
        key = _Key(repository, language, str(model))
        slot = self._slots.setdefault(key, _Slot())
        self._slots.move_to_end(key)
        while len(self._slots) > KEPT:
            self._forget(next(iter(self._slots)))
        indexed = self._indexing.indexed(repository)
        if indexed is None:
            slot.waits = "for the index"
        else:
            self._see_to(key, slot, indexed, path)
        return None if slot.built is None else slot.built.without(path)

    def status(self) -> list[NgramStatus]:
        return [_status(key, slot) for key, slot in self._slots.items()]

    def forget(self) -> None:
        """Give the memory back."""
        for key in list(self._slots):
            self._forget(key)

    async def close(self) -> None:
        tasks = [task for slot in self._slots.values() for task in (slot.task, slot.look) if task is not None]
        self.forget()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._lane.close()
        self._looks.close()

    # --- inside -------------------------------------------------------------------------------

    def _see_to(self, key: _Key, slot: _Slot, indexed: Indexed, near: str) -> None:
        """Begin what is due."""
        at, slot.waits = self._now(), self._saver()
        if slot.of is not None and slot.of.options != indexed.options:
            slot.built = slot.of = None  # what may be shown has changed
        if slot.built is None:
            due = at - slot.failed > AGAIN_S
        else:
            serves = GONE_S if slot.gone else max(SERVES_S, SERVES_TIMES * slot.built.cpu_s)
            due = slot.of != indexed and at - max(slot.made, slot.failed) > serves
        if due and not slot.waits and not slot.busy:
            slot.task = asyncio.create_task(self._make(key, slot, indexed, near))
        if slot.built is not None and at - slot.looked > LOOK_S and not slot.looking:
            slot.looked = at
            slot.look = asyncio.create_task(self._look_through(key, slot, slot.built, indexed))

    async def _make(self, key: _Key, slot: _Slot, indexed: Indexed, near: str) -> None:
        from mccomd.ngram_worker import Job

        most = self._config().ngram_tokens
        job = Job(key.repository, str(indexed.folder), indexed.options, key.language, near, key.model, most)
        try:
            async with asyncio.timeout(MOST_S):
                slot.built = await self._lane.run(self._ask_worker, job)
        except TimeoutError:
            self._failed(key, slot, f"not made within {MOST_S:.0f} s")
        except (MccomdError, OSError) as error:
            self._failed(key, slot, str(error))
        except Exception as error:
            self._failed(key, slot, f"{type(error).__name__}: {error}")
            log.exception("n-grams of %s cannot be made", key.repository)
        else:
            slot.of, slot.gone, slot.problem = indexed, False, ""
            slot.made = slot.looked = self._now()
            log.info(
                "n-grams of %s (%s): %d tokens of %d files in %.1f CPU seconds",
                key.repository, key.language, len(slot.built.table.ids), len(slot.built.files),
                slot.built.cpu_s,
            )  # fmt: skip
        finally:
            self._stop(job)

    def _failed(self, key: _Key, slot: _Slot, problem: str) -> None:
        slot.problem, slot.failed = problem, self._now()
        log.warning("n-grams of %s (%s): %s", key.repository, key.language, problem)

    async def _look_through(self, key: _Key, slot: _Slot, built: Built, indexed: Indexed) -> None:
        paths = tuple(built.files)
        refused = await self._looks.run(self._indexing.refuses_any, key.repository, paths)
        if slot.built is not built:  # another was made meanwhile
            return
        if refused:
            slot.built = slot.of = None
        elif slot.of != indexed and not slot.gone:
            slot.gone = not await self._looks.run(self._indexing.has_all, key.repository, paths)

    def _ask_worker(self, job: Job) -> Built:
        """In the lane's thread."""
        from mccomd.ngram_worker import from_answer, read_head

        command = [sys.executable, "-m", "mccomd.ngram_worker", str(os.getpid())]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, process_group=0) as process:
            self._running = job, process
            if process.stdin is None or process.stdout is None:
                raise OSError("its process has no pipes")
            process.stdin.write(job.to_json())
            process.stdin.close()
            line = process.stdout.readline()
            if not line:
                raise MccomdError(f"its process ended with code {process.wait()}")
            head, size = read_head(line)
            content = process.stdout.read(size)
            if len(content) != size:
                raise MccomdError(f"its process ended with code {process.wait()}")
        return from_answer(head, content)

    def _stop(self, job: Job) -> None:
        if self._running is not None and self._running[0] is job:
            self._running[1].kill()
            self._running = None

    def _forget(self, key: _Key) -> None:
        slot = self._slots.pop(key)
        for task in (slot.task, slot.look):
            if task is not None:
                task.cancel()


def _status(key: _Key, slot: _Slot) -> NgramStatus:
    built = slot.built
    if built is not None:
        counts = len(built.files), built.left_out, len(built.table.ids)
        return NgramStatus(key.repository, key.language, "ready", slot.problem, *counts)
    state = "building" if slot.busy else "failed" if slot.problem else "waiting"
    reason = slot.waits if state == "waiting" else slot.problem
    return NgramStatus(key.repository, key.language, state, reason, 0, 0, 0)
