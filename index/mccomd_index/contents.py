"""Contents of one generation while it is written: added once each, counted, committed in portions.

A content is what a blob's text is in one language (`store.content_id`). Knows no path, no view and no git:
it is told how to read what it lacks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from .helper import Helper
from .parts import Part, Row, part_of
from .store import Reader, Writer
from .views import UNREADABLE, Views

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
        self._helper: Helper | None = None

    def ensure(self, content: int, language: str, read: Callable[[], bytes | None]) -> int:
        """How many chunks a content has, once it is in the store; UNREADABLE where it cannot be read."""
        if self._helper is not None:
            self._take_in(self._helper)
        known = self._known(content)
        if known is not None and (not known or self.fresh or self._views.has_outline(content)):
            return known
        data = read()
        if data is None:
            return UNREADABLE if known is None else known
        return self._keep(part_of(content, language, data), stored=known is not None)

    def lacks(self, content: int) -> bool:
        """Whether the store has no chunks of a content; it may have none."""
        return content not in self._added and (self._reader is None or not self._reader.chunks_of(content))

    @contextlib.contextmanager
    def helped(self, helper: Helper | None) -> Iterator[None]:
        """In this block, take in what another process has taken apart."""
        self._helper = helper
        try:
            yield
        finally:
            self._helper = None
            if helper is not None:
                helper.close()

    def _take_in(self, helper: Helper) -> None:
        for part in helper.arrived():
            if self._known(part.content) is None:
                self._keep(part, stored=False)

    def _keep(self, part: Part, *, stored: bool) -> int:
        """Add a content; how many chunks it has.

        stored: its chunks are there: a crash left them in the store without their outline.
        """
        content, size, chunks, outline, rows = part
        self._added[content] = len(chunks)
        if chunks:
            self._views.put_outline(content, outline)
            self._rows += rows
            if len(self._rows) > ROWS:
                self._write_rows()
        else:
            self._views.add_barren(content)
        if chunks and not stored:
            self.bytes += size
            self._uncommitted += size
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
