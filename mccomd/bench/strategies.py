"""What does a draft save at a real llama.cpp server, right, half right or wrong? Plain against prime.

Through the daemon's own backend and transport. Cold: the prompt is not in the server's cache. Read: it is, as
after a prime; plain and prime are compared for identical output in that state alone, because near-ties fork
between cache states. A server of its own for each kind of draft, so that its pool holds nothing else.
"""

from __future__ import annotations

import asyncio
import importlib
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mccomd.bench.peer import CANDIDATES, LlamaServer, Settings, physical_cores
from mccomd.bench.replay import windows
from mccomd.bench.traces import Trace
from mccomd.bench.typing import places_of
from mccomd.cloud.adapter import Adapter
from mccomd.cloud.transport import HttpTransport
from mccomd.outgoing import CloudReport, CloudRequest, Endpoint

__all__ = ["DRAFTS", "StrategyPlan", "bench_strategies", "steps_of"]

DRAFTS = ("right", "half", "wrong")
PRIMED = CANDIDATES[3]  # ngram-mod 16/1/64
OTHER_PROMPT = "The weather in the mountains was"
ANSWER_S = 60.0
MIN_CHARS = 400  # of text before the cursor: a shorter prompt says nothing about reading it
CONTEXT = 4096
PROMPT_CHARS = 1200


@dataclass(frozen=True)
class StrategyPlan:
    traces: Sequence[Trace]
    gguf: Path
    places: int = 8
    tokens: int = 24
    seed: int = 1


@dataclass
class Taken:
    """One answer: until its first text, until its last, the text, and what the server counted."""

    first_ms: float
    total_ms: float
    text: str
    drafted: int = 0
    accepted: int = 0


@dataclass
class Place:
    prefix: str
    cold: Taken
    read: Taken
    primed: dict[str, tuple[float, Taken]] = field(default_factory=dict)  # draft -> (ms of the prime, answer)


def steps_of(plan: StrategyPlan) -> int:
    return plan.places * (1 + len(DRAFTS))


def bench_strategies(plan: StrategyPlan, advance: Callable[[int], None]) -> dict[str, Any]:
    """The table as a JSON object. Raises MccomdError."""
    prefixes = _prefixes(plan)
    with LlamaServer(plan.gguf, Settings("plain", 0), CONTEXT, physical_cores()) as server:
        places = asyncio.run(_plain(plan, server.port, prefixes, advance))
    texts = [place.read.text for place in places]
    for kind in DRAFTS:
        with LlamaServer(plan.gguf, PRIMED, CONTEXT, physical_cores()) as server:
            asyncio.run(_primed(plan, server.port, places, kind, _drafts(texts, kind), advance))
    return {
        "model": plan.gguf.name,
        "places": len(places),
        "tokens": plan.tokens,
        "plain": {"cold": _summary([p.cold for p in places]), "read": _summary([p.read for p in places])},
        "prime": {kind: _prime_summary(places, kind) for kind in DRAFTS},
    }


def _prefixes(plan: StrategyPlan) -> list[str]:
    """Cursors at which something is typed next, one a trace."""
    found = []
    for trace in windows(plan.traces, 0, plan.seed):
        fitting = [p for p in places_of(trace) if len(p.truth) > 10 and len(p.prefix) > MIN_CHARS]
        if fitting:
            found.append(fitting[len(fitting) // 2].prefix[-PROMPT_CHARS:])
    return found[: plan.places]


def _drafts(texts: Sequence[str], kind: str) -> list[str]:
    """For each place its own text, its first half and then another's, or another's altogether."""
    others = [*texts[1:], *texts[:1]]
    if kind == "right":
        return list(texts)
    if kind == "wrong":
        return others
    return [own[: len(own) // 2] + other[len(own) // 2 :] for own, other in zip(texts, others, strict=True)]


async def _plain(
    plan: StrategyPlan, port: int, prefixes: Sequence[str], advance: Callable[[int], None]
) -> list[Place]:
    async with _adapter(port) as adapter:
        places = []
        for prefix in prefixes:
            await _ask(adapter, plan, OTHER_PROMPT)
            cold = await _ask(adapter, plan, prefix)
            await _ask(adapter, plan, OTHER_PROMPT)
            await adapter.prime(_request(plan, prefix), "")
            places.append(Place(prefix, cold, await _ask(adapter, plan, prefix)))
            advance(1)
        return places


async def _primed(
    plan: StrategyPlan,
    port: int,
    places: Sequence[Place],
    kind: str,
    drafts: Sequence[str],
    advance: Callable[[int], None],
) -> None:
    async with _adapter(port) as adapter:
        for place, draft in zip(places, drafts, strict=True):
            await _ask(adapter, plan, OTHER_PROMPT)
            began = time.perf_counter()
            await adapter.prime(_request(plan, place.prefix), draft)
            prime_ms = (time.perf_counter() - began) * 1000
            place.primed[kind] = (prime_ms, await _ask(adapter, plan, place.prefix))
            advance(1)


@asynccontextmanager
async def _adapter(port: int) -> AsyncIterator[Adapter]:
    url = f"http://127.0.0.1:{port}"
    # The core imports no plugin; the benchmark looks at the one that is built in, by its name.
    built_in = importlib.import_module("mccomd_plugins.llamacpp")
    transport = HttpTransport(url, stall_s=ANSWER_S)
    try:
        yield built_in.LlamaCpp(Endpoint(url, fim_template="none"), transport)
    finally:
        await transport.aclose()


def _request(plan: StrategyPlan, prefix: str) -> CloudRequest:
    deadline = time.monotonic() + ANSWER_S
    return CloudRequest(prefix, "", "", "", (), "", plan.tokens, deadline, report=CloudReport())


async def _ask(adapter: Adapter, plan: StrategyPlan, prefix: str) -> Taken:
    request = _request(plan, prefix)
    if prefix == OTHER_PROMPT:
        request = replace(request, max_tokens=1)
    began = time.perf_counter()
    first, text = 0.0, ""
    async for piece in adapter.stream(request):
        first = first or (time.perf_counter() - began) * 1000
        text += piece
    total = (time.perf_counter() - began) * 1000
    return Taken(first, total, text, request.report.drafted, request.report.accepted)


def _summary(taken: Sequence[Taken]) -> dict[str, Any]:
    return {
        "first_ms": _median([t.first_ms for t in taken]),
        "total_ms": _median([t.total_ms for t in taken]),
    }


def _prime_summary(places: Sequence[Place], kind: str) -> dict[str, Any]:
    """in_series: the prime's own time included; ahead: sent while the suggestion was on the screen."""
    found = [place.primed[kind] for place in places]
    same = sum(place.primed[kind][1].text == place.read.text for place in places)
    ratios = [place.primed[kind][1].total_ms / place.read.total_ms for place in places]
    return {
        "ahead": _summary([taken for _, taken in found]),
        "in_series": {
            "first_ms": _median([ms + taken.first_ms for ms, taken in found]),
            "total_ms": _median([ms + taken.total_ms for ms, taken in found]),
        },
        "prime_ms": _median([ms for ms, _ in found]),
        "drafted": sum(taken.drafted for _, taken in found),
        "accepted": sum(taken.accepted for _, taken in found),
        "identical": f"{same}/{len(places)}",
        "ahead_against_read": {
            "p50": _median(ratios),
            "spread": [round(min(ratios), 2), round(max(ratios), 2)] if ratios else [],
        },
    }


def _median(values: Sequence[float]) -> float | None:
    return round(statistics.median(values), 2) if values else None
