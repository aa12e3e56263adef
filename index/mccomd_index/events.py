"""Where changes come from: one inotify watch a folder on Linux, the system's watch of a whole tree elsewhere.

The only importer of watchdog. Knows what to listen to and what to pass over; collects nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from .folders import git_folders, tells_of_git, walk
from .types import Repository

MAX_FOLDERS = 20_000  # of one repository; a watch costs 1 KB here and 1 KB in the kernel

Ignored = Callable[[str], bool]


class Listener(Protocol):
    """Who is told; called from a source's own thread."""

    def git_changed(self, *, folder: bool = False) -> None: ...

    def path_changed(self, path: str, *, folder: bool = False) -> None: ...

    def lost_track(self) -> None: ...


class Events(Protocol):
    """A source of events, listening once `watch_all` has returned."""

    @property
    def folders(self) -> int:
        """Watches held."""

    def watch_all(self) -> None:
        """Watch every folder worth it, and no other. OSError: the system has no watch left."""

    def appeared(self, folder: str) -> Iterable[str]:
        """A folder appeared, went or moved: watch it if it is there. The files now in it."""

    def close(self) -> None:
        """No more calls."""


def listen(repository: Repository, listener: Listener, ignored: Ignored, max_folders: int) -> Events:
    """The best source this system has. OSError: it has none left."""
    if sys.platform.startswith("linux"):
        return _FolderWatches(repository, listener, ignored, max_folders)
    return TreeWatch(repository, listener, ignored)


class TreeWatch(FileSystemEventHandler):
    """The system watches whole trees, and what is ignored is passed over here."""

    def __init__(self, repository: Repository, listener: Listener, ignored: Ignored) -> None:
        self._repository = repository
        self._listener = listener
        self._ignored = ignored
        self._passed_over: dict[str, bool] = {}
        self._lock = threading.Lock()
        self._observer = Observer()
        self._places: list[str] = []

    @property
    def folders(self) -> int:
        return len(self._places)

    def watch_all(self) -> None:
        with self._lock:
            self._passed_over.clear()
        if self._places:
            return
        places = [self._repository.work_tree] if self._repository.work_tree else []
        for place in dict.fromkeys((self._repository.git_dir, self._repository.common_dir)):
            if not any(_inside(place, other) for other in places):
                places.append(place)
        for place in places:
            self._observer.schedule(self, os.path.realpath(place), recursive=True)
        self._observer.start()
        self._places = places

    def appeared(self, folder: str) -> Iterable[str]:
        return [f"{folder}/"]

    def close(self) -> None:
        if self._places:
            self._observer.stop()

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type not in ("created", "modified", "deleted", "moved", "closed"):
            return
        if event.is_directory and event.event_type == "modified":
            return
        for path in (event.src_path, event.dest_path):
            if isinstance(path, str) and path:
                self._take(path, event.is_directory)

    def _take(self, path: str, is_folder: bool) -> None:
        for place in (self._repository.git_dir, self._repository.common_dir):
            if _inside(path, os.path.realpath(place)):
                if tells_of_git(os.path.basename(path), os.path.dirname(path)):
                    self._listener.git_changed()
                return
        root = os.path.realpath(self._repository.work_tree or "/")
        if _inside(path, root) and path != root:
            relative = path[len(root) + 1 :]
            if not self._is_passed_over(os.path.dirname(relative)):
                self._listener.path_changed(relative, folder=is_folder)

    def _is_passed_over(self, folder: str) -> bool:
        if not folder:
            return False
        with self._lock:
            if folder not in self._passed_over and len(self._passed_over) < MAX_FOLDERS:
                self._passed_over[folder] = self._ignored(f"{folder}/")
            known = self._passed_over.get(folder, False)
        return known or self._is_passed_over(os.path.dirname(folder))


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


