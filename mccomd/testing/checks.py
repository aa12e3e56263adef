"""The contract of each kind of part, asked as the daemon asks, and the words for what is broken."""

from __future__ import annotations

import asyncio
import inspect
import math
import statistics
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import TypeVar

from mccomd.hooks import Backend, Decision, Evidence, Retriever, Router
from mccomd.outgoing import CloudRequest
from mccomd.testing.material import evidence, query, request
from mccomd.types import Document, Query, Snippet

__all__ = ["check_backend", "check_retriever", "check_router"]

T = TypeVar("T")
RETRIEVE_MS = 50.0
"""completion.retrieve_ms as it comes: a retriever that is late is left out, and switched off in the end."""
DECIDE_MS = 1.0
"""A router runs on the event loop: every client waits for it."""
LEAVE_S = 1.0
"""After the user has typed on, a backend is gone."""
_TYPES: dict[str, type | tuple[type, ...]] = {"int": int, "float": (int, float), "str": str}
_AWKWARD = (
    ("", ""),
    ("x = ", ""),
    ("", "\n"),
    ("def größe(", ") -> 漢字:\n    pass\n"),
    ("\r\n" * 3 + "x", "\r\n"),
    ("a" * 100_000, "b" * 100_000),
    ("line\n" * 20_000, "line\n" * 20_000),
    ("\x00\u202e\ud800", "\u2028"),
    ("[" * 500, "]" * 500),
)


# --- retrievers ------------------------------------------------------------------------------------------


def check_retriever(
    part: Retriever, *queries: Query, budget_ms: float = RETRIEVE_MS, found: bool = False
) -> list[Snippet]:
    """Holds a retriever to its contract; what it found for the queries given.

    It answers each query, and awkward ones, in another thread than the one that made it, with snippets of the
    right form, no more than the limit, changing nothing that it was given, half of the times within the
    budget. found: it must find something for every query given.
    """
    _check_part(part, Retriever, "retrieve")
    gathered: list[Snippet] = []
    for asked in queries:
        snippets, ms = _retrieved(part, asked)
        _require(snippets or not found, f"{part.name}: found nothing for {_short(asked)}")
        _require(
            ms <= budget_ms,
            f"{part.name}: took {ms:.1f} ms for {_short(asked)}, {budget_ms:.0f} ms are the budget",
        )
        gathered += snippets
    for prefix, suffix in _AWKWARD:
        for more in ({}, {"repository": None}, {"limit": 1}, {"documents": _documents(prefix)}):
            asked = query(prefix, suffix, **more)
            began = time.perf_counter()
            _retrieve_once(part, asked)
            ms = (time.perf_counter() - began) * 1000
            _require(
                ms <= 20 * budget_ms,
                f"{part.name}: took {ms:.0f} ms for {_short(asked)}: it would never be in time",
            )
    return gathered


def _retrieved(part: Retriever, asked: Query) -> tuple[list[Snippet], float]:
    """What it found, and the median of five times, the first left out: it may have something to load."""
    _retrieve_once(part, asked)
    times, snippets = [], list[Snippet]()
    for _ in range(5):
        began = time.perf_counter()
        snippets = _retrieve_once(part, asked)
        times.append((time.perf_counter() - began) * 1000)
    return snippets, statistics.median(times)


def _retrieve_once(part: Retriever, asked: Query) -> list[Snippet]:
    before = repr(asked)
    found = _in_a_thread(lambda: part.retrieve(asked), f"{part.name}.retrieve", asked)
    if inspect.isawaitable(found):
        if inspect.iscoroutine(found):
            found.close()
        raise AssertionError(f"{part.name}: retrieve() is async, a plain function is expected")
    _require(
        isinstance(found, Sequence) and not isinstance(found, str | bytes),
        f"{part.name}: retrieve() returned {type(found).__name__}, a list or tuple of Snippet is expected",
    )
    for snippet in found:
        _check_snippet(part.name, snippet)
    _require(len(found) <= asked.limit, f"{part.name}: {len(found)} snippets, query.limit is {asked.limit}")
    _require(repr(asked) == before, f"{part.name}: changed the query that it was given")
    return list(found)


