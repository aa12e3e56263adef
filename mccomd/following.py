"""When each repository's index is brought in step, and that it is: one at a time, by the indexer's process.

What starts it: somebody types in the repository, its watcher saw a change, or somebody asks.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import mccomd_index
from mccomd.config import IndexConfig
from mccomd.housekeeping import mark_used
from mccomd.indexer import Indexer
from mccomd.lane import Lane
from mccomd.protocol import Progress
from mccomd.repositories import Entry, ProgressSink
from mccomd.watching import Watching
from mccomd_index import IndexOptions, IndexState, Repository

if TYPE_CHECKING:
    from mccomd_index.watch import Changes

__all__ = ["Following", "OptionsFor"]

log = logging.getLogger(__name__)

OptionsFor = Callable[[Repository], tuple[IndexOptions, Sequence[str]]]
"""Reads the disk: the options of a repository, and what was wrong with its own file."""

HEAD_CHECK_S = 1.0
"""HEAD is compared with the stamp at most so often while somebody types."""
MARK_USED_S = 3600.0
MAX_CRASHES = 3
"""A repository that kills the indexer this often in a row is left alone until someone asks for a refresh."""


class Following:
    """Create it inside a running event loop."""

    def __init__(
        self,
        entries: Mapping[str, Entry],
        options_for: OptionsFor,
        config: Callable[[], IndexConfig],
        lane: Lane,
        followed: Callable[[Entry], object],
    ) -> None:
        """entries: by root, also those added later.

        lane: where disks are read.  followed: called there with an entry whose index is in step again.
        """
        self._entries = entries
        self._options_for = options_for
        self._config = config
        self._lane = lane
        self._followed = followed
        self._worker = Indexer()
        self._turn = asyncio.Lock()
        self._watching = Watching(self._changed, lambda: config().watched_folders)

    def hushed(self) -> AbstractContextManager[None]:
        """The indexer stands still in this block."""
        return self._worker.hushed()

    def watched(self, root: str) -> tuple[str, str]:
        """See Watching.state."""
        return self._watching.state(root)

    async def refresh(
        self, entry: Entry, *, rebuild: bool, wait: bool, sink: ProgressSink | None
    ) -> dict[str, Any]:
        """The indexer's report, {"error": text} when it failed; {} at once when nobody waits."""
        entry.crashes = 0
        # One that is running may have read a HEAD that is no longer: what is asked for now comes after it.
        task = self._spawn(entry, rebuild=rebuild, only_if_behind=False)
        if not wait:
            return {}
        if sink:
            entry.sinks.append(sink)
        try:
            return await asyncio.shield(task)
        finally:
            if sink and sink in entry.sinks:
                entry.sinks.remove(sink)

    async def close(self) -> None:
        self._watching.close()
        for entry in self._entries.values():
            if entry.later:
                entry.later.cancel()
        for entry in self._entries.values():
            if entry.running:
                entry.running.cancel()
        await self._worker.close()

    def touch(self, root: str) -> None:
        """Somebody works in this repository: see, in the background, that its index follows HEAD."""
        entry = self._entries.get(root)
        if entry is None or not self._config().enabled:
            return
        self._watching.watch(root, entry.repository)
        if self._watching.state(root)[0] in ("off", "stopped"):
            entry.disk_changed = None
        if entry.running or entry.crashes >= MAX_CRASHES:
            return
        now = time.monotonic()
        if now - entry.checked < HEAD_CHECK_S:
            return
        entry.checked = now
        self._spawn(entry, rebuild=entry.damaged, only_if_behind=not entry.damaged)

    def _changed(self, root: str, changes: Changes) -> None:
        """The watcher saw HEAD, a ref or a file change: bring the index in step, once if often told."""
        entry = self._entries.get(root)
        if entry is None or not self._config().enabled or entry.crashes >= MAX_CRASHES:
            return
        entry.disk_changed = bool(entry.disk_changed) or changes.everything or bool(changes.paths)
        self._follow(entry)

    def _follow(self, entry: Entry) -> None:
        if entry.disk_changed and (rest := entry.rests_s()) > 0 and entry.later is None:
            entry.later = asyncio.get_running_loop().call_later(rest, self._look_later, entry)
        if entry.running:
            entry.again = True
            return
        entry.checked = time.monotonic()
        self._spawn(entry, rebuild=entry.damaged, only_if_behind=not entry.damaged)

    def _look_later(self, entry: Entry) -> None:
        entry.later = None
        self._follow(entry)

    def _spawn(self, entry: Entry, *, rebuild: bool, only_if_behind: bool) -> asyncio.Task[dict[str, Any]]:
        before = entry.running
        task = asyncio.create_task(self._run(entry, before, rebuild, only_if_behind))
        entry.running = task

        def finished(done: asyncio.Task[dict[str, Any]]) -> None:
            if entry.running is done:
                entry.running = None
                entry.progress = None
                if entry.again and not done.cancelled():
                    entry.again = False
                    self._follow(entry)
            if not done.cancelled() and (error := done.exception()):
                log.error("refresh of %s failed", entry.repository.git_dir, exc_info=error)

        task.add_done_callback(finished)
        return task

    async def _run(
        self, entry: Entry, before: asyncio.Task[dict[str, Any]] | None, rebuild: bool, only_if_behind: bool
    ) -> dict[str, Any]:
        if before is not None:
            await asyncio.wait([before])
        options, _ = await self._lane.run(self._options_for, entry.repository)
        entry.filters = entry.filtered_by(options)
        if (
            only_if_behind
            and not entry.look_is_due()
            and not await self._lane.run(self._is_behind, entry, options)
        ):
            await self._mark_used(entry)
            return {}
        async with self._turn:  # one repository at a time: the indexer is one process at low priority
            entry.disk_changed = None if entry.disk_changed is None else False
            report = await self._ask_worker(entry, options, rebuild)
        entry.checked = entry.looked = time.monotonic()
        entry.look_s = float(report.get("look_ms", 0.0)) / 1000
        entry.problem = str(report.get("error", ""))
        await self._mark_used(entry)
        if entry.problem:
            log.warning("index of %s: %s", entry.root, entry.problem)
        else:
            entry.damaged = False
            await self._lane.run(self._followed, entry)
        return report

    async def _mark_used(self, entry: Entry) -> None:
        """Once an hour of use is enough to say that this index is needed."""
        now = time.monotonic()
        if now - entry.marked > MARK_USED_S and await self._lane.run(mark_used, entry.folder):
            entry.marked = now

    def _is_behind(self, entry: Entry, options: IndexOptions) -> bool:
        fresh = mccomd_index.find_repository(entry.root)
        if fresh is None:
            return False
        entry.repository = fresh
        return mccomd_index.status(fresh, entry.folder, options).state is not IndexState.CURRENT

    async def _ask_worker(self, entry: Entry, options: IndexOptions, rebuild: bool) -> dict[str, Any]:
        root = entry.root

        def progressed(event: dict[str, Any]) -> None:
            entry.progress = Progress(root, int(event["files"]), int(event["total"]), float(event["mb"]))
            for sink in entry.sinks:
                sink(entry.progress)

        report = await self._worker.refresh(root, entry.folder, options, rebuild, progressed)
        if report.get("crashed"):
            entry.crashes += 1
        return report
