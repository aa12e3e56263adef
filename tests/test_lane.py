"""A lane runs jobs in order in one thread and never holds the process."""

from __future__ import annotations

import asyncio
import threading

import pytest

from mccomd.lane import Lane


def test_jobs_run_in_order_in_one_thread() -> None:
    async def scene() -> list[tuple[int, str]]:
        lane = Lane("test-lane")
        found = await asyncio.gather(
            *(lane.run(lambda n=n: (n, threading.current_thread().name)) for n in range(9))
        )
        lane.close()
        return list(found)

    assert asyncio.run(scene()) == [(n, "test-lane") for n in range(9)]


def test_the_newest_goes_first_and_a_higher_rank_last() -> None:
    async def scene() -> list[str]:
        lane, gate, ran = Lane("test-lane", newest_first=True), threading.Event(), list[str]()
        first = asyncio.ensure_future(lane.run(gate.wait))
        await asyncio.sleep(0)
        rest = [asyncio.ensure_future(lane.run(ran.append, f"warm {n}", rank=1)) for n in range(2)]
        rest += [asyncio.ensure_future(lane.run(ran.append, f"asked {n}")) for n in range(3)]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(first, *rest)
        return ran

    assert asyncio.run(scene()) == ["asked 2", "asked 1", "asked 0", "warm 1", "warm 0"]


def test_an_exception_is_the_waiters() -> None:
    async def scene() -> int:
        lane = Lane("test-lane")
        with pytest.raises(ZeroDivisionError):
            await lane.run(lambda: 1 // 0)
        return await lane.run(lambda: 7)

    assert asyncio.run(scene()) == 7


def test_a_job_nobody_waits_for_is_dropped() -> None:
    async def scene() -> list[str]:
        lane, gate, ran = Lane("test-lane"), threading.Event(), []
        first = asyncio.ensure_future(lane.run(gate.wait))
        second = asyncio.ensure_future(lane.run(ran.append, "second"))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        gate.set()
        await first
        await lane.run(ran.append, "third")
        assert lane.pending == 0
        return ran

    assert asyncio.run(scene()) == ["third"]


def test_a_hanging_job_does_not_outlive_the_loop() -> None:
    """asyncio.run would wait for an executor's thread; for a lane's it does not."""
    gate = threading.Event()

    async def scene() -> None:
        waiting = asyncio.ensure_future(Lane("test-lane").run(gate.wait))
        await asyncio.sleep(0)
        waiting.cancel()

    asyncio.run(scene())
    gate.set()  # its answer finds no loop any more, and that is no error
