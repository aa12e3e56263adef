"""The reading side: words in, hits with their text out.

Reads what a refresh has committed, possibly in another process, and keeps that state until `reload`.
For use from several threads.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from .chunk import decode, split_lines
from .errors import CorruptError, FolderError
from .git import Git
from .stamp import FORMAT, Stamp, read_stamp, stamp_mark
from .store import Found, Reader
from .tokens import query_terms
from .types import Hit, Repository

MAX_QUERY = 20_000  # characters; of longer queries the end counts, which is nearest to a cursor
MAX_CACHED = 16_000_000  # characters of files kept for the next query: a cold file costs 0.2 ms
MAX_CANDIDATES = 2_000  # chunks looked at when `exclude` or copies use hits up

Exclude = Callable[[str, int, int], bool]  # path, first line, last line


class Snapshot:
    """A repository's committed index, open for searching."""

    def __init__(self, folder: Path, git: Git, reader: Reader, stamp: Stamp) -> None:
        self._folder = folder
        self._files = _Files(git)
        self._live = reader, stamp
        self._mark = stamp_mark(folder)
        self._reloading = threading.Lock()

    @classmethod
    def open(cls, repository: Repository, folder: Path) -> Snapshot | None:
        """Open an index; None while there is none that this version can read.

        RepositoryError: the repository is gone or broken.  FolderError: the index folder cannot be read;
        Tantivy's readers need to write a lock file there, too.
        """
        live = _open_live(folder)
        return None if live is None else cls(folder, Git(repository), *live)

    @property
    def stamp(self) -> Stamp:
        return self._live[1]

    def search(self, query: str, limit: int, exclude: Exclude | None = None) -> list[Hit]:
        """The best chunks for the words of a text, best first.

        exclude: says of a path and its lines that they must not be found.
        Copies of one text count once; what git cannot read back is left out.
        CorruptError: the index is damaged; refresh with rebuild cures it.
        """
        hits: list[Hit] = []
        reader, stamp = self._live
        seen: set[tuple[str, int, int]] = set()
        terms = query_terms(query[-MAX_QUERY:])
        limit = min(limit, MAX_CANDIDATES)
        looked_at, wanted = 0, limit + 8
        while limit > 0:
            found = reader.search(terms, wanted)
            for one in found[looked_at:]:
                if len(hits) < limit and _is_new(one, seen) and not (exclude and exclude(*_place(one))):
                    hits.extend(self._files.hit(one, stamp.commit or ""))
            if len(hits) >= limit or len(found) < wanted or wanted >= MAX_CANDIDATES:
                break
            looked_at, wanted = wanted, min(wanted * 4, MAX_CANDIDATES)
        return hits

    def reload(self) -> None:
        """See what was committed since; costs one stat when nothing was."""
        with self._reloading:
            mark = stamp_mark(self._folder)
            if mark is None or mark == self._mark:
                return
            try:
                live = _open_live(self._folder)
            except FolderError:  # what is open stays good; the next refresh says what is wrong
                return
            if live is not None:
                self._live, self._mark = live, mark

    def close(self) -> None:
        self._files.close()


class _Files:
    """Texts read back from git, the latest kept; one thread at a time inside."""

    def __init__(self, git: Git) -> None:
        self._git = git
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, str] = OrderedDict()  # blob -> text
        self._size = 0

    def hit(self, found: Found, commit: str) -> list[Hit]:
        """The hit with its text; empty where the blob cannot be read."""
        text = self._text(found.blob)
        if text is None:
            return []
        lines = split_lines(text, found.end_line)[found.start_line - 1 : found.end_line]
        return [Hit(*_place(found), score=found.score, commit=commit, text="\n".join(lines))]

    def _text(self, blob: str) -> str | None:
        with self._lock:
            if blob in self._kept:
                self._kept.move_to_end(blob)
                return self._kept[blob]
            data = self._git.read(blob)
            if data is None:
                return None
            text = self._kept[blob] = decode(data)
            self._size += len(text)
            while self._size > MAX_CACHED and len(self._kept) > 1:
                self._size -= len(self._kept.popitem(last=False)[1])
            return text

    def close(self) -> None:
        with self._lock:
            self._kept.clear()
            self._git.close()


def _place(found: Found) -> tuple[str, int, int]:
    return found.path, found.start_line, found.end_line


def _is_new(found: Found, seen: set[tuple[str, int, int]]) -> bool:
    key = found.blob, found.start_line, found.end_line
    if key in seen:
        return False
    seen.add(key)
    return True


def _open_live(folder: Path) -> tuple[Reader, Stamp] | None:
    """The generation that the stamp names; tried again when a writer swaps it in between."""
    for _ in range(5):
        try:
            stamp = read_stamp(folder)
        except CorruptError:
            return None
        if stamp is None or stamp.format != FORMAT:
            return None
        try:
            return Reader(folder / stamp.generation), stamp
        except CorruptError:
            continue
    return None
