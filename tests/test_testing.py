"""The checks for plugin authors: the built-in parts pass, and each broken promise is named."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from mccomd.hooks import Decision, Evidence
from mccomd.outgoing import Call, CloudRequest
from mccomd.testing import (
    FakeTransport,
    check_backend,
    check_retriever,
    check_router,
    context,
    evidence,
    query,
    request,
)
from mccomd.types import Query, Snippet
from mccomd_plugins import bm25, confidence

BUSY_MS = 2000.0  # a test machine may be busy; the parts take microseconds
GOOD = Snippet("b.py", 1, 2, "text", 1.0, "", "part")


def test_the_built_in_retriever() -> None:
    hits = [replace(GOOD, path=f"{n}.py", source="bm25") for n in range(9)]
    for part in bm25.mccomd_retrievers(context(hits=hits)):
        assert len(check_retriever(part, query("def area("), budget_ms=BUSY_MS, found=True)) == 4


def test_the_built_in_router() -> None:
    for part in confidence.mccomd_routers(context({"threshold": 0.5})):
        low, high, rejected = check_router(
            part, evidence(0.1), evidence(0.9), evidence(0.9, rejected="no"), budget_ms=BUSY_MS
        )
        assert (low.escalate, high.escalate, rejected.escalate) == (True, False, True)


class Retriever:
    """Does what it is told to."""

    name = "part"

    def __init__(self, does: Any) -> None:
        self.does = does

    def retrieve(self, asked: Query) -> Sequence[Snippet]:
        return self.does(asked)  # type: ignore[no-any-return]


def asleep(asked: Query) -> list[Snippet]:
    ends = time.perf_counter() + 0.03
    while time.perf_counter() < ends:
        pass
    return [GOOD]


async def later(asked: Query) -> list[Snippet]:
    return []


@pytest.mark.parametrize(
    ("does", "message"),
    [
        (lambda asked: None, "returned NoneType, a list or tuple of Snippet"),
        (lambda asked: iter([GOOD]), "a list or tuple of Snippet is expected"),
        (lambda asked: "text", "returned str"),
        (lambda asked: ["text"], "returned a str, Snippet is expected"),
        (lambda asked: [GOOD] * (asked.limit + 1), "5 snippets, query.limit is 4"),
        (lambda asked: [replace(GOOD, source="other")], "Snippet.source is 'other'"),
        (lambda asked: [replace(GOOD, start_line=0)], "lines 0-2: they count from 1"),
        (lambda asked: [replace(GOOD, end_line=0)], "lines 1-0"),
        (lambda asked: [replace(GOOD, score=float("nan"))], "score nan"),
        (lambda asked: [replace(GOOD, start_line=True)], "Snippet.start_line is True"),
        (lambda asked: [replace(GOOD, commit=None)], "Snippet.commit is None, str is expected"),
        (lambda asked: [replace(GOOD, path="")], "a snippet without a path"),
        (lambda asked: 1 / 0, "raised ZeroDivisionError"),
        (lambda asked: exit(3), "raised SystemExit"),
        (lambda asked: [GOOD] if asked.repository else asked.repository.split(), "raised AttributeError"),
        (later, "retrieve() is async, a plain function is expected"),
        (asleep, "10 ms are the budget"),
        (lambda asked: [], "found nothing"),
    ],
)
def test_a_broken_promise_of_a_retriever(does: Any, message: str) -> None:
    with pytest.raises(AssertionError, match="part") as caught:
        check_retriever(Retriever(does), query(), budget_ms=10.0, found=True)
    assert message in str(caught.value)


class Router:
    name = "part"

    def __init__(self, does: Any, **more: Any) -> None:
        self.does = does
        vars(self).update(more)

    def decide(self, one: Evidence) -> Decision:
        return self.does(one)  # type: ignore[no-any-return]


CALM = Decision(False, 0.5, "local: why not")
FLIP = [True]


def changeable(one: Evidence) -> Decision:
    FLIP.append(not FLIP[-1])
    return replace(CALM, escalate=FLIP[-1])


def busy(one: Evidence) -> Decision:
    ends = time.perf_counter() + 0.005
    while time.perf_counter() < ends:
        pass
    return CALM


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (Router(lambda one: True), "returned bool, want Decision"),
        (Router(lambda one: replace(CALM, escalate=1)), "escalate is 1, a bool is expected"),
        (Router(lambda one: replace(CALM, confidence=1.5)), "confidence is 1.5, 0 to 1"),
        (Router(lambda one: replace(CALM, confidence=float("nan"))), "confidence is nan"),
        (Router(lambda one: replace(CALM, reason="")), "one line that the user understands"),
        (Router(lambda one: replace(CALM, reason="a\nb")), "one line that the user understands"),
        (Router(changeable), "on the same evidence"),
        (Router(busy), "all clients wait"),
        (Router(lambda one: CALM, give_up=lambda p: None), "give_up() returned None"),
        (Router(lambda one: CALM, name=""), "name is '', a text is expected"),
        (Router(lambda one: CALM, name="a\u200bb"), "what cannot be seen"),
        (Router, "is a class: hooks return objects"),
        (object(), "name is None"),
    ],
)
def test_a_broken_promise_of_a_router(part: Any, message: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_router(part, evidence(0.5))
    assert message in str(caught.value)


class Backend:
    name = "part"

    def __init__(self, does: Any) -> None:
        self.does = does

    def stream(self, one: CloudRequest) -> AsyncIterator[str]:
        return self.does(one)  # type: ignore[no-any-return]


async def good(one: CloudRequest) -> AsyncIterator[str]:
    yield "a"
    await asyncio.sleep(0)
    yield "b"


async def bytes_of_it(one: CloudRequest) -> AsyncIterator[Any]:
    yield b"a"


class NoGenerator:
    """What a plain coroutine looks like, without one that nobody awaits."""

    def __init__(self, one: CloudRequest) -> None: ...


async def stubborn(one: CloudRequest) -> AsyncIterator[str]:
    yield "a"
    try:
        yield "b"
    finally:
        for _ in range(3):
            try:
                await asyncio.sleep(0.2)
            except asyncio.CancelledError:
                continue


async def hanging(one: CloudRequest) -> AsyncIterator[str]:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await asyncio.sleep(5)
    yield "a"


async def littering(one: CloudRequest) -> AsyncIterator[str]:
    task = asyncio.create_task(asyncio.sleep(60))
    yield "a"
    await task


def test_a_backend_that_keeps_its_promises() -> None:
    assert check_backend(lambda: Backend(good), request()) == ["ab"]


@pytest.mark.parametrize(
    ("does", "message"),
    [
        (bytes_of_it, "yielded a bytes, text is expected"),
        (NoGenerator, "is a `yield` missing?"),
        (lambda one: ["a"], "an async iterator is expected"),
        (littering, "left 1 task(s) behind"),
    ],
)
def test_a_broken_promise_of_a_backend(does: Any, message: str) -> None:
    short = request(deadline=time.monotonic() + 0.2)
    with pytest.raises((AssertionError, TimeoutError)) as caught:
        check_backend(lambda: Backend(does), *([] if does is littering else [short]), leaves_s=0.3)
    assert message in str(caught.value) or does is littering


def test_a_backend_that_does_not_leave() -> None:
    from mccomd.testing.checks import _cancelled

    with pytest.raises(AssertionError, match="swallows CancelledError"):
        asyncio.run(_cancelled(Backend(hanging), request(), 0, 0.05))


def test_the_fake_transport_is_left_when_the_iterator_is() -> None:
    wire = FakeTransport([[b"a", b"b"], None, RuntimeError("broken")])

    async def use() -> None:
        call = Call("https://api.example/v1", time.monotonic() + 5, {})
        async with wire.send(call) as response:
            assert wire.open == 1
            assert await response.text() == "ab"
        assert wire.open == 0
        task = asyncio.create_task(_read(wire, call))
        while wire.open == 0:  # noqa: ASYNC110
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert wire.open == 0
        with pytest.raises(RuntimeError, match="broken"):
            await _read(wire, call)

    asyncio.run(use())
    assert len(wire.calls) == 3


async def _read(wire: FakeTransport, call: Call) -> str:
    async with wire.send(call) as response:
        return await response.text()
