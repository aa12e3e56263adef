"""Tells when a repository may have changed: HEAD, its refs, git's index, files of the work tree.

On Linux each folder worth watching has an inotify watch, and none has one that git ignores; elsewhere the
system watches whole trees (events.py). Where the kernel tells of nothing, or has no watches left, we look
again ourselves (poll.py) and say why. Idle, it costs no processor time: its thread sleeps.

Knows no index: it says what changed, and who asked decides what that means.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from .events import MAX_FOLDERS, Events, listen
from .folders import why_no_events
from .git import ignored_by_git
from .ignore import is_ignore_file
from .poll import GIT_EVERY_S, Poll
from .types import Repository

QUIET_S = 0.05  # without a further change until it is told
AT_MOST_S = 0.5  # told by then, however much goes on
MAX_PATHS = 2_000  # of one telling; with more, everything may have changed
MAX_NEW_FOLDERS = 50  # with more, all are looked through again

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Changes:
    """What may have changed since the last telling."""

    git: bool  # HEAD, a ref, or git's index
    paths: frozenset[str]  # in the work tree, relative; "x/": anything in that folder
    everything: bool  # more than was counted, or nobody knows


_ANYTHING = Changes(git=True, paths=frozenset(), everything=True)


@dataclass(frozen=True)
class WatchState:
    """How a repository is watched."""

    mode: str  # starting, events, polling, stopped
    reason: str  # "" or why it is polling or stopped
    folders: int


class Watcher:
    """Watches one repository in a thread of its own, until closed.

    on_change: called from that thread, at most twice a second while changes go on; what it raises is logged.
    The first call comes when the watch stands, with `everything`: what happened before is unknown.
    """

    def __init__(
        self,
        repository: Repository,
        on_change: Callable[[Changes], None],
        *,
        max_folders: int = MAX_FOLDERS,
        poll: str = "",
    ) -> None:
        """max_folders: with more, it polls.  poll: why it shall not rely on events; "" it may."""
        self._repository = repository
        self._on_change = on_change
        self._max_folders = max_folders
        self._wake = threading.Condition()
        self._closing = False
        self._pending = _Pending()
        self._state = WatchState("starting", "", 0)
        self._poll_reason = poll
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    @property
    def state(self) -> WatchState:
        return self._state

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def close(self) -> None:
        """Stop; does not wait for a call under way."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()

    # --- called by a source of events, from its thread --------------------------------------------

    def git_changed(self, *, folder: bool = False) -> None:
        """folder: one of refs appeared or went."""
        with self._wake:
            self._pending.git = True
            self._pending.look_again |= folder
            self._pending.count += 1
            self._wake.notify_all()

    def path_changed(self, path: str, *, folder: bool = False) -> None:
        """path: relative to the work tree; folder: one that appeared, went or moved."""
        with self._wake:
            self._pending.add(path, folder)
            self._wake.notify_all()

    def lost_track(self) -> None:
        with self._wake:
            self._pending.everything = self._pending.look_again = True
            self._pending.count += 1
            self._wake.notify_all()

    # --- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            ignored = ignored_by_git(self._repository)
            events = self._begin(ignored)
            if events is not None:
                with contextlib.closing(events):
                    self._tell(_ANYTHING)
                    self._poll_reason = self._follow(events, ignored)
            if self._poll_reason:
                log.warning("%s: it is polled: %s", self._repository.git_dir, self._poll_reason)
                poll = Poll(self._repository, ignored, MAX_FOLDERS)
                self._say_polling(poll)
                self._tell(_ANYTHING)
                self._look(poll)
        except Exception as error:
            log.exception("%s: cannot be watched", self._repository.git_dir)
            self._state = WatchState("stopped", f"{type(error).__name__}: {error}", 0)
        else:
            self._state = WatchState("stopped", "closed", 0)

    def _begin(self, ignored: Callable[[str], bool]) -> Events | None:
        """A source of events that watches every folder; None: it is to be polled, for self._poll_reason."""
        place = self._repository.work_tree or self._repository.git_dir
        self._poll_reason = self._poll_reason or why_no_events(place)
        if self._poll_reason:
            return None
        try:
            events = listen(self._repository, self, ignored, self._max_folders)
        except OSError as error:
            self._poll_reason = explain(error, 0)
            return None
        self._poll_reason = self._watch_all(events)
        if self._poll_reason:
            events.close()
            return None
        return events

    def _watch_all(self, events: Events) -> str:
        """Bring the watches in step with the folders there are; "" or why that cannot be."""
        try:
            events.watch_all()
        except OSError as error:
            return explain(error, events.folders)
        self._state = WatchState("events", "", events.folders)
        return ""

    def _follow(self, events: Events, ignored: Callable[[str], bool]) -> str:
        """Tell what happens until closed ("") or until events no longer suffice (why)."""
        while not self._closing:
            found = self._collect()
            if self._closing:
                break
            if found.look_again and (reason := self._watch_all(events)):
                return reason
            try:
                inside = [path for folder in sorted(found.folders) for path in events.appeared(folder)]
            except OSError as error:
                return explain(error, events.folders)
            self._state = WatchState("events", "", events.folders)
            self._tell(found.changes(inside, ignored))
        return ""

    def _collect(self) -> _Pending:
        """What came in, once it has been quiet for a moment or has gone on for long."""
        with self._wake:
            self._wake.wait_for(lambda: self._closing or self._pending.count)
            until, count = time.monotonic() + AT_MOST_S, -1
            while not self._closing and count != self._pending.count and time.monotonic() < until:
                count = self._pending.count
                self._wake.wait_for(lambda: self._closing, QUIET_S)
            found, self._pending = self._pending, _Pending()
        return found

    def _look(self, poll: Poll) -> None:
        """Look again and again until closed."""
        while not self._closing:
            self._say_polling(poll)
            with self._wake:
                self._wake.wait_for(lambda: self._closing, GIT_EVERY_S)
            if self._closing:
                return
            moved, paths = poll.changes()
            if moved or paths:
                kept = frozenset(paths) if len(paths) <= MAX_PATHS else frozenset[str]()
                self._tell(Changes(moved, kept, len(paths) > MAX_PATHS))

    def _say_polling(self, poll: Poll) -> None:
        many = f"; more than {MAX_FOLDERS} folders: only commits are followed" if poll.too_many else ""
        self._state = WatchState("polling", self._poll_reason + many, poll.folders)

    def _tell(self, changes: Changes) -> None:
        if self._closing or not (changes.git or changes.paths or changes.everything):
            return
        try:
            self._on_change(changes)
        except Exception:
            log.exception("%s: a change was told in vain", self._repository.git_dir)


