"""Each repository's index as the daemon sees it: where a path belongs, what a search finds, its state.

When an index is brought in step is decided in following.py; what unsaved texts there are is known here.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import mccomd_index
from mccomd.config import IndexConfig
from mccomd.errors import RequestError
from mccomd.following import Following, OptionsFor
from mccomd.housekeeping import collect
from mccomd.lane import Lane
from mccomd.protocol import ErrorCode, RefreshResult, RepositoryStatus
from mccomd.repositories import Entry, ProgressSink, folder_name, root_of
from mccomd.types import Document, Snippet
from mccomd_index import Buffers, IndexOptions, Repository, Snapshot, Stamp

__all__ = ["Indexed", "Indexing", "Location", "files_at_head"]

log = logging.getLogger(__name__)

Refused = Callable[[str], bool]
T = TypeVar("T")

LOCATE_AGAIN_S = 2.0
"""`git init` and `rm -r .git` are seen after so long."""
MAX_LOCATED = 10_000


@dataclass(frozen=True, slots=True)
class Location:
    """A path and its repository."""

    root: str | None  # None outside any
    relative: str  # the path within the repository; the file's name outside any


@dataclass(frozen=True, slots=True)
class Indexed:
    """A state of a repository's index."""

    folder: Path
    options: IndexOptions
    stamp: Stamp


class Indexing:
    """All repositories that this daemon has met."""

    def __init__(self, folder: Path, options_for: OptionsFor, config: Callable[[], IndexConfig]) -> None:
        self._folder = folder
        self._options_for = options_for
        self._config = config
        self._entries: dict[str, Entry] = {}
        self._located: dict[str, tuple[float, Location]] = {}  # path -> (time.monotonic(), where)
        self._open: dict[str, tuple[object, Document]] = {}  # path -> whose text, the latest changed last
        self._lane = Lane("index-reads")
        self._following = Following(
            self._entries, options_for, config, self._lane, lambda entry: self.search(entry.root, "", 1)
        )  # the search opens it for the next one

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
        return self._following.hushed()

    def known_root(self, path: str) -> str | None:
        """The repository of a path that was located before; None when it was not, or is outside any."""
        _, location = self._located.get(path, (0.0, None))
        return location.root if location else None

    def touch(self, root: str) -> None:
        """Somebody works in this repository: see, in the background, that its index follows HEAD."""
        self._following.touch(root)

    def commit_of(self, root: str | None) -> str:
        """The commit that searches of a repository see; "" while there is no index, or no repository."""
        entry = self._entries.get(root) if root else None
        return entry.snapshot.commit if entry and entry.snapshot else ""

    def indexed(self, root: str) -> Indexed | None:
        """What searches of a repository see; None while they see nothing."""
        entry = self._entries.get(root)
        if entry is None or entry.snapshot is None:
            return None
        try:
            return Indexed(entry.folder, entry.filtered_by().options, entry.snapshot.stamp)
        except mccomd_index.IndexingError:
            return None

    def refuses_any(self, root: str, paths: Sequence[str]) -> bool:
        """Whether one of the paths must not be shown any more. For any thread."""
        entry = self._entries.get(root)
        if entry is None:
            return False
        refuse = entry.filtered_by().refuse_path
        return any(refuse(path) is not None for path in paths)

    def has_all(self, root: str, paths: Sequence[str]) -> bool:
        """Whether the index has all of these files. For any thread."""

        def question(snapshot: Snapshot, refused: Refused) -> bool:
            with snapshot.looking() as look:
                return look is not None and set(paths) <= set(look.paths())

        return bool(self.ask(root, question))

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
            snapshot = entry.opened()
            refuse = entry.filtered_by().refuse_path
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
        started = time.monotonic()
        report = await self._following.refresh(entry, rebuild=rebuild, wait=wait, sink=sink)
        if "error" in report:
            raise RequestError(ErrorCode.INDEX_FAILED, str(report["error"]))
        return await self._result(entry, report, started)

    async def status(self) -> list[RepositoryStatus]:
        return [await self._status_of(entry) for entry in list(self._entries.values())]

    async def status_of(self, root: str) -> RepositoryStatus:
        return await self._status_of(self._entries[root])

    async def close(self) -> None:
        await self._following.close()
        for entry in self._entries.values():
            if entry.snapshot:
                entry.snapshot.close()
        self._lane.close()

    # --- inside -------------------------------------------------------------------------------

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
        root = root_of(repository)
        known = self._entries.get(root)
        if known is None:
            self._entries[root] = Entry(repository, self._folder / folder_name(repository.common_dir))
        else:
            known.repository = repository
        return root

    def _buffers(self, entry: Entry, without: str = "") -> Buffers:
        """The texts that clients have open in this work tree, as they are now. For any thread."""
        root = entry.root
        texts = []
        for path, (_, document) in reversed(list(self._open.items())):
            _, location = self._located.get(path, (0.0, None))
            if location is None and path.startswith(f"{root}/"):  # just opened: nobody has looked yet
                location = Location(root, path.removeprefix(f"{root}/"))
            if location is not None and location.root == root and location.relative != without:
                texts.append((location.relative, document.text))
        entry.buffers.update(texts)
        return entry.buffers

    async def collect_garbage(self) -> None:
        """Remove the indexes of repositories that are gone, or not used for `index.keep_days`."""
        used = {str(entry.folder) for entry in self._entries.values() if entry.running}
        await asyncio.to_thread(collect, self._folder, self._config().keep_days, spare=used)

    def _read_status(self, entry: Entry) -> tuple[mccomd_index.Status, Sequence[str]]:
        fresh = mccomd_index.find_repository(entry.root)
        if fresh is None:
            gone = "the repository is gone"
            return mccomd_index.Status(mccomd_index.IndexState.MISSING, gone, None, None, -1, 0, 0, 0, ""), ()
        entry.repository = fresh
        options, problems = self._options_for(fresh)
        found = mccomd_index.status(fresh, entry.folder, options)
        if self._open and entry.snapshot is not None:
            with contextlib.suppress(mccomd_index.IndexingError):
                unsaved = entry.snapshot.unsaved(self._buffers(entry))
                found = dataclasses.replace(found, overlay_files=found.overlay_files + unsaved)
        return found, problems

    async def _status_of(self, entry: Entry) -> RepositoryStatus:
        found, problems = await self._lane.run(self._read_status, entry)
        progress = entry.progress
        watch, watch_reason = self._following.watched(entry.root)
        if not self._config().enabled:
            problems = ["index.enabled is false in the config", *problems]
        return RepositoryStatus(
            repository=entry.root,
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

    async def _result(self, entry: Entry, report: dict[str, Any], started: float) -> RefreshResult:
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
