"""What does a draft save at the endpoint that the user has configured, right, half right or wrong?

Through the daemon's own backend, transport and ledger, with texts of mccomd's own traces, none of the user's.
Cold: a prompt that the server has not seen. Read: one that it has just read. Strategies are compared with
plain in the second state alone, because near-ties fork between cache states. Times end with the statement, as
for an editor.
"""

from __future__ import annotations

import asyncio
import importlib
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mccomd.bench.modelled import Place
from mccomd.bench.replay import windows
from mccomd.bench.traces import Trace
from mccomd.bench.typing import places_of
from mccomd.cloud.access import close_cloud, open_cloud
from mccomd.cloud.backend import StrategyBackend
from mccomd.cloud.transport import Sent
from mccomd.config import CloudConfig
from mccomd.egress import Egress, Ledger
from mccomd.errors import MccomdError
from mccomd.hooks import PluginContext
from mccomd.outgoing import CloudAccess, CloudReport, CloudRequest
from mccomd.types import Snippet

__all__ = ["DRAFTS", "DraftPlan", "bench_drafts", "steps_of"]

DRAFTS = ("right", "half", "wrong")
ANSWER_S = 60.0
PREFIX_CHARS, SUFFIX_CHARS = 1200, 300
LEAST_CHARS = 16  # of an answer: less is no draft
TRIES = 3  # places looked at for each one that is wanted


@dataclass(frozen=True)
class DraftPlan:
    """cloud: where, and how it speaks; why_silent: why nothing may leave."""

    cloud: CloudConfig
    traces: Sequence[Trace]
    state_dir: Path
    why_silent: Callable[[], str]
    places: int = 6
    runs: int = 3
    tokens: int = 32
    seed: int = 1


@dataclass(frozen=True)
class Taken:
    """One answer: until its first text, until its end, and what became of the draft."""

    first_ms: float
    total_ms: float
    text: str
    report: CloudReport


@dataclass
class Measured:
    place: Place
    text: str  # plain, once the prompt was read
    taken: dict[str, list[Taken]] = field(default_factory=dict)  # "plain cold", "verify right" -> a run each


def steps_of(plan: DraftPlan) -> int:
    return plan.places


def bench_drafts(plan: DraftPlan, advance: Callable[[int], None]) -> dict[str, Any]:
    """The table as a JSON object. Raises MccomdError: nothing may leave, or the endpoint does not answer."""
    if not plan.cloud.backend:
        raise MccomdError("no large model is configured; see [cloud] in `mccomd config show`")
    if silent := plan.why_silent():
        raise MccomdError(f"nothing may leave this machine: {silent}")
    return asyncio.run(_bench(plan, advance))


async def _bench(plan: DraftPlan, advance: Callable[[int], None]) -> dict[str, Any]:
    egress = Egress(Ledger(plan.state_dir), plan.why_silent)

    def record(sent: Sent) -> None:
        egress.admit(sent.endpoint, sent.body, size=sent.bytes, purpose="bench")

    backends = {}
    accesses: list[CloudAccess] = []
    try:
        for strategy in ("plain", "native", "prime", "verify"):
            cloud = replace(plan.cloud, strategy=strategy, stall_ms=int(ANSWER_S * 1000))
            accesses.append(open_cloud(cloud, plan.state_dir / "none", record))
            backends[strategy] = _backend(cloud, accesses[-1])
        caps = dict((await backends["verify"].probe())["caps"])
        able = [name for name, has in (("native", caps["draft"] != "none"), ("prime", caps["prime"]),
                                       ("verify", caps["verify"] != "none")) if has]  # fmt: skip
        for name in set(able) - {"verify"}:
            await backends[name].probe()
        measured = await _places(plan, backends["plain"], advance)
        for name in able:
            for kind in DRAFTS:
                await _drafted(plan, backends[name], measured, name, kind)
    finally:
        for access in accesses:
            await close_cloud(access)
    return _figures(plan, caps, measured)