class _Pending:
    """What has come in since the last telling; bounded."""

    def __init__(self) -> None:
        self.git = self.everything = self.look_again = False
        self.paths: set[str] = set()
        self.folders: set[str] = set()
        self.count = 0  # of events, those that repeat one included

    def add(self, path: str, folder: bool) -> None:
        self.count += 1
        name = path.rpartition("/")[2]
        if is_ignore_file(path) or name == ".gitignore":
            self.look_again = True
        (self.folders if folder else self.paths).add(path)
        if len(self.folders) > MAX_NEW_FOLDERS:
            self.everything = self.look_again = True
            self.folders.clear()
        if len(self.paths) > MAX_PATHS:
            self.everything = True
            self.paths.clear()

    def changes(self, inside: Iterable[str], ignored: Callable[[str], bool]) -> Changes:
        """As told: a log that grows, ignored, in a folder that is not, is no change."""
        paths = self.paths.union(inside)
        everything = self.everything or len(paths) > MAX_PATHS
        kept = () if everything else (path for path in paths if not ignored(path))
        return Changes(self.git, frozenset(kept), everything)


def explain(error: OSError, folders: int) -> str:
    """Why there are no events, with what to do about it."""
    if error.errno == errno.ENOSPC:
        limit = _limit("max_user_watches")
        return (
            f"no inotify watch is left after {folders} folders (fs.inotify.max_user_watches is {limit}): "
            "raise it with sysctl"
        )
    if error.errno == errno.EMFILE:
        limit = _limit("max_user_instances")
        return f"no inotify instance is left (fs.inotify.max_user_instances is {limit}): raise it with sysctl"
    return error.strerror or str(error)


def _limit(name: str) -> str:
    try:
        return Path("/proc/sys/fs/inotify", name).read_text().strip()
    except OSError:
        return "unknown"
