"""What became of this user's answers, and what the large model cost: a small database in the state folder.

It holds numbers and kinds, no source text and no paths. What is told is kept in memory and written about once
a second, in a thread of its own. A database that cannot be read is put aside and begun anew; one that
cannot be written costs the memory of the past and nothing else.
"""

from __future__ import annotations

import datetime
import logging
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TypeVar

from mccomd.lane import Lane

__all__ = ["Answered", "History", "Judged", "Month", "month_of"]

FILE = "history.db"
VERSION = 2
"""1 had another confidence (the mean of the first tokens): its answers are dropped, its months stay."""
MAX_ROWS = 50_000
MAX_WAITING = 10_000

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answered:
    """One decision of a router, with what a filter in the way of Copilot's looks at."""

    run: str  # of the daemon: request ids begin anew with each
    request: str
    at: float  # time.time() seconds
    model: str
    language: str
    confidence: float
    escalated: int
    shadow: int | None  # whether the shadow router would have; None: there is none
    source: str  # local, none
    chars: int  # of the answer
    lines: int
    prefix_chars: int  # on the cursor's line
    indent: int
    blank_after: int  # whether only blanks follow on the line
    last_kind: str  # of the last character: letter, digit, space, open, close, quote, sign, none
    since_last_s: float  # since the answer before was judged; -1: never
    last_good: int  # whether that one was taken; -1: unknown
    verdict: str = ""  # of behaviour.py; "" = not judged
    explicit: int = 0
    shown_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of an answer."""

    run: str
    request: str
    verdict: str
    explicit: int
    shown_ms: float


@dataclass(slots=True)
class Month:
    """What the large model cost in one calendar month."""

    month: str  # 2026-11
    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    money: float = 0.0

    @property
    def tokens(self) -> int:
        return self.tokens_in + self.tokens_out


def month_of(at: float) -> str:
    """The user's calendar month of a time.time()."""
    return datetime.datetime.fromtimestamp(at).strftime("%Y-%m")


_COLUMNS = tuple(f.name for f in fields(Answered))
_TYPES = {"float": "REAL", "int": "INTEGER", "int | None": "INTEGER", "str": "TEXT"}
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS answers (id INTEGER PRIMARY KEY, "
    + ", ".join(f"{f.name} {_TYPES[str(f.type)]}" for f in fields(Answered))
    + ")",
    "CREATE INDEX IF NOT EXISTS answers_by_request ON answers (run, request)",
    "CREATE TABLE IF NOT EXISTS months (month TEXT PRIMARY KEY, calls INTEGER, tokens_in INTEGER, "
    "tokens_out INTEGER, money REAL)",
    f"PRAGMA user_version = {VERSION}",
)
_INSERT = f"INSERT INTO answers ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
# The client's word is not overruled by what is read from the text later.
_JUDGE = (
    "UPDATE answers SET verdict = ?, explicit = ?, shown_ms = ? "
    "WHERE run = ? AND request = ? AND (explicit = 0 OR ? = 1)"
)
_SPEND = (
    "INSERT INTO months VALUES (?, ?, ?, ?, ?) ON CONFLICT (month) DO UPDATE SET "
    "calls = calls + excluded.calls, tokens_in = tokens_in + excluded.tokens_in, "
    "tokens_out = tokens_out + excluded.tokens_out, money = money + excluded.money"
)


class History:
    """Tell it from the event loop; read it with `await`."""

    def __init__(self, folder: Path, max_rows: int = MAX_ROWS) -> None:
        self._path = folder / FILE
        self._max_rows = max_rows
        self._lane = Lane("history")
        self._waiting: list[tuple[str, Sequence[object]]] = []
        self._months: dict[str, Month] = {}
        self.loaded = False
        self.problem = ""

    # --- told -----------------------------------------------------------------------------------

    def answered(self, answered: Answered) -> None:
        self._put(_INSERT, astuple(answered))

    def judged(self, judged: Judged) -> None:
        self._put(
            _JUDGE,
            (judged.verdict, judged.explicit, judged.shown_ms, judged.run, judged.request, judged.explicit),
        )

    def spent(self, cost: Month) -> None:
        """Add what one request cost."""
        month = self._months.setdefault(cost.month, Month(cost.month))
        month.calls += cost.calls
        month.tokens_in += cost.tokens_in
        month.tokens_out += cost.tokens_out
        month.money += cost.money
        self._put(_SPEND, astuple(cost))

    def month(self, month: str) -> Month:
        """What was spent so far; complete once `loaded`."""
        return self._months.get(month) or Month(month)

    # --- kept -----------------------------------------------------------------------------------

    async def load(self) -> None:
        """Read what months before this start cost. Never raises."""
        for month in await self._in_lane(_months, list[Month]()):
            known = self._months.setdefault(month.month, Month(month.month))
            known.calls += month.calls
            known.tokens_in += month.tokens_in
            known.tokens_out += month.tokens_out
            known.money += month.money
        self.loaded = True

    async def flush(self) -> None:
        """Write what was told since the last time. Never raises."""
        if self._waiting:
            batch, self._waiting = self._waiting, []
            await self._in_lane(lambda db: self._write(db, batch), None)

    async def answers(self, model: str) -> list[Answered]:
        """All that is kept of one model's answers, oldest first."""
        await self.flush()
        return await self._in_lane(lambda db: _answers(db, model), list[Answered]())

    async def close(self) -> None:
        await self.flush()
        self._lane.close()

    def _put(self, statement: str, values: Sequence[object]) -> None:
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append((statement, values))

    async def _in_lane(self, job: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        return await self._lane.run(self._guarded, job, otherwise)

    def _guarded(self, job: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        try:
            with closing(_open(self._path)) as db, db:
                found = job(db)
        except (sqlite3.Error, OSError) as error:
            if not self.problem:
                log.warning("the history cannot be used: %s: %s", self._path, error)
            self.problem = f"{self._path}: {error}"
            return otherwise
        self.problem = ""
        return found

    def _write(self, db: sqlite3.Connection, batch: Sequence[tuple[str, Sequence[object]]]) -> None:
        for statement, values in batch:
            db.execute(statement, values)
        db.execute("DELETE FROM answers WHERE id <= (SELECT max(id) FROM answers) - ?", (self._max_rows,))


def _open(path: Path) -> sqlite3.Connection:
    """The database, private to the user; a damaged or foreign one is put aside first."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        path.touch(mode=0o600)
    try:
        return _connect(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        log.warning("%s is damaged (%s): put aside, a new one is begun", path, error)
        path.replace(path.with_suffix(".broken"))
        path.touch(mode=0o600)
        return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=1.0)
    try:
        found = db.execute("PRAGMA user_version").fetchone()[0]
        if found == 1:
            with db:
                db.execute("DELETE FROM answers")
                db.execute(f"PRAGMA user_version = {VERSION}")
        elif found not in (0, VERSION):
            raise sqlite3.DatabaseError(f"its version is {found}, this mccomd writes {VERSION}")
        if found == 0:
            with db:
                for statement in _SCHEMA:
                    db.execute(statement)
    except BaseException:
        db.close()
        raise
    return db


def _months(db: sqlite3.Connection) -> list[Month]:
    rows = db.execute("SELECT month, calls, tokens_in, tokens_out, money FROM months")
    return [Month(*row) for row in rows]


def _answers(db: sqlite3.Connection, model: str) -> list[Answered]:
    rows = db.execute(f"SELECT {', '.join(_COLUMNS)} FROM answers WHERE model = ? ORDER BY id", (model,))
    return [Answered(*row) for row in rows]
