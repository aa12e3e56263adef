"""The SQLite file of a store: opened, begun anew, read and written in one piece.

Every change is one transaction: a reader sees the file as it was or as it is, whatever happens to the writer.

The only importer of sqlite3. Knows no git and no Tantivy, and of its rows only that of the store itself.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

from .errors import CorruptError, FolderError
from .stamp import FORMAT

NAME = "views.db"
BUSY_MS, SCRUB_MS = 10_000, 300  # waits for another connection

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


class Moment(NamedTuple):
    """One state of a store."""

    generation: str  # the folder of the live one
    version: int  # grows with every commit to it
    change: int  # grows with every transaction; no two stores begin with the same


class Database:
    """One connection. Not for several threads at once."""

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self._folder = folder
        self._db = connection

    @classmethod
    def open(cls, folder: Path) -> Self | None:
        """Open what is there; None where nothing is, or another format.

        CorruptError: it is damaged.  FolderError: it cannot be opened.
        """
        before = identity(folder)
        try:
            if found_format(folder) != FORMAT:
                return None
            with explained(folder):
                return cls(folder, _connect(folder, "rw"))
        except FolderError:
            if identity(folder) == before:
                raise
        return cls.open(folder)  # begun anew between two looks at it

    @classmethod
    def create(cls, folder: Path, generation: str) -> Self:
        """Begin anew, whatever was there; the generation's store is empty."""
        wipe(folder)
        with explained(folder):
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
        with explained(self._folder):
            self._db.execute("BEGIN")
            try:
                yield
            finally:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """All or nothing of what is done inside."""
        with explained(self._folder):
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

    def moment(self) -> Moment:
        """Which state of the store this is."""
        with explained(self._folder):
            row = self._db.execute("SELECT generation, version, change FROM store").fetchone()
        if row is None:
            raise CorruptError(f"{self._folder / NAME}: damaged: names no generation")
        return Moment(str(row[0]), int(row[1]), int(row[2]))

    def generation(self) -> str:
        """The folder of the live generation."""
        return self.moment().generation

    def set_generation(self, generation: str) -> None:
        self._db.execute("UPDATE store SET generation = ?, version = version + 1", (generation,))

    def scrub(self) -> None:
        """Empty the log into the file, as far as readers let us: deleted rows stand in it still.

        Waits a moment for those; where one stays, the log is emptied by later commits.
        """
        with contextlib.suppress(sqlite3.OperationalError):
            self._db.execute(f"PRAGMA busy_timeout = {SCRUB_MS}")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._db.execute(f"PRAGMA busy_timeout = {BUSY_MS}")

    def is_leaving(self) -> bool:
        """Whether the store has contents that must leave the disk."""
        return bool(self._db.execute("PRAGMA application_id").fetchone()[0])

    def set_leaving(self, leaving: bool) -> None:
        """Part of the transaction, as everything in the file's header is."""
        self._db.execute(f"PRAGMA application_id = {int(leaving)}")


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
    with explained(folder), contextlib.closing(_connect(folder, "rw")) as db:
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


@contextlib.contextmanager
def explained(folder: Path) -> Iterator[None]:
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