def _check_snippet(name: str, snippet: object) -> None:
    if not isinstance(snippet, Snippet):
        raise AssertionError(f"{name}: returned a {type(snippet).__name__}, Snippet is expected")
    for entry in fields(Snippet):
        value, wanted = getattr(snippet, entry.name), _TYPES[str(entry.type)]
        _require(
            isinstance(value, wanted) and not isinstance(value, bool),
            f"{name}: Snippet.{entry.name} is {value!r}, {entry.type} is expected",
        )
    _require(snippet.path, f"{name}: a snippet without a path")
    _require(
        1 <= snippet.start_line <= snippet.end_line,
        f"{name}: lines {snippet.start_line}-{snippet.end_line}: they count from 1, the last is part of it",
    )
    _require(math.isfinite(snippet.score), f"{name}: score {snippet.score}")
    _require(
        snippet.source == name,
        f"{name}: Snippet.source is {snippet.source!r}, the retriever's name is expected",
    )


# --- routers ---------------------------------------------------------------------------------------------


def check_router(part: Router, *asked: Evidence, budget_ms: float = DECIDE_MS) -> list[Decision]:
    """Holds a router to its contract; its decisions on the evidence given.

    It decides on any evidence, the same on the same, with a confidence of 0 to 1 and a reason of one line,
    within its budget half of the times; `give_up` and `set_threshold`, where it has them, take what they get.
    """
    _check_part(part, Router, "decide")
    awkward = [
        evidence(*probabilities, prefix=prefix, suffix=suffix, text=text, rejected=rejected)
        for prefix, suffix in _AWKWARD
        for probabilities in ((), (0.0,), (1.0, 1.0, 1.0), (0.5,) * 200)
        for text, rejected in (("", None), ("value", "other"))
    ]
    decisions = [_decided(part, one, budget_ms) for one in asked]
    for one in awkward:
        _decide_once(part, one)
    if hasattr(part, "set_threshold"):
        for threshold in (0.0, 0.5, 1.0):
            part.set_threshold(threshold)
    if hasattr(part, "give_up"):
        for probabilities in ((), (0.0, 0.0, 0.0), (0.9, 0.9, 0.9)):
            opinion = part.give_up(probabilities)
            _require(
                isinstance(opinion, bool), f"{part.name}: give_up() returned {opinion!r}, a bool is expected"
            )
    return decisions


def _decided(part: Router, one: Evidence, budget_ms: float) -> Decision:
    first = _decide_once(part, one)
    times = []
    for _ in range(11):
        began = time.perf_counter()
        again = _decide_once(part, one)
        times.append((time.perf_counter() - began) * 1000)
        _require(
            again.escalate == first.escalate,
            f"{part.name}: decided {first} and then {again} on the same evidence",
        )
    ms = statistics.median(times)
    _require(
        ms <= budget_ms,
        f"{part.name}: decide() took {ms:.2f} ms, {budget_ms:g} ms are the budget: all clients wait",
    )
    return first


def _decide_once(part: Router, one: Evidence) -> Decision:
    decision = part.decide(one)
    _require(
        isinstance(decision, Decision),
        f"{part.name}: decide() returned {type(decision).__name__}, want Decision",
    )
    _require(
        isinstance(decision.escalate, bool),
        f"{part.name}: escalate is {decision.escalate!r}, a bool is expected",
    )
    _require(
        isinstance(decision.confidence, int | float) and 0 <= decision.confidence <= 1,
        f"{part.name}: confidence is {decision.confidence!r}, 0 to 1 is expected",
    )
    _require(
        isinstance(decision.reason, str) and decision.reason.strip() and "\n" not in decision.reason,
        f"{part.name}: reason is {decision.reason!r}, one line that the user understands is expected",
    )
    return decision


# --- backends --------------------------------------------------------------------------------------------


def check_backend(make: Callable[[], Backend], *asked: CloudRequest, leaves_s: float = LEAVE_S) -> list[str]:
    """Holds a backend to its contract; its whole answers to the requests given.

    make: a fresh backend, with a fresh `FakeTransport` if it uses one, for each time it is asked. It streams
    pieces of text, can be asked twice at once, and is gone soon after the iterator is left or its task is
    cancelled, at the first piece and before it.
    """
    part = make()
    _check_part(part, Backend, "stream")
    answers = [asyncio.run(_whole(make(), one)) for one in asked]
    one = asked[0] if asked else request()

    async def twice() -> list[str]:
        return list(await asyncio.gather(_whole(make(), one), _whole(make(), one)))

    asyncio.run(twice())
    for after in (0, 1):
        asyncio.run(_cancelled(make(), one, after, leaves_s))
    return answers


