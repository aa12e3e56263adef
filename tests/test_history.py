"""What is kept of answers and of what the large model cost, across restarts and damage."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from mccomd import history
from mccomd.history import Answered, History, Judged, Month, month_of

ANSWER = Answered(
    "run", "c-1", 1000.0, "m", "python", 0.4, 0, None, "local", 9, 1, 4, 4, 1, "space", -1.0, -1
)


def with_history(folder: Path, do: Callable[[History], Awaitable[None]]) -> History:
    async def run() -> History:
        found = History(folder)
        await found.load()
        await do(found)
        await found.close()
        return found

    return asyncio.run(run())


def test_what_became_of_an_answer_is_kept_across_restarts(tmp_path: Path) -> None:
    async def tell(kept: History) -> None:
        kept.answered(ANSWER)
        kept.answered(replace(ANSWER, request="c-2", model="other"))
        kept.judged(Judged("run", "c-1", "rejected", 0, 900.0))

    async def read(kept: History) -> None:
        assert await kept.answers("m") == [replace(ANSWER, verdict="rejected", shown_ms=900.0)]

    with_history(tmp_path / "state", tell)
    with_history(tmp_path / "state", read)
    path = tmp_path / "state" / history.FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_clients_word_is_not_overruled(tmp_path: Path) -> None:
    async def tell(kept: History) -> None:
        kept.answered(ANSWER)
        kept.judged(Judged("run", "c-1", "accepted", 1, 900.0))
        await kept.flush()
        kept.judged(Judged("run", "c-1", "rejected", 0, 901.0))
        kept.judged(Judged("another run", "c-1", "dismissed", 1, 901.0))
        (found,) = await kept.answers("m")
        assert (found.verdict, found.explicit) == ("accepted", 1)
        kept.judged(Judged("run", "c-1", "dismissed", 1, 950.0))
        assert [a.verdict for a in await kept.answers("m")] == ["dismissed"]

    with_history(tmp_path, tell)


def test_a_months_cost_adds_up(tmp_path: Path) -> None:
    month = month_of(1_790_000_000.0)
    assert month == "2026-09"

    async def spend(kept: History) -> None:
        before = kept.month(month).tokens
        kept.spent(Month(month, 1, 1000, 20, 0.5))
        assert kept.month(month).tokens == before + 1020
        kept.spent(Month("2026-10", 1, 7, 0, 0.0))

    with_history(tmp_path, spend)
    last = with_history(tmp_path, spend)
    assert last.month(month) == Month(month, 2, 2000, 40, 1.0)
    assert last.month("2026-11") == Month("2026-11")


def test_a_damaged_or_newer_database_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / history.FILE

    async def tell(kept: History) -> None:
        kept.answered(ANSWER)
        assert [a.request for a in await kept.answers("m")] == ["c-1"]
        assert kept.problem == ""

    path.write_bytes(b"not a database at all, and long enough to be looked at" * 20)
    with_history(tmp_path, tell)
    assert path.with_suffix(".broken").read_bytes().startswith(b"not a database")
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    with_history(tmp_path, tell)


def test_answers_of_another_confidence_are_forgotten_and_money_is_not(tmp_path: Path) -> None:
    async def spend(kept: History) -> None:
        kept.answered(ANSWER)
        kept.spent(Month("2026-11", 1, 10, 5, 0.25))
        assert [a.request for a in await kept.answers("m")] == ["c-1"]

    with_history(tmp_path, spend)
    with sqlite3.connect(tmp_path / history.FILE) as db:
        db.execute("PRAGMA user_version = 1")

    async def look(kept: History) -> None:
        assert await kept.answers("m") == []
        assert kept.month("2026-11").money == 0.25
        assert kept.problem == ""

    with_history(tmp_path, look)


def test_without_a_place_to_write_it_says_so_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")

    async def tell(kept: History) -> None:
        kept.answered(ANSWER)
        assert await kept.answers("m") == []
        assert "history.db" in kept.problem

    with_history(tmp_path / "state", tell)


def test_it_is_bounded(tmp_path: Path) -> None:
    async def run() -> None:
        kept = History(tmp_path, max_rows=50)
        for n in range(130):
            kept.answered(replace(ANSWER, request=f"c-{n}"))
        found = await kept.answers("m")
        assert [a.request for a in found] == [f"c-{n}" for n in range(80, 130)]
        await kept.close()

    asyncio.run(run())
