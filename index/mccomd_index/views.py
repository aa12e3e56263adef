"""Which paths each work tree holds, and with what content: the views of a store, in SQLite.

A store belongs to a repository; all its work trees share it. A view is one work tree: rows (path, content) of
its HEAD, and of what differs from it on disk, the overlay, which wins. Content that no view names is dead.
Every change is one transaction: a reader sees a view as it was or as it is, whatever happens to the writer.

The only importer of sqlite3. Knows no git and no Tantivy.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from .errors import CorruptError, FolderError
from .stamp import FORMAT
from .types import IndexOptions

NAME = "views.db"
HEAD, OVERLAY = 0, 1  # layers
BUSY_MS, SCRUB_MS = 10_000, 300  # waits for another connection
UNREADABLE = -1  # in the place of a number of chunks: git lacks the blob

_TABLES = f"""
PRAGMA journal_mode = WAL;
BEGIN;
CREATE TABLE store (generation TEXT NOT NULL, version INTEGER NOT NULL, change INTEGER NOT NULL);
CREATE TABLE views (
    id INTEGER PRIMARY KEY, place BLOB NOT NULL UNIQUE, head TEXT, options TEXT NOT NULL,
    files INTEGER NOT NULL, chunks INTEGER NOT NULL, overlay_files INTEGER NOT NULL, note TEXT NOT NULL
);
CREATE TABLE places (
    view INTEGER NOT NULL, path BLOB NOT NULL, layer INTEGER NOT NULL,
    content INTEGER, blob BLOB, chunks INTEGER NOT NULL, mark INTEGER NOT NULL,
    PRIMARY KEY (view, path, layer)
) WITHOUT ROWID;
CREATE INDEX by_content ON places (content, view);
CREATE TABLE barren (content INTEGER PRIMARY KEY);
CREATE TABLE outlines (content INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE definitions (
    name TEXT NOT NULL, content INTEGER NOT NULL, line INTEGER NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL, kind TEXT NOT NULL,
    PRIMARY KEY (name, content, line)
) WITHOUT ROWID;
PRAGMA user_version = {FORMAT};
COMMIT;
"""


class Row(NamedTuple):
    """A definition as it is found by its name."""

    name: str
    content: int
    line: int  # that its name stands on; lines are 1-based
    first: int  # of its decorators
    last: int  # inclusive
    kind: str  # the first letter of function, class, value


class Place(NamedTuple):
    """A path of a view and what it holds."""

    path: str
    content: int | None  # see `store.content_id`; None: nothing that can be found (gone, or refused)
    blob: str  # object id of its text in hex; "" with None
    chunks: int  # of it in the store; UNREADABLE
    mark: int = 0  # of the file on disk when it was read, 0: look again


class Moment(NamedTuple):
    """One state of a store."""

    generation: str  # the folder of the live one
    version: int  # grows with every commit to it
    change: int  # grows with every transaction; no two stores begin with the same


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


class Views:
    """The views of one store. Not for several threads at once."""

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self._folder = folder
        self._db = connection

    @classmethod
    def open(cls, folder: Path) -> Views | None:
        """Open what is there; None where nothing is, or another format.

        CorruptError: it is damaged.  FolderError: it cannot be opened.
        """
        before = identity(folder)
        try:
            if found_format(folder) != FORMAT:
                return None
            with _explained(folder):
                return cls(folder, _connect(folder, "rw"))
        except FolderError:
            if identity(folder) == before:
                raise
        return cls.open(folder)  # begun anew between two looks at it

    @classmethod
    def create(cls, folder: Path, generation: str) -> Views:
        """Begin anew, whatever was there; the generation's store is empty."""
        wipe(folder)
        with _explained(folder):
            connection = _connect(folder, "rwc")
            connection.executescript(_TABLES)
            connection.execute("INSERT INTO store VALUES (?, 1, ?)", (generation, time.time_ns()))
            os.chmod(folder / NAME, 0o600)
            return cls(folder, connection)

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._db.close()

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """All reads inside see one state."""
        with _explained(self._folder):
            self._db.execute("BEGIN")
            try:
                yield
            finally:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """All or nothing of what is done inside."""
        with _explained(self._folder):
            self._db.execute("BEGIN IMMEDIATE")
            before = self._db.total_changes
            try:
                yield
                if self._db.total_changes != before:
                    self._db.execute("UPDATE store SET change = change + 1")
                self._db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    # --- the store ------------------------------------------------------------------------------

    def moment(self) -> Moment:
        """Which state of the store this is."""
        with _explained(self._folder):
            row = self._db.execute("SELECT generation, version, change FROM store").fetchone()
        if row is None:
            raise CorruptError(f"{self._folder / NAME}: damaged: names no generation")
        return Moment(str(row[0]), int(row[1]), int(row[2]))

    def generation(self) -> str:
        """The folder of the live generation."""
        return self.moment().generation

    def set_generation(self, generation: str) -> None:
        self._db.execute("UPDATE store SET generation = ?, version = version + 1", (generation,))

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

    def trim(self) -> None:
        """Forget what is known of contents that no view names."""
        for table in ("barren", "outlines", "definitions"):
            named = "SELECT 1 FROM places INDEXED BY by_content WHERE places.content = t.content"
            self._db.execute(f"DELETE FROM {table} AS t WHERE NOT EXISTS ({named})")

    def scrub(self) -> None:
        """Empty the log into the file, as far as readers let us: deleted rows stand in it still.

        Waits a moment for those; where one stays, the log is emptied by later commits.
        """
        with contextlib.suppress(sqlite3.OperationalError):
            self._db.execute(f"PRAGMA busy_timeout = {SCRUB_MS}")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._db.execute(f"PRAGMA busy_timeout = {BUSY_MS}")

    def is_named(self, content: int | None) -> bool:
        """Whether any view has this content."""
        return self._db.execute("SELECT 1 FROM places WHERE content = ?", (content,)).fetchone() is not None

    def is_leaving(self) -> bool:
        """Whether the store has contents that must leave the disk."""
        return bool(self._db.execute("PRAGMA application_id").fetchone()[0])

    def set_leaving(self, leaving: bool) -> None:
        """Part of the transaction, as everything in the file's header is."""
        self._db.execute(f"PRAGMA application_id = {int(leaving)}")

    # --- views ----------------------------------------------------------------------------------

    def view(self, place: str) -> View | None:
        """The view of the work tree whose git directory is `place`."""
        with _explained(self._folder):
            row = self._db.execute(
                "SELECT id, head, options, files, chunks, overlay_files, note FROM views WHERE place = ?",
                (_path_out(place),),
            ).fetchone()
            return None if row is None else View(row[0], row[1], _options(row[2]), *row[3:])

    def places_of_views(self) -> list[str]:
        with _explained(self._folder):
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


def found_format(folder: Path) -> int | None:
    """The format of what is in an index folder; None where nothing is.

    CorruptError: it is damaged.  FolderError: it cannot be opened.
    """
    place = folder / NAME
    try:
        if os.stat(place).st_size == 0:
            raise CorruptError(f"{place}: damaged (0 bytes)")
    except FileNotFoundError:
        return 1 if (folder / "stamp.json").exists() else None
    except OSError as error:
        raise FolderError(f"{place}: cannot be read: {error.strerror}") from error
    with _explained(folder), contextlib.closing(_connect(folder, "rw")) as db:
        found = int(db.execute("PRAGMA user_version").fetchone()[0])
    if found == 0:
        raise CorruptError(f"{place}: damaged: no index of ours")
    return found


def wipe(folder: Path) -> None:
    """Remove the views; who has them open reads on what he has."""
    for name in (NAME, f"{NAME}-wal", f"{NAME}-shm", "stamp.json"):
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise FolderError(f"{folder}: cannot be written: {error.strerror}") from error


def identity(folder: Path) -> tuple[int, int] | None:
    """A value that differs when the views were begun anew; costs one stat."""
    try:
        found = os.stat(folder / NAME)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _connect(folder: Path, mode: str) -> sqlite3.Connection:
    name = (folder / NAME).absolute().as_uri()
    db = sqlite3.connect(
        f"{name}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1000
    )
    db.execute("PRAGMA synchronous = NORMAL")  # a power cut may lose the last commits, which are made again
    db.execute("PRAGMA secure_delete = ON")  # names of what became secret are gone with their row
    db.execute("PRAGMA cache_size = -4000")  # KB
    return db


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


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """SQLite's errors as ours."""
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if any(sign in text for sign in ("no such table", "no such column", "malformed", "has no column")):
            raise CorruptError(f"{folder / NAME}: damaged: {text}") from error
        raise FolderError(f"{folder}: the index folder cannot be written: {text}") from error
    except sqlite3.DatabaseError as error:
        raise CorruptError(f"{folder / NAME}: damaged: {error}") from error
