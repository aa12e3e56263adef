"""Which paths each work tree holds, and with what content: the views of a store.

A store belongs to a repository; all its work trees share it. A view is one work tree: rows (path, content) of
its HEAD, and of what differs from it on disk, the overlay, which wins. Content that no view names is dead.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import NamedTuple

from .database import NAME, explained
from .errors import CorruptError
from .kept import Kept
from .types import IndexOptions

HEAD, OVERLAY = 0, 1  # layers
UNREADABLE = -1  # in the place of a number of chunks: git lacks the blob


class Place(NamedTuple):
    """A path of a view and what it holds."""

    path: str
    content: int | None  # see `store.content_id`; None: nothing that can be found (gone, or refused)
    blob: str  # object id of its text in hex; "" with None
    chunks: int  # of it in the store; UNREADABLE
    mark: int = 0  # of the file on disk when it was read, 0: look again


class Held(NamedTuple):
    """A path that holds a content now."""

    layer: int
    path: str
    content: int
    blob: str
    chunks: int


@dataclass(frozen=True)
class View:
    """One work tree as it is indexed."""

    id: int
    head: str | None  # commit; None: HEAD was unborn
    options: IndexOptions
    files: int  # of HEAD, with at least one chunk
    chunks: int
    overlay_files: int  # that differ from HEAD on disk
    note: str  # what was left out of the overlay, and why


class Views(Kept):
    """The views of one store. Not for several threads at once."""

    def live_chunks(self) -> int:
        """Chunks that any view names, each content once."""
        distinct = "SELECT DISTINCT content, chunks FROM places WHERE chunks > 0"
        return int(self._db.execute(f"SELECT coalesce(sum(chunks), 0) FROM ({distinct})").fetchone()[0])

    def contents_of_others(self, view: int) -> Iterator[Place]:
        """Every content that the HEAD of another view holds, once."""
        rows = self._db.execute(
            "SELECT path, content, blob, chunks FROM places WHERE view != ? AND layer = 0 AND chunks > 0"
            " GROUP BY content",
            (view,),
        )
        return (_place(*row) for row in rows.fetchall())

    def forget_overlays(self) -> None:
        """Of all views; each comes back with the next look at its work tree."""
        self._db.execute("DELETE FROM places WHERE layer = 1")
        self._db.execute("UPDATE views SET overlay_files = 0")

    def is_named(self, content: int | None) -> bool:
        """Whether any view has this content."""
        return self._db.execute("SELECT 1 FROM places WHERE content = ?", (content,)).fetchone() is not None

    # --- views ----------------------------------------------------------------------------------

    def view(self, place: str) -> View | None:
        """The view of the work tree whose git directory is `place`."""
        with explained(self._folder):
            row = self._db.execute(
                "SELECT id, head, options, files, chunks, overlay_files, note FROM views WHERE place = ?",
                (_path_out(place),),
            ).fetchone()
            return None if row is None else View(row[0], row[1], _options(row[2]), *row[3:])

    def places_of_views(self) -> list[str]:
        with explained(self._folder):
            return [_path_in(row[0]) for row in self._db.execute("SELECT place FROM views")]

    def add(self, place: str, options: IndexOptions) -> View:
        cursor = self._db.execute(
            "INSERT INTO views (place, head, options, files, chunks, overlay_files, note)"
            " VALUES (?, NULL, ?, 0, 0, 0, '')",
            (_path_out(place), json.dumps(asdict(options))),
        )
        return View(int(cursor.lastrowid or 0), None, options, 0, 0, 0, "")

    def update(self, view: View) -> None:
        self._db.execute(
            "UPDATE views SET head = ?, options = ?, files = ?, chunks = ?, overlay_files = ?, note = ?"
            " WHERE id = ?",
            (
                view.head,
                json.dumps(asdict(view.options)),
                view.files,
                view.chunks,
                view.overlay_files,
                view.note,
                view.id,
            ),
        )

    def forget(self, place: str) -> None:
        found = self.view(place)
        if found is not None:
            self._db.execute("DELETE FROM places WHERE view = ?", (found.id,))
            self._db.execute("DELETE FROM views WHERE id = ?", (found.id,))

    # --- places ---------------------------------------------------------------------------------

    def put(self, view: int, layer: int, places: Iterable[Place]) -> None:
        """Add places, over those of the same path."""
        self._db.executemany(
            "INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (view, _path_out(p.path), layer, p.content, bytes.fromhex(p.blob), p.chunks, p.mark)
                for p in places
            ),
        )

    def remove(self, view: int, layer: int, paths: Iterable[str]) -> None:
        self._db.executemany(
            "DELETE FROM places WHERE view = ? AND path = ? AND layer = ?",
            ((view, _path_out(path), layer) for path in paths),
        )

    def clear(self, view: int, layer: int) -> None:
        self._db.execute("DELETE FROM places WHERE view = ? AND layer = ?", (view, layer))

    def at(self, view: int, layer: int, path: str) -> Place | None:
        row = self._db.execute(
            "SELECT path, content, blob, chunks, mark FROM places WHERE view = ? AND path = ? AND layer = ?",
            (view, _path_out(path), layer),
        ).fetchone()
        return None if row is None else _place(*row)

    def layer(self, view: int, layer: int) -> list[Place]:
        """All places of a layer, by path."""
        rows = self._db.execute(
            "SELECT path, content, blob, chunks, mark FROM places WHERE view = ? AND layer = ? ORDER BY path",
            (view, layer),
        )
        return [_place(*row) for row in rows]

    def unreadable(self, view: int) -> list[Place]:
        """Places of HEAD whose blob git lacked."""
        rows = self._db.execute(
            "SELECT path, content, blob, chunks, mark FROM places WHERE view = ? AND chunks = ?",
            (view, UNREADABLE),
        )
        return [_place(*row) for row in rows]

    def holding(self, view: int, contents: Iterable[int]) -> dict[int, list[Held]]:
        """The paths that hold each content now, by name; the overlay hides what it covers.

        Of each content asked for there is a list, which may be empty.
        """
        # Left to itself, SQLite walks all paths of the view for their order: 0.7 ms of 5,000, and not 5 µs.
        found: dict[int, list[Held]] = {content: [] for content in contents}
        rows = self._db.execute(
            "SELECT p.content, p.path, p.layer, p.blob, p.chunks FROM json_each(?) AS wanted"
            " CROSS JOIN places p INDEXED BY by_content ON p.content = wanted.value AND p.view = ?"
            " WHERE p.layer = 1 OR NOT EXISTS (SELECT 1 FROM places o WHERE o.view = p.view"
            " AND o.path = p.path AND o.layer = 1)",
            (json.dumps(list(found)), view),
        )
        for content, path, layer, blob, chunks in rows:
            found[content].append(Held(layer, _path_in(path), content, blob.hex(), chunks))
        for held in found.values():
            if len(held) > 1:
                held.sort(key=lambda one: _path_out(one.path))
        return found

    def now(self, view: int, path: str) -> tuple[int, Place] | None:
        """(layer, what a path holds): by the overlay where that has a word on it, otherwise by HEAD."""
        row = self._db.execute(
            "SELECT layer, path, content, blob, chunks, mark FROM places WHERE view = ? AND path = ?"
            " ORDER BY layer DESC LIMIT 1",
            (view, _path_out(path)),
        ).fetchone()
        return None if row is None else (int(row[0]), _place(*row[1:]))


def _place(path: bytes, content: int | None, blob: bytes, chunks: int, mark: int = 0) -> Place:
    return Place(_path_in(path), content, blob.hex(), chunks, mark)


def _options(text: str) -> IndexOptions:
    try:
        found = json.loads(text)
        names = tuple(found["ignore"]), tuple(found["languages"])
        return IndexOptions(int(found["max_file_kb"]), *names, tuple(found.get("ignore_files", ())))
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptError(f"{NAME}: damaged: options {text[:80]!r}") from error


def _path_out(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def _path_in(path: bytes) -> str:
    return bytes(path).decode("utf-8", "surrogateescape")
