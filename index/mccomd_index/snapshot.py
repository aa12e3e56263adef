"""The reading side: words in, hits with their text out.

Every search sees one committed state of its work tree's view, possibly written by another process a
moment ago. The store holds contents of other branches and work trees, too: what the view does not name is
passed over.
For use from several threads.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path

from .buffers import Buffers, Unsaved
from .chunk import decode, split_lines
from .definitions import Definition
from .errors import CorruptError, FolderError
from .git import Git, blob_id
from .look import Look
from .mapped import Shared
from .overlay import read
from .packed import unpacked
from .stamp import Stamp
from .store import MAX_CONSIDERED, MAX_TERMS, Found, Reader
from .tokens import query_terms, weighted_terms
from .types import Hit, Repository
from .views import NAME, OVERLAY, View, Views, identity

MAX_QUERY = 20_000  # characters; of longer queries the end counts, which is nearest to a cursor
MAX_CACHED = 16_000_000  # characters of files kept for the next query: a cold file costs 0.2 ms
MAX_OUTLINES = 500  # of files, kept for the next round: 10 MB or so
MAX_WEIGHTED = 25  # words of a query whose texts have weights; see RANKING.md
MAX_CANDIDATES = 4_000  # chunks looked at when `exclude` or copies use hits up
MAX_SHARE = 8.0  # so many times more are looked at where most of the store is not of this view

Exclude = Callable[[str, int, int], bool]  # path, first line, last line


@dataclass(frozen=True)
class _Open:
    """One open generation."""

    generation: str
    version: int
    reader: Reader


@dataclass(frozen=True)
class _Seen:
    """A chunk found in the view: what Tantivy found, and where it stands."""

    found: Found
    layer: int
    path: str
    blob: str

    @property
    def place(self) -> tuple[str, int, int]:
        return self.path, self.found.start_line, self.found.end_line


class Snapshot:
    """The view of one work tree, open for searching."""

    def __init__(self, repository: Repository, folder: Path, git: Git, views: Views) -> None:
        self._place = repository.git_dir
        self._folder = folder
        self._files = _Files(git, repository.work_tree)
        self._outlines = _Outlines()
        self._lock = threading.Lock()
        self._identity = identity(folder)
        self._idle = [views]  # connections that no search uses; each search has one of its own
        self._shared = Shared(folder / f"{NAME}-shm")
        self._open: _Open | None = None
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
            with snapshot._state() as (_, view, _reader):
                if view is not None:
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
        with self._state() as (views, view, reader):
            if view is None or limit <= 0:
                return []
            unsaved = self._unsaved(views, view, buffers) if buffers else None
            if unsaved is None or not unsaved.paths:
                return self._search(views, view, reader, (terms, most), limit, exclude)

            def hidden(path: str, start: int, end: int) -> bool:
                return path in unsaved.paths or (exclude is not None and exclude(path, start, end))

            hits = self._search(views, view, reader, (terms, most), limit, hidden)
            some = dict(islice(terms.items(), MAX_CONSIDERED))
            for one in unsaved.search(some, reader.frequency, reader.chunks):
                if exclude is None or not exclude(one.path, one.start_line, one.end_line):
                    hits.append(Hit(one.path, one.start_line, one.end_line, one.score, "", one.text))
            return sorted(hits, key=lambda hit: (-hit.score, hit.path, hit.start_line))[:limit]

    def unsaved(self, buffers: Buffers) -> int:
        """How many buffers differ from files that the index has without a difference from HEAD."""
        with self._state() as (views, view, _):
            if view is None:
                return 0
            paths = self._unsaved(views, view, buffers).paths
            return sum(views.at(view.id, OVERLAY, path) is None for path in paths)

    @contextlib.contextmanager
    def looking(self, buffers: Buffers | None = None) -> Iterator[Look | None]:
        """One state of the view to look definitions up in, for as long as the block takes; None: no view.

        buffers: unsaved texts, which win over what the index has at their paths.
        """
        with self._state() as (views, view, reader):
            if view is None:
                yield None
                return
            unsaved = self._unsaved(views, view, buffers) if buffers else Unsaved()
            yield Look(views, view, reader, self._files.text_at, self._outlines.of, unsaved)

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
        self,
        views: Views,
        view: View,
        reader: Reader,
        query: tuple[Mapping[str, float], int],
        limit: int,
        exclude: Exclude | None,
    ) -> list[Hit]:
        hits: list[Hit] = []
        share = max(1.0, min(reader.chunks / max(view.chunks, 1), MAX_SHARE))
        looked_at, wanted, most = 0, int((limit + 8) * share), int(MAX_CANDIDATES * share)
        while True:
            found = reader.search(query[0], wanted, query[1])
            for one in self._seen(views, view, found[looked_at:], exclude):
                hits.extend(self._files.hit(one, view.head or ""))
                if len(hits) >= limit:
                    break
            if len(hits) >= limit or len(found) < wanted or wanted >= most:
                return hits
            looked_at, wanted = wanted, min(wanted * 4, most)

    def _unsaved(self, views: Views, view: View, buffers: Buffers) -> Unsaved:
        def blob_at(path: str) -> str:
            found = views.now(view.id, path)
            return "" if found is None else found[1].blob

        return buffers.differing(blob_at)

    def _seen(self, views: Views, view: View, found: list[Found], exclude: Exclude | None) -> Iterator[_Seen]:
        """Those of the found chunks that stand in the view, each once, where `exclude` lets it; best first.

        Nobody is asked about more of them than are taken.
        """
        places: dict[int, list[tuple[int, str, str]]] = {}
        for _, equal in groupby(found, key=lambda one: one.score):
            seen: list[_Seen] = []
            for one in equal:
                if one.content not in places:
                    places[one.content] = [
                        (layer, p.path, p.blob) for layer, p in views.seen(view.id, one.content)
                    ]
                candidates = (_Seen(one, *where) for where in places[one.content])
                shown = (where for where in candidates if exclude is None or not exclude(*where.place))
                seen += islice(shown, 1)
            yield from sorted(seen, key=lambda one: (one.path, one.found.start_line))

    @contextlib.contextmanager
    def _state(self) -> Iterator[tuple[Views, View | None, Reader]]:
        """One committed state: the view, the rows behind it, and a reader that has at least their contents.

        The rows are pinned first: contents are committed before the rows that name them. A generation may go
        for the next between its row and its files; then the rows of now name one that is there.
        """
        views = self._borrow()
        try:
            with contextlib.ExitStack() as pinned:
                pinned.enter_context(views.reading())
                try:
                    reader = self._reader(*views.generation())
                except CorruptError:
                    pinned.close()
                    pinned.enter_context(views.reading())
                    reader = self._reader(*views.generation())
                reader.check()
                view = views.view(self._place)
                self._note(view)
                yield views, view, reader
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

    def _reader(self, generation: str, version: int) -> Reader:
        with self._lock:
            now = self._open
            if now is None or now.generation != generation:
                now = _Open(generation, version, Reader(self._folder / generation))
            elif now.version < version:
                now.reader.reload()
                now = _Open(generation, version, now.reader)
            self._open = now
            return now.reader

    def _note(self, view: View | None) -> None:
        opened = self._open
        if view is None or opened is None:
            self._stamp = None
            return
        counts = view.files, view.chunks, view.overlay_files
        self._stamp = Stamp(view.head, view.options, opened.generation, opened.version, *counts)


class _Outlines:
    """What contents define, the latest kept: a content never changes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, Sequence[Definition]] = OrderedDict()

    def of(self, views: Views, content: int) -> Sequence[Definition]:
        """CorruptError: what is stored is no outline."""
        with self._lock:
            kept = self._kept.get(content)
            if kept is not None:
                self._kept.move_to_end(content)
                return kept
        found = unpacked(views.outline(content) or "")
        with self._lock:
            self._kept[content] = found
            if len(self._kept) > MAX_OUTLINES:
                self._kept.popitem(last=False)
        return found


