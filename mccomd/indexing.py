"""Each repository's index as the daemon sees it: whose turn it is, what state it is in, its snapshot.

The work itself is done by a child process (indexer.py); this file decides what it does next and opens what
it has committed.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import mccomd_index
from mccomd.config import IndexConfig
from mccomd.errors import RequestError
from mccomd.housekeeping import collect, mark_used
from mccomd.indexer import Indexer
from mccomd.lane import Lane
from mccomd.protocol import ErrorCode, Progress, RefreshResult, RepositoryStatus
from mccomd.types import Document, Snippet
from mccomd.watching import Watching
from mccomd_index import Buffers, Filters, IndexOptions, IndexState, Repository, Snapshot, live_ignore_files

if TYPE_CHECKING:
    from mccomd_index.watch import Changes

__all__ = ["Indexing", "Location", "OptionsFor", "files_at_head"]

log = logging.getLogger(__name__)

OptionsFor = Callable[[Repository], tuple[IndexOptions, Sequence[str]]]
"""Reads the disk: the options of a repository, and what was wrong with its own file."""
Refused = Callable[[str], bool]
T = TypeVar("T")
ProgressSink = Callable[[Progress], None]

HEAD_CHECK_S = 1.0
"""HEAD is compared with the stamp at most so often while somebody types."""
LOOK_S = 2.0
LOOK_REST = 20.0
"""The work tree is looked at for 1/20 of the time at most; every LOOK_S of typing where nobody watches it."""
LOCATE_AGAIN_S = 2.0
"""`git init` and `rm -r .git` are seen after so long."""
MAX_LOCATED = 10_000
MARK_USED_S = 3600.0
MAX_CRASHES = 3
"""A repository that kills the indexer this often in a row is left alone until someone asks for a refresh."""


@dataclass(frozen=True, slots=True)
class Location:
    """A path and its repository."""

    root: str | None  # None outside any
    relative: str  # the path within the repository; the file's name outside any


@dataclass
class _Entry:
    """What is known of one repository."""

    repository: Repository
    folder: Path
    snapshot: Snapshot | None = None
    checked: float = -1e9  # time.monotonic() of the last comparison with HEAD
    looked: float = -1e9  # the same, of the last look at the work tree
    look_s: float = 0.0  # what that took
    disk_changed: bool | None = None  # since then; None: nobody watches
    later: asyncio.TimerHandle | None = None  # a look that was put off
    running: asyncio.Task[dict[str, Any]] | None = None
    again: bool = False  # something changed while it was running
    progress: Progress | None = None
    sinks: list[ProgressSink] = field(default_factory=list)
    problem: str = ""  # why the last refresh failed
    crashes: int = 0
    buffers: Buffers = field(default_factory=Buffers)  # unsaved texts
    marked: float = -1e9  # time.monotonic() when it was last marked as used
    damaged: bool = False  # a search met damage that the stamp does not show
    filters: Filters | None = None  # asked again of every hit: what is left out now is not shown now

    def rests_s(self) -> float:
        """How long until the work tree may be looked at again."""
        rest = LOOK_S if self.disk_changed is None else 0.0
        return self.looked + max(rest, LOOK_REST * self.look_s) - time.monotonic()

    def look_is_due(self) -> bool:
        return self.disk_changed is not False and self.rests_s() <= 0


class Indexing:
    """All repositories that this daemon has met."""

    def __init__(self, folder: Path, options_for: OptionsFor, config: Callable[[], IndexConfig]) -> None:
        self._folder = folder
        self._options_for = options_for
        self._config = config
        self._entries: dict[str, _Entry] = {}
        self._located: dict[str, tuple[float, Location]] = {}  # path -> (time.monotonic(), where)
        self._worker = Indexer()
        self._turn = asyncio.Lock()
        self._open: dict[str, tuple[object, Document]] = {}  # path -> whose text, the latest changed last
        self._lane = Lane("index-reads")
        self._watching = Watching(self._changed, lambda: config().watched_folders)

    # --- asked by the completer ---------------------------------------------------------------

    async def locate(self, path: str) -> Location:
        """Where `path` is; outside any repository when that cannot be read."""
        try:
            return await self._locate(path)
        except mccomd_index.IndexingError as error:
            log.info("%s: %s", path, error)
            return Location(None, os.path.basename(path))

    def hushed(self) -> AbstractContextManager[None]:
        """The indexer stands still in this block: somebody waits for the model."""
        return self._worker.hushed()

    def known_root(self, path: str) -> str | None:
        """The repository of a path that was located before; None when it was not, or is outside any."""
        _, location = self._located.get(path, (0.0, None))
        return location.root if location else None

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

    def commit_of(self, root: str | None) -> str:
        """The commit that searches of a repository see; "" while there is no index, or no repository."""
        entry = self._entries.get(root) if root else None
        return entry.snapshot.commit if entry and entry.snapshot else ""

    def search(
        self, root: str, query: str | Sequence[tuple[str, float]], limit: int, *, without: str = ""
    ) -> Sequence[Snippet]:
        """Snippets of a repository's committed index, best first; none while there is no index."""

        def find(snapshot: Snapshot, refused: Refused) -> Sequence[mccomd_index.Hit]:
            entry = self._entries.get(root)
            buffers = self._buffers(entry, without) if entry else None
            return snapshot.search(query, limit, lambda path, *_: path == without or refused(path), buffers)

        hits = self.ask(root, find) or ()
        return [Snippet(h.path, h.start_line, h.end_line, h.text, h.score, h.commit, "bm25") for h in hits]

    def ask(self, root: str, question: Callable[[Snapshot, Refused], T]) -> T | None:
        """Put a question to a repository's committed index; None while there is none. For any thread.

        The question gets what says of a path that it must not be shown.
        """
        entry = self._entries.get(root)
        if entry is None:
            return None
        try:
            snapshot = self._snapshot(entry)
            refuse = _filters(entry).refuse_path
            return question(snapshot, lambda path: refuse(path) is not None) if snapshot else None
        except mccomd_index.IndexingError as error:
            log.warning("index of %s cannot be read, it is built anew: %s", root, error)
            entry.damaged = True
            return None

    def buffers(self, root: str, without: str = "") -> Buffers | None:
        """The texts that clients have open in a repository, but for that at one path. For any thread."""
        entry = self._entries.get(root)
        return None if entry is None else self._buffers(entry, without)

    async def search_off_loop(self, root: str, query: str, limit: int) -> Sequence[Snippet]:
        """`search`, awaited."""
        return await self._lane.run(self.search, root, query, limit)

    # --- told by clients ----------------------------------------------------------------------

    def edited(self, client: object, document: Document) -> None:
        """A client has this text open; of several clients the one who typed last has the word."""
        self._open.pop(document.path, None)
        self._open[document.path] = client, document

    def closed(self, client: object, path: str) -> None:
        if path in self._open and self._open[path][0] is client:
            del self._open[path]

    def left(self, client: object) -> None:
        """A client is gone, and its texts with it."""
        for path in [path for path, (whose, _) in self._open.items() if whose is client]:
            del self._open[path]

    # --- asked by clients ---------------------------------------------------------------------

    async def require(self, path: str) -> str:
        """The root of the repository of `path`; raises RequestError(no_repository)."""
        try:
            location = await self._locate(path)
        except mccomd_index.IndexingError as error:
            raise RequestError(ErrorCode.NO_REPOSITORY, str(error)) from error
        if location.root is None:
            raise RequestError(
                ErrorCode.NO_REPOSITORY,
                f"{path} is not in a git repository: run `git init` there, or name a path inside one",
            )
        return location.root

    async def refresh(
        self, root: str, *, rebuild: bool = False, wait: bool = True, sink: ProgressSink | None = None
    ) -> RefreshResult:
        """Bring the index in step with HEAD; raises RequestError(index_failed)."""
        entry = self._entries[root]
        entry.crashes = 0
        started = time.monotonic()
        # One that is running may have read a HEAD that is no longer: what is asked for now comes after it.
        task = self._spawn(entry, rebuild=rebuild, only_if_behind=False)
        if not wait:
            return await self._result(entry, {}, started)
        if sink:
            entry.sinks.append(sink)
        try:
            report = await asyncio.shield(task)
        finally:
            if sink and sink in entry.sinks:
                entry.sinks.remove(sink)
        if "error" in report:
            raise RequestError(ErrorCode.INDEX_FAILED, str(report["error"]))
        return await self._result(entry, report, started)

    async def status(self) -> list[RepositoryStatus]:
        return [await self._status_of(entry) for entry in list(self._entries.values())]

    async def status_of(self, root: str) -> RepositoryStatus:
        return await self._status_of(self._entries[root])

    async def close(self) -> None:
        self._watching.close()
        for entry in self._entries.values():
            if entry.later:
                entry.later.cancel()
        for entry in self._entries.values():
            if entry.running:
                entry.running.cancel()
        await self._worker.close()
        for entry in self._entries.values():
            if entry.snapshot:
                entry.snapshot.close()
        self._lane.close()

    # --- inside -------------------------------------------------------------------------------

    def _changed(self, root: str, changes: Changes) -> None:
        """The watcher saw HEAD, a ref or a file change: bring the index in step, once if often told."""
        entry = self._entries.get(root)
        if entry is None or not self._config().enabled or entry.crashes >= MAX_CRASHES:
            return
        entry.disk_changed = bool(entry.disk_changed) or changes.everything or bool(changes.paths)
        self._follow(entry)

    def _follow(self, entry: _Entry) -> None:
        if entry.disk_changed and (rest := entry.rests_s()) > 0 and entry.later is None:
            entry.later = asyncio.get_running_loop().call_later(rest, self._look_later, entry)
        if entry.running:
            entry.again = True
            return
        entry.checked = time.monotonic()
        self._spawn(entry, rebuild=entry.damaged, only_if_behind=not entry.damaged)

    def _look_later(self, entry: _Entry) -> None:
        entry.later = None
        self._follow(entry)

    async def _locate(self, path: str) -> Location:
        now = time.monotonic()
        when, location = self._located.get(path, (-1e9, None))
        if location is None or now - when > LOCATE_AGAIN_S:
            location = await self._lane.run(self._look_for, path)
            if len(self._located) > MAX_LOCATED:
                self._located.clear()
            self._located[path] = (now, location)
        return location

    def _look_for(self, path: str) -> Location:
        repository = mccomd_index.find_repository(path)
        if repository is None:
            return Location(None, os.path.basename(path))
        root = self._remember(repository)
        return Location(root, os.path.relpath(os.path.realpath(path), os.path.realpath(root)))

    def _remember(self, repository: Repository) -> str:
        root = _root(repository)
        known = self._entries.get(root)
        if known is None:
            self._entries[root] = _Entry(repository, self._folder / folder_name(repository.common_dir))
        else:
            known.repository = repository
        return root

    def _buffers(self, entry: _Entry, without: str = "") -> Buffers:
        """The texts that clients have open in this work tree, as they are now. For any thread."""
        root = _root(entry.repository)
        texts = []
        for path, (_, document) in reversed(list(self._open.items())):
            _, location = self._located.get(path, (0.0, None))
            if location is None and path.startswith(f"{root}/"):  # just opened: nobody has looked yet
                location = Location(root, path.removeprefix(f"{root}/"))
            if location is not None and location.root == root and location.relative != without:
                texts.append((location.relative, document.text))
        entry.buffers.update(texts)
        return entry.buffers

    def _snapshot(self, entry: _Entry) -> Snapshot | None:
        """What is committed; every search sees the newest."""
        if entry.snapshot is None:
            entry.snapshot = Snapshot.open(entry.repository, entry.folder)
        return entry.snapshot

    def _spawn(self, entry: _Entry, *, rebuild: bool, only_if_behind: bool) -> asyncio.Task[dict[str, Any]]:
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
        self, entry: _Entry, before: asyncio.Task[dict[str, Any]] | None, rebuild: bool, only_if_behind: bool
    ) -> dict[str, Any]:
        if before is not None:
            await asyncio.wait([before])
        options, _ = await self._lane.run(self._options_for, entry.repository)
        entry.filters = _filters(entry, options)
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
            log.warning("index of %s: %s", _root(entry.repository), entry.problem)
        else:
            entry.damaged = False
            await self._lane.run(
                self.search, _root(entry.repository), "", 1
            )  # so that the next finds it open
        return report

    async def _mark_used(self, entry: _Entry) -> None:
        """Once an hour of use is enough to say that this index is needed."""
        now = time.monotonic()
        if now - entry.marked > MARK_USED_S and await self._lane.run(mark_used, entry.folder):
            entry.marked = now

    async def collect_garbage(self) -> None:
        """Remove the indexes of repositories that are gone, or not used for `index.keep_days`."""
        used = {str(entry.folder) for entry in self._entries.values() if entry.running}
        await asyncio.to_thread(collect, self._folder, self._config().keep_days, spare=used)

    def _is_behind(self, entry: _Entry, options: IndexOptions) -> bool:
        fresh = mccomd_index.find_repository(_root(entry.repository))
        if fresh is None:
            return False
        entry.repository = fresh
        return mccomd_index.status(fresh, entry.folder, options).state is not IndexState.CURRENT

    def _read_status(self, entry: _Entry) -> tuple[mccomd_index.Status, Sequence[str]]:
        fresh = mccomd_index.find_repository(_root(entry.repository))
        if fresh is None:
            gone = "the repository is gone"
            return mccomd_index.Status(IndexState.MISSING, gone, None, None, -1, 0, 0, 0, ""), ()
        entry.repository = fresh
        options, problems = self._options_for(fresh)
        found = mccomd_index.status(fresh, entry.folder, options)
        if self._open and entry.snapshot is not None:
            with contextlib.suppress(mccomd_index.IndexingError):
                unsaved = entry.snapshot.unsaved(self._buffers(entry))
                found = dataclasses.replace(found, overlay_files=found.overlay_files + unsaved)
        return found, problems

    async def _ask_worker(self, entry: _Entry, options: IndexOptions, rebuild: bool) -> dict[str, Any]:
        root = _root(entry.repository)

        def progressed(event: dict[str, Any]) -> None:
            entry.progress = Progress(root, int(event["files"]), int(event["total"]), float(event["mb"]))
            for sink in entry.sinks:
                sink(entry.progress)

        report = await self._worker.refresh(root, entry.folder, options, rebuild, progressed)
        if report.get("crashed"):
            entry.crashes += 1
        return report

    async def _status_of(self, entry: _Entry) -> RepositoryStatus:
        found, problems = await self._lane.run(self._read_status, entry)
        progress = entry.progress
        watch, watch_reason = self._watching.state(_root(entry.repository))
        if not self._config().enabled:
            problems = ["index.enabled is false in the config", *problems]
        return RepositoryStatus(
            repository=_root(entry.repository),
            state=found.state.value,
            reason="; ".join(
                [*problems, entry.problem or found.reason, *([found.note] if found.note else [])]
            ),
            head=found.head or "",
            behind=found.behind,
            overlay_files=found.overlay_files,
            files=found.files,
            chunks=found.chunks,
            indexing=entry.running is not None,
            progress=progress.files / progress.total if progress and progress.total else 0.0,
            watch=watch,
            watch_reason=watch_reason,
        )

    async def _result(self, entry: _Entry, report: dict[str, Any], started: float) -> RefreshResult:
        now = await self._status_of(entry)
        return RefreshResult(
            repository=now.repository,
            state=now.state,
            reason=str(report.get("reason") or now.reason),
            head=now.head,
            behind=now.behind,
            overlay_files=now.overlay_files,
            files=now.files,
            chunks=now.chunks,
            changed_files=int(report.get("changed_files", 0)),
            rebuilt=bool(report.get("rebuilt", False)),
            ms=(time.monotonic() - started) * 1000,
        )


def files_at_head(root: str) -> list[str]:
    """The regular files of a repository's HEAD, by their paths in it, in order."""
    repository = mccomd_index.find_repository(root)
    return [] if repository is None else mccomd_index.files_at_head(repository)


def folder_name(common_dir: str) -> str:
    """Legible and unique: the repository's name and a hash of where its git directory lies.

    All work trees of a repository have that directory in common, and so their index.
    """
    digest = hashlib.sha256(os.fsencode(common_dir)).hexdigest()[:16]
    root = common_dir.rstrip("/").removesuffix("/.git")
    name = "".join(c if c.isalnum() or c in "._-" else "_" for c in os.path.basename(root))
    return f"{name[:40]}-{digest}"


def _filters(entry: _Entry, options: IndexOptions | None = None) -> Filters:
    """What never enters this repository's index, with its ignore files as they are on disk now."""
    if entry.filters is None or (options is not None and entry.filters.options != options):
        entry.filters = Filters(options or IndexOptions(), live_ignore_files(entry.repository))
    return entry.filters


def _root(repository: Repository) -> str:
    return repository.work_tree or repository.git_dir