if sys.platform.startswith("linux"):
    from watchdog.observers.inotify_c import (
        CallbackId,
        InotifyConstants,
        InotifyEvent,
        InotifyFD,
        Mask,
        WatchDescriptor,
    )

    # Closing after writing tells of a change once; IN_MODIFY would tell of each write of a growing log.
    _MASK = Mask(
        InotifyConstants.IN_CLOSE_WRITE
        | InotifyConstants.IN_CREATE
        | InotifyConstants.IN_DELETE
        | InotifyConstants.IN_MOVED_FROM
        | InotifyConstants.IN_MOVED_TO
        | InotifyConstants.IN_ONLYDIR
        | InotifyConstants.IN_DONT_FOLLOW
    )

    class _Watched(NamedTuple):
        path: str  # absolute
        relative: str | None  # in the work tree, "" its root; None: a folder of git

    class _FolderWatches:
        """One watch a folder, all on the one inotify instance of this process."""

        def __init__(
            self, repository: Repository, listener: Listener, ignored: Ignored, max_folders: int
        ) -> None:
            self._max_folders = max_folders
            self._repository = repository
            self._listener = listener
            self._ignored = ignored
            self._lock = threading.Lock()
            self._by_descriptor: dict[WatchDescriptor, _Watched] = {}
            self._by_path: dict[str, WatchDescriptor] = {}
            self._id = CallbackId(id(self))
            self._inotify = InotifyFD.get_instance()

        @property
        def folders(self) -> int:
            return len(self._by_path)

        def watch_all(self) -> None:
            kept = {self._watch(place, None) for place in git_folders(self._repository)}
            if self._repository.work_tree is not None:
                kept.update(path for path, _ in self._watch_below(""))
            with self._lock:
                self._drop([path for path in self._by_path if path not in kept])

        def appeared(self, folder: str) -> Iterable[str]:
            root = self._repository.work_tree or ""
            top = os.path.join(root, folder)
            with self._lock:
                self._drop([path for path in self._by_path if _inside(path, top)])
            found = [f"{folder}/"]
            if os.path.isdir(top) and not os.path.islink(top) and not self._ignored(f"{folder}/"):
                for path, files in self._watch_below(folder):
                    found += [f"{path[len(root) + 1 :]}/{name}" for name in files]
            return found

        def close(self) -> None:
            with self._lock:
                self._drop(list(self._by_path))

        # --- called by watchdog's thread ----------------------------------------------------------

        def on_event(self, event: InotifyEvent) -> None:
            with self._lock:
                watched = self._by_descriptor.get(event.wd)
            if watched is None or not event.name:
                return
            name = os.fsdecode(event.name)
            is_folder = bool(event.mask & InotifyConstants.IN_ISDIR)
            if watched.relative is None:
                if is_folder and "/refs" in watched.path:
                    self._listener.git_changed(folder=True)
                elif not is_folder and tells_of_git(name, watched.path):
                    self._listener.git_changed()
            elif name == ".git":
                self._listener.lost_track()
            else:
                path = f"{watched.relative}/{name}" if watched.relative else name
                self._listener.path_changed(path, folder=is_folder)

        def on_watch_deleted(self, descriptor: WatchDescriptor) -> None:
            with self._lock:
                watched = self._by_descriptor.pop(descriptor, None)
                if watched is not None and self._by_path.get(watched.path) == descriptor:
                    del self._by_path[watched.path]
            if watched is not None and not watched.relative:  # the work tree or git's folder itself
                self._listener.lost_track()

        def on_queue_overflow(self) -> None:
            self._listener.lost_track()

        # --- inside -------------------------------------------------------------------------------

        def _watch_below(self, start: str) -> list[tuple[str, list[str]]]:
            """Watch a folder of the work tree and those below it; (absolute path, names of files) of each."""
            root = self._repository.work_tree or ""
            entered: list[str] = []

            def enter(folder: str) -> None:  # before it is read: what comes later is told
                entered.append(self._watch(os.path.join(root, folder) if folder else root, folder))

            found = []
            for folder, entries in walk(root, start, self._ignored, enter):
                files = [entry.name for entry in entries if not entry.is_dir(follow_symlinks=False)]
                found.append((os.path.join(root, folder) if folder else root, files))
            kept = {path for path, _ in found}
            with self._lock:
                self._drop([path for path in entered if path not in kept])
            return found

        def _watch(self, path: str, relative: str | None) -> str:
            if path in self._by_path:
                return path
            if len(self._by_path) >= self._max_folders:
                raise OSError(errno.E2BIG, f"more than {self._max_folders} folders are too many to watch")
            gone = (FileNotFoundError, NotADirectoryError, PermissionError)
            with contextlib.suppress(*gone), self._lock:
                descriptor = self._inotify.add_callback(os.fsencode(path), _MASK, self, self._id)
                self._by_descriptor[descriptor] = _Watched(path, relative)
                self._by_path[path] = descriptor
            return path

        def _drop(self, paths: Iterable[str]) -> None:
            descriptors = [self._by_path.pop(path) for path in paths if path in self._by_path]
            for descriptor in descriptors:
                self._by_descriptor.pop(descriptor, None)
            with contextlib.suppress(OSError):
                self._inotify.remove_callbacks([(descriptor, self._id) for descriptor in descriptors])

else:
    _FolderWatches: Any = TreeWatch
