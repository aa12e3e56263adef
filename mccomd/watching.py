"""A watcher for each repository that somebody works in; the rest are looked at when somebody asks.

Watchers call from threads of their own; here that becomes a call in the event loop. Knows no index.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from mccomd.lane import Lane

if TYPE_CHECKING:  # watchdog costs 50 ms to import: `status` must not wait for it
    from mccomd_index import Repository
    from mccomd_index.watch import Changes, Watcher

__all__ = ["MAX_WATCHED", "Watching"]

MAX_WATCHED = 16
"""The repository that was worked in longest ago makes room: watches are a resource of the whole system."""

log = logging.getLogger(__name__)


class Watching:
    """Create it inside a running event loop."""

    def __init__(self, on_change: Callable[[str, Changes], None], max_folders: Callable[[], int]) -> None:
        """on_change: called in the loop with the repository's root and what may have changed in it.

        max_folders: a repository with more is polled.
        """
        self._on_change = on_change
        self._max_folders = max_folders
        self._loop = asyncio.get_running_loop()
        self._watchers: OrderedDict[str, Watcher | None] = OrderedDict()  # None: it is being made
        self._begun: set[asyncio.Task[None]] = set()
        self._lane = Lane("watch-begin")

    def watch(self, root: str, repository: Repository) -> None:
        """Somebody works here: watch it, if that is not done already."""
        if root in self._watchers:
            self._watchers.move_to_end(root)
            return
        self._watchers[root] = None
        task = self._loop.create_task(self._begin(root, repository))
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)
        while len(self._watchers) > MAX_WATCHED:
            self._close(self._watchers.popitem(last=False)[1])

    def forget(self, root: str) -> None:
        """Watch it no more."""
        self._close(self._watchers.pop(root, None))

    def state(self, root: str) -> tuple[str, str]:
        """(mode, reason): off, starting, events, polling or stopped, and why it is polling or stopped."""
        if root not in self._watchers:
            return "off", ""
        watcher = self._watchers[root]
        return ("starting", "") if watcher is None else (watcher.state.mode, watcher.state.reason)

    def close(self) -> None:
        for watcher in self._watchers.values():
            self._close(watcher)
        self._watchers.clear()
        self._lane.close()

    async def _begin(self, root: str, repository: Repository) -> None:
        def told(changes: Changes) -> None:
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._take, root, changes)

        watcher = await self._lane.run(_start, repository, told, self._max_folders())
        if root in self._watchers:
            self._watchers[root] = watcher
        else:
            watcher.close()

    def _take(self, root: str, changes: Changes) -> None:
        if root in self._watchers:
            self._on_change(root, changes)

    def _close(self, watcher: Watcher | None) -> None:
        if watcher is not None:
            watcher.close()


def _start(repository: Repository, told: Callable[[Changes], None], max_folders: int) -> Watcher:
    from mccomd_index.watch import Watcher

    poll = "" if max_folders else "index.watched_folders of the config is 0"
    watcher = Watcher(repository, told, max_folders=max_folders, poll=poll)
    watcher.start()
    return watcher
