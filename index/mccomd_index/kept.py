"""What is known of contents, whoever names them: what they define, and which have nothing to find.

Two tables of definitions: by content, as it is shown (its outline), and by name, as it is looked up.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .database import Database


class Row(NamedTuple):
    """A definition as it is found by its name."""

    name: str
    content: int
    line: int  # that its name stands on; lines are 1-based
    first: int  # of its decorators
    last: int  # inclusive
    kind: str  # the first letter of function, class, value


class Kept(Database):
    """The rows of contents."""

    def is_barren(self, content: int) -> bool:
        """Whether a content is known to have no chunks: empty, binary, minified, generated."""
        return self._db.execute("SELECT 1 FROM barren WHERE content = ?", (content,)).fetchone() is not None

    def add_barren(self, content: int) -> None:
        self._db.execute("INSERT OR IGNORE INTO barren VALUES (?)", (content,))

    def outline(self, content: int) -> str | None:
        """What a content defines, as `outlines.packed` writes it; None where that is not known."""
        row = self._db.execute("SELECT text FROM outlines WHERE content = ?", (content,)).fetchone()
        return None if row is None else str(row[0])

    def has_outline(self, content: int) -> bool:
        found = self._db.execute("SELECT 1 FROM outlines WHERE content = ?", (content,))
        return found.fetchone() is not None

    def put_outline(self, content: int, text: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO outlines VALUES (?, ?)", (content, text))

    def put_definitions(self, rows: Iterable[tuple[str, int, int, int, int, str]]) -> None:
        """Add what contents define; sorted, a large table takes them three times as fast."""
        self._db.executemany("INSERT OR REPLACE INTO definitions VALUES (?, ?, ?, ?, ?, ?)", rows)

    def defining(self, name: str, most: int) -> list[tuple[int, int, int, int, str]]:
        """(content, line, first, last, kind) of a name's definitions, in all contents; so many at most."""
        return self._db.execute(
            "SELECT content, line, first, last, kind FROM definitions WHERE name = ? LIMIT ?", (name, most)
        ).fetchall()

    def trim(self) -> None:
        """Forget what is known of contents that no view names."""
        for table in ("barren", "outlines", "definitions"):
            named = "SELECT 1 FROM places INDEXED BY by_content WHERE places.content = t.content"
            self._db.execute(f"DELETE FROM {table} AS t WHERE NOT EXISTS ({named})")