class _Files:
    """Texts read back from git and from disk, the latest kept; one thread at a time inside."""

    def __init__(self, git: Git, work_tree: str | None) -> None:
        self._git = git
        self._work_tree = work_tree
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, str] = OrderedDict()  # blob -> text
        self._size = 0

    def hit(self, seen: _Seen, commit: str) -> list[Hit]:
        """The hit with its text; none where that cannot be read, or has changed on disk since."""
        path, start, end = seen.place
        text = self._text(seen)
        if text is None:
            return []
        lines = split_lines(text, end)[start - 1 : end]
        if seen.layer == OVERLAY:
            commit = ""
        return [Hit(path, start, end, score=seen.found.score, commit=commit, text="\n".join(lines))]

    def text_at(self, layer: int, path: str, blob: str) -> str | None:
        return self._text(_Seen(Found(0.0, 0, 1, 1), layer, path, blob))

    def _text(self, seen: _Seen) -> str | None:
        if seen.layer == OVERLAY:
            return self._text_on_disk(seen)
        with self._lock:
            if seen.blob in self._kept:
                self._kept.move_to_end(seen.blob)
                return self._kept[seen.blob]
            data = self._git.read(seen.blob)
            if data is None:
                return None
            text = self._kept[seen.blob] = decode(data)
            self._size += len(text)
            while self._size > MAX_CACHED and len(self._kept) > 1:
                self._size -= len(self._kept.popitem(last=False)[1])
            return text

    def _text_on_disk(self, seen: _Seen) -> str | None:
        """Read each time: what the file held when it was indexed must not be shown once it holds else."""
        data = read(self._work_tree or "", seen.path, MAX_CACHED)
        return decode(data) if data is not None and blob_id(data) == seen.blob else None

    def close(self) -> None:
        with self._lock:
            self._kept.clear()
            self._git.close()
