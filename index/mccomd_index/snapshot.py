"""The reading side: words in, hits with their text out.

Every search sees one committed state of its work tree's view, possibly written by another process a
moment ago. The store holds contents of other branches and work trees, too: what the view does not name is
passed over.
For use from several threads.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from .buffers import Buffers, Unsaved
from .chunk import lines_between
from .database import NAME, Moment, identity
from .errors import CorruptError, FolderError
from .facts import Facts
from .git import Git
from .look import Look
from .mapped import Shared
from .stamp import Stamp
from .store import MAX_CONSIDERED, MAX_TERMS, MAX_WEIGHTED, Found, Reader
from .texts import Files, Outlines
from .tokens import query_terms, weighted_terms
from .types import Hit, Repository
from .views import OVERLAY, Held, View, Views

MAX_QUERY = 20_000  # characters; of longer queries the end counts, which is nearest to a cursor
SPARE = 24  # more than asked for: a second search costs as much as the first, 24 more hits 20 µs
MAX_CANDIDATES = 4_000  # chunks looked at when `exclude` or copies use hits up
MAX_SHARE = 8.0  # so many times more are looked at where most of the store is not of this view

Exclude = Callable[[str, int, int], bool]  # path, first line, last line


@dataclass(frozen=True)
class _Open:
    """One open generation."""

    generation: str
    version: int
    reader: Reader


class _Seen(NamedTuple):
    """A chunk found in the view: what Tantivy found, and where it stands."""

    found: Found
    held: Held


@dataclass(frozen=True)
class _State:
    """One committed state: the rows, what is known of them, and a reader that has at least their contents."""

    views: Views
    facts: Facts | None  # None: the work tree has no view
    reader: Reader


class Snapshot:
    """The view of one work tree, open for searching."""

    def __init__(self, repository: Repository, folder: Path, git: Git, views: Views) -> None:
        self._place = repository.git_dir
        self._folder = folder
        self._files = Files(git, repository.work_tree)
        self._outlines = Outlines()
        self._lock = threading.Lock()
        self._identity = identity(folder)
        self._idle = [views]  # connections that no search uses; each search has one of its own
        self._shared = Shared(folder / f"{NAME}-shm")
        self._open: _Open | None = None
        self._facts: Facts | None = None
        self._stamp: Stamp | None = None

    @classmethod
    def open(cls, repository: Repository, folder: Path) -> Snapshot | None:
        """Open the index of a work tree; None while there is none that this version can read.

        RepositoryError: the repository is gone or broken.  FolderError: the index folder cannot be read;
        Tantivy's readers need to write a lock file there, too.
        """
        try:
            views = Views.open(folder)
            if views is None:
                return None
            snapshot = cls(repository, folder, Git(repository), views)
            with snapshot._state() as state:
                if state.facts is not None:
                    return snapshot
        except CorruptError:
            return None
        snapshot.close()
        return None

    @property
    def stamp(self) -> Stamp:
        """What the last search, or `reload`, has seen."""
        if self._stamp is None:
            raise CorruptError(f"{self._folder}: the index of this work tree is gone; refresh it")
        return self._stamp

    @property
    def commit(self) -> str:
        """HEAD as the last search has seen it; "" unborn, or gone."""
        return (self._stamp.commit or "") if self._stamp else ""

    def search(
        self,
        query: str | Sequence[tuple[str, float]],
        limit: int,
        exclude: Exclude | None = None,
        buffers: Buffers | None = None,
    ) -> list[Hit]:
        """The best chunks for the words of a text, best first; equal scores by path and line.

        query: a text, or several, each with how much its words count.
        exclude: says of a path and its lines that they must not be found.
        buffers: unsaved texts, which win over what the index has at their paths.
        Copies of one text count once; what cannot be read back is left out.
        CorruptError: the index is damaged; refresh with rebuild cures it.
        """
        if isinstance(query, str):
            terms, most = dict.fromkeys(query_terms(query[-MAX_QUERY:]), 1.0), MAX_TERMS
        else:
            pieces = [(text[-MAX_QUERY:], weight) for text, weight in query]
            terms, most = weighted_terms(pieces), MAX_WEIGHTED
        limit = min(limit, MAX_CANDIDATES)
        with self._state() as state:
            if state.facts is None or limit <= 0:
                return []
            unsaved = self._unsaved(state, buffers) if buffers else None
            if unsaved is None or not unsaved.paths:
                return self._search(state, (terms, most), limit, exclude)

            def hidden(path: str, start: int, end: int) -> bool:
                return path in unsaved.paths or (exclude is not None and exclude(path, start, end))

            hits = self._search(state, (terms, most), limit, hidden)
            some = dict(islice(terms.items(), MAX_CONSIDERED))
            for one in unsaved.search(some, state.reader.frequency, state.reader.chunks):
                if exclude is None or not exclude(one.path, one.start_line, one.end_line):
                    hits.append(Hit(one.path, one.start_line, one.end_line, one.score, "", one.text))
            return sorted(hits, key=lambda hit: (-hit.score, hit.path, hit.start_line))[:limit]

    def unsaved(self, buffers: Buffers) -> int:
        """How many buffers differ from files that the index has without a difference from HEAD."""
        with self._state() as state:
            if state.facts is None:
                return 0
            views, view = state.views, state.facts.view
            paths = self._unsaved(state, buffers).paths
            return sum(views.at(view.id, OVERLAY, path) is None for path in paths)

    @contextlib.contextmanager
    def looking(self, buffers: Buffers | None = None) -> Iterator[Look | None]:
        """One state of the view to look definitions up in, for as long as the block takes; None: no view.

        buffers: unsaved texts, which win over what the index has at their paths.
        """
        with self._state() as state:
            if state.facts is None:
                yield None
                return
            unsaved = self._unsaved(state, buffers) if buffers else Unsaved()
            yield Look(state.views, state.facts, state.reader, self._files.text, self._outlines.of, unsaved)

    def reload(self) -> None:
        """Look at what was committed since; every search does, too."""
        with contextlib.suppress(FolderError, CorruptError), self._state():
            pass

    def close(self) -> None:
        self._files.close()
        with self._lock:
            self._shared.mend()
            idle, self._idle = self._idle, []
        for views in idle:
            views.close()

    def _search(
        self, state: _State, query: tuple[Mapping[str, float], int], limit: int, exclude: Exclude | None
    ) -> list[Hit]:
        facts, reader = state.facts, state.reader
        if facts is None:
            return []
        hits: list[Hit] = []
        share = max(1.0, min(reader.chunks / max(facts.view.chunks, 1), MAX_SHARE))
        looked_at, wanted, most = 0, int((limit + SPARE) * share), int(MAX_CANDIDATES * share)
        while True:
            found = reader.search(query[0], wanted, query[1])
            for one in _seen(state.views, facts, found[looked_at:], exclude):
                hits.extend(self._hit(one, facts.view.head or ""))
                if len(hits) >= limit:
                    break
            if len(hits) >= limit or len(found) < wanted or wanted >= most:
                return hits
            looked_at, wanted = wanted, min(wanted * 4, most)

    def _hit(self, seen: _Seen, commit: str) -> list[Hit]:
        """The hit with its text; none where that cannot be read, or has changed on disk since."""
        held, found = seen.held, seen.found
        text = self._files.text(held)
        if text is None:
            return []
        start, end = found.start_line, found.end_line
        lines = lines_between(text, start, end)
        if held.layer == OVERLAY:
            commit = ""
        return [Hit(held.path, start, end, score=found.score, commit=commit, text="\n".join(lines))]

    def _unsaved(self, state: _State, buffers: Buffers) -> Unsaved:
        def blob_at(path: str) -> str:
            return "" if state.facts is None else state.facts.blob(state.views, path)

        return buffers.differing(blob_at)

    @contextlib.contextmanager
    def _state(self) -> Iterator[_State]:
        """One committed state.

        The rows are pinned first: contents are committed before the rows that name them. A generation may go
        for the next between its row and its files; then the rows of now name one that is there.
        """
        views = self._borrow()
        try:
            with contextlib.ExitStack() as pinned:
                pinned.enter_context(views.reading())
                moment = views.moment()
                try:
                    reader = self._reader(moment)
                except CorruptError:
                    pinned.close()
                    pinned.enter_context(views.reading())
                    moment = views.moment()
                    reader = self._reader(moment)
                reader.check()
                yield _State(views, self._known(views, moment), reader)
        except BaseException:
            views.close()
            raise
        self._give_back(views)

    def _borrow(self) -> Views:
        with self._lock:
            now = identity(self._folder)
            if now != self._identity and now is not None:
                stale, self._idle, self._identity, self._open = self._idle, [], now, None
                for views in stale:
                    views.close()
            if self._idle:
                self._shared.mend()
                return self._idle.pop()
        found = Views.open(self._folder)
        if found is None:
            raise CorruptError(f"{self._folder}: the index is gone, or of another format; refresh it")
        return found

    def _give_back(self, views: Views) -> None:
        with self._lock:
            self._shared.note()
            self._idle.append(views)

    def _reader(self, moment: Moment) -> Reader:
        generation, version, _ = moment
        with self._lock:
            now = self._open
            if now is None or now.generation != generation:
                now = _Open(generation, version, Reader(self._folder / generation))
            elif now.version < version:
                now.reader.reload()
                now = _Open(generation, version, now.reader)
            self._open = now
            return now.reader

    def _known(self, views: Views, moment: Moment) -> Facts | None:
        """What is known of this moment: what was found before, or nothing yet."""
        facts = self._facts
        if facts is None or facts.moment != moment:
            view = views.view(self._place)
            facts = self._facts = None if view is None else Facts(moment, view)
            self._note(view, moment)
        return facts

    def _note(self, view: View | None, moment: Moment) -> None:
        if view is None:
            self._stamp = None
            return
        counts = view.files, view.chunks, view.overlay_files
        self._stamp = Stamp(view.head, view.options, moment.generation, moment.version, *counts)


def _seen(views: Views, facts: Facts, found: list[Found], exclude: Exclude | None) -> Iterator[_Seen]:
    """Those of the found chunks that stand in the view, each once, where `exclude` lets it; best first.

    Nobody is asked about more of them than are taken.
    """
    held = facts.held(views, {one.content for one in found})
    for _, equal in groupby(found, key=attrgetter("score")):
        seen: list[_Seen] = []
        for one in equal:
            for where in held[one.content]:
                if exclude is None or not exclude(where.path, one.start_line, one.end_line):
                    seen.append(_Seen(one, where))
                    break
        yield from sorted(seen, key=_place_of) if len(seen) > 1 else seen


def _place_of(one: _Seen) -> tuple[str, int]:
    return one.held.path, one.found.start_line