async def _whole(part: Backend, one: CloudRequest) -> str:
    pieces = []
    async with asyncio.timeout_at(asyncio.get_running_loop().time() + one.deadline - time.monotonic() + 1.0):
        stream = part.stream(one)
        _require(
            hasattr(stream, "__aiter__"),
            f"{part.name}: stream() returned {type(stream).__name__}, an async iterator is expected: "
            "is a `yield` missing?",
        )
        async for piece in stream:
            _require(
                isinstance(piece, str), f"{part.name}: yielded a {type(piece).__name__}, text is expected"
            )
            pieces.append(piece)
    return "".join(pieces)


async def _cancelled(part: Backend, one: CloudRequest, after: int, leaves_s: float) -> None:
    begun = asyncio.Event()
    seen = 0

    async def ask() -> None:
        nonlocal seen
        begun.set()
        stream = part.stream(one)
        try:
            async for _ in stream:
                seen += 1
                if seen >= max(1, after):
                    await asyncio.Event().wait()
        finally:
            if isinstance(stream, AsyncGenerator):  # as the daemon does: now, and not when it is collected
                await stream.aclose()

    task = asyncio.create_task(ask())
    await begun.wait()
    while seen < after and not task.done():  # noqa: ASYNC110 - what the backend waits for is its own
        await asyncio.sleep(0.001)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=leaves_s)
    where = "at its first piece" if after else "before its first piece"
    _require(
        done,
        f"{part.name}: cancelled {where}, it was still at work {leaves_s:g} s later: "
        "it swallows CancelledError",
    )
    left = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
    if left:
        words = f"it left {len(left)} task(s) behind: {left[0].get_coro()}"
        raise AssertionError(f"{part.name}: cancelled {where}, {words}")


# --- any part --------------------------------------------------------------------------------------------


def _check_part(part: object, protocol: type, method: str) -> None:
    if isinstance(part, type):
        raise AssertionError(f"{part.__name__} is a class: hooks return objects")
    name = getattr(part, "name", None)
    if not isinstance(name, str) or not name:
        raise AssertionError(f"{type(part).__name__}.name is {name!r}, a text is expected")
    clean = name == name.strip() and name.isprintable()
    _require(clean, f"name {name!r}: blanks around it, or what cannot be seen")
    _require(callable(getattr(part, method, None)), f"{name} has no method {method}()")
    _require(isinstance(part, protocol), f"{name} is no {protocol.__name__}")


def _in_a_thread(job: Callable[[], T], what: str, asked: Query) -> T:
    """As the daemon's lanes do: nothing may depend on the thread that made the part."""
    result: list[T] = []
    problem: list[BaseException] = []

    def run() -> None:
        try:
            result.append(job())
        except BaseException as error:  # noqa: BLE001 - it is the author's to see
            problem.append(error)

    with _no_thread_left(what):
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(60)
        _require(not thread.is_alive(), f"{what} was still at work after 60 s for {_short(asked)}")
    if problem:
        raise AssertionError(
            f"{what} raised {type(problem[0]).__name__}: {problem[0]} for {_short(asked)}"
        ) from problem[0]
    return result[0]


@contextmanager
def _no_thread_left(what: str) -> Iterator[None]:
    before = {thread.ident for thread in threading.enumerate()}
    yield
    left = [t for t in threading.enumerate() if t.ident not in before and not t.daemon and t.is_alive()]
    if left:
        raise AssertionError(
            f"{what} left thread {left[0].name!r} behind, which is no daemon: mccomd could not end"
        )


def _documents(text: str) -> tuple[Document, ...]:
    return tuple(Document(f"/project/{name}", text, "python", 1) for name in ("b.py", "ü.py"))


def _short(asked: Query) -> str:
    return (
        f"query(prefix={asked.prefix[-20:]!r}, suffix={asked.suffix[:20]!r}, repository={asked.repository!r})"
    )


def _require(condition: object, words: str) -> None:
    """An assertion that -O does not take away."""
    if not condition:
        raise AssertionError(words)
