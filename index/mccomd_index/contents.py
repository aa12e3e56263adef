"""Contents of one generation while it is written: added once each, counted, committed in portions.

A content is what a blob's text is in one language (`store.content_id`). Knows no path, no view and no git:
it is told how to read what it lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from . import filters
from .chunk import decode, split_lines
from .definitions import Definition
from .fields import Taken, taken
from .packed import KINDS, packed
from .store import Reader, Writer
from .views import UNREADABLE, Row, Views

PORTION = 64_000_000  # bytes of source between commits: after a crash so much is read again at most
ROWS = 100_000  # definitions written at once: sorted, each takes a third of the time


class Contents:
    """What a store has, and what is being added."""

    def __init__(self, views: Views, folder: Path, *, fresh: bool = False) -> None:
        """fresh: the folder is empty, nothing needs to be looked up in it."""
        self.folder = folder
        self.bytes = 0  # of source text taken in
        self._views = views
        self.fresh = fresh
        self._reader = None if fresh else Reader(folder)
        self._writer = Writer(folder, bulk=True) if fresh else None
        self._added: dict[int, int] = {}  # content -> chunks
        self._uncommitted = 0  # bytes
        self._rows: list[Row] = []  # of definitions, not written yet

    def ensure(self, content: int, language: str, read: Callable[[], bytes | None]) -> int:
        """How many chunks a content has, once it is in the store; UNREADABLE where it cannot be read."""
        known = self._known(content)
        if known is not None and (not known or self.fresh or self._views.has_outline(content)):
            return known
        data = read()
        if data is None:
            return UNREADABLE if known is None else known
        chunks, outline = taken_of(data, language)
        self._added[content] = len(chunks)
        if chunks:
            self._views.put_outline(content, packed(outline))
            self._rows += rows_of(content, outline)
            if len(self._rows) > ROWS:
                self._write_rows()
        else:
            self._views.add_barren(content)
        if chunks and known is None:  # otherwise a crash left them in the store, without their outline
            self.bytes += len(data)
            self._uncommitted += len(data)
            self._open_writer().add(content, chunks)
        if self._uncommitted > PORTION:
            self.commit()
        return len(chunks)

    def commit(self) -> bool:
        """Make what was added searchable; whether there was anything. Inside a transaction of the views."""
        self._write_rows()
        if self._writer is None:
            return False
        self._writer.commit()
        self._uncommitted = 0
        return True

    def _write_rows(self) -> None:
        rows, self._rows = self._rows, []
        rows.sort()
        self._views.put_definitions(rows)

    def stored(self) -> int:
        """Chunks of all contents, as committed."""
        if self._reader is None:
            self._reader = Reader(self.folder)
        self._reader.reload()
        return self._reader.chunks

    def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _known(self, content: int) -> int | None:
        added = self._added.get(content)
        if added is not None:
            return added
        if not self.fresh and self._reader is not None and (chunks := self._reader.chunks_of(content)):
            return chunks
        return 0 if self._views.is_barren(content) else None

    def _open_writer(self) -> Writer:
        if self._writer is None:
            self._writer = Writer(self.folder, bulk=False)
        return self._writer


def rows_of(content: int, outline: Sequence[Definition]) -> Iterator[Row]:
    """What a content defines, as it is found by name."""
    for name, kind, _, first, line, last in apart(outline):
        yield Row(name, content, line, first, last, KINDS[kind])


def apart(outline: Sequence[Definition]) -> Iterator[Definition]:
    """Definitions without those that go on with the one before: overloads, a property's setter."""
    before = "", ""
    for one in outline:
        now = one.name, one.container
        if now != before:
            yield one
        before = now


def taken_of(data: bytes, language: str) -> Taken:
    """What is kept of a file's bytes; nothing where they are no text that people wrote."""
    if filters.refuse_bytes(data):
        return Taken([], [])
    text = decode(data)
    lines = split_lines(text)
    longest = max(map(len, lines))
    if filters.refuse_text(text, lines, longest):
        return Taken([], [])
    return taken("\n".join(lines) if "\r" in text else text, lines, language, longest)