def _backend(cloud: CloudConfig, access: CloudAccess) -> StrategyBackend:
    """The built-in one of that name, without what it remembers from earlier."""
    # The core imports no plugin; the benchmark looks at those that are built in, by name.
    try:
        built_in = importlib.import_module(f"mccomd_plugins.{cloud.backend}")
        context = PluginContext({}, _no_search, access.transport, access.endpoint, "")
        made = built_in.mccomd_backends(context)
    except (ImportError, AttributeError) as error:
        raise MccomdError(f"backend {cloud.backend!r} is not built in: it has no strategies") from error
    found: StrategyBackend = made[0]
    return found


def _no_search(*_: object, **__: object) -> Sequence[Snippet]:
    return ()


async def _places(
    plan: DraftPlan, backend: StrategyBackend, advance: Callable[[int], None]
) -> list[Measured]:
    """Cursors at which the large model has something to say, one a trace, with its plain answers."""
    found: list[Measured] = []
    for trace in windows(plan.traces, 0, plan.seed)[: TRIES * plan.places]:
        fitting = [p for p in places_of(trace) if len(p.truth) >= LEAST_CHARS and len(p.prefix) > 200]
        if not fitting or len(found) == plan.places:
            continue
        place = fitting[len(fitting) // 2]
        cold = await _ask(backend, plan, place)
        read = [await _ask(backend, plan, place) for _ in range(plan.runs)]
        if len(read[0].text.strip()) >= LEAST_CHARS:
            found.append(Measured(place, read[0].text, {"plain cold": [cold], "plain read": read}))
            advance(1)
    if not found:
        raise MccomdError("the large model has nothing to say at any of these places: try another --seed")
    return found


async def _drafted(
    plan: DraftPlan, backend: StrategyBackend, measured: Sequence[Measured], name: str, kind: str
) -> None:
    texts = [one.text for one in measured]
    for number, one in enumerate(measured):
        other = texts[number - 1] if len(texts) > 1 else "raise NotImplementedError(self)"
        half = one.text[: len(one.text) // 2] + other[len(other) // 2 :]
        draft = {"right": one.text, "half": half, "wrong": other}[kind]
        await _ask(backend, plan, one.place)  # without a draft: the server reads the prompt
        one.taken[f"{name} {kind}"] = [await _ask(backend, plan, one.place, draft) for _ in range(plan.runs)]


async def _ask(backend: StrategyBackend, plan: DraftPlan, place: Place, draft: str = "") -> Taken:
    request = CloudRequest(
        place.prefix[-PREFIX_CHARS:], place.suffix[:SUFFIX_CHARS], place.language, "", (), draft, plan.tokens,
        time.monotonic() + ANSWER_S, request_id="bench", purpose="bench",
    )  # fmt: skip
    began, first, text = time.perf_counter(), 0.0, ""
    async for piece in backend.stream(request):
        first = first or (time.perf_counter() - began) * 1000
        text += piece
    total = (time.perf_counter() - began) * 1000
    return Taken(first or total, total, text, request.report)


def _figures(plan: DraftPlan, caps: dict[str, Any], measured: Sequence[Measured]) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for name in measured[0].taken:
        taken = [run for one in measured for run in one.taken[name]]
        same = sum(run.text == one.text for one in measured for run in one.taken[name])
        asked = [run.report for run in taken if run.report.strategy == name.split()[0]]
        totals = [run.total_ms for run in taken]
        rows[name] = {
            "first_ms": _median([run.first_ms for run in taken]),
            "total_ms": _median(totals),
            "total_spread_ms": [round(min(totals)), round(max(totals))],
            "requests": _median([run.report.requests for run in taken]),
            "drafted": sum(report.drafted for report in asked),
            "accepted": sum(report.accepted for report in asked),
            "used": f"{len(asked)}/{len(taken)}",
            "identical": f"{same}/{len(taken)}",
            "others": sorted(
                {(one.text, run.text) for one in measured for run in one.taken[name] if run.text != one.text}
            ),
        }
    return {
        "backend": plan.cloud.backend,
        "model": plan.cloud.model,
        "dialect": plan.cloud.dialect or caps["dialect"] or "generic",
        "probe": list(caps["notes"]),
        "places": len(measured),
        "runs": plan.runs,
        "rows": rows,
    }


def _median(values: Sequence[float]) -> float:
    return round(statistics.median(values), 1)
