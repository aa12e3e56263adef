"""Is a local answer later because the large model's endpoint misbehaves? The same keys, with it and without.

Two daemons take turns on the same stretch of typing: one without a large model, one whose every answer
escalates to an endpoint with one kind of fault. What is compared is the time of the same keystroke.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mccomd.bench.endpoint import FAULTS, Handler, Peer
from mccomd.bench.figures import percentile
from mccomd.bench.keystroke import resolve_model
from mccomd.bench.modelled import MODEL
from mccomd.bench.own_daemon import OwnDaemon
from mccomd.bench.replay import Options, replay, windows
from mccomd.bench.traces import Trace
from mccomd.config import ModelConfig

__all__ = ["FaultPlan", "bench_faults", "steps_of"]


@dataclass(frozen=True)
class FaultPlan:
    traces: Sequence[Trace]
    keystrokes: int = 12  # a fault, and as many without one
    seed: int = 1
    model: str = ModelConfig().name


def steps_of(plan: FaultPlan) -> int:
    return 2 * plan.keystrokes * (len(FAULTS) + 1)


def bench_faults(plan: FaultPlan, advance: Callable[[int], None]) -> dict[str, Any]:
    """For each fault the paired differences in milliseconds: median, 95th percentile. Raises MccomdError."""
    base: dict[str, dict[str, Any]] = {
        "model": {"folder": str(resolve_model(plan.model))},
        "completion": {"snippets": 0},
        "power": {"mode": "full"},
    }
    nothing: Handler = FAULTS["silent"]
    with Peer(nothing) as peer:
        cloud = {"backend": "completions", "url": f"{peer.url}/v1", "model": MODEL, "strategy": "plain",
                 "stall_ms": 300, "deadline_ms": 1000}  # fmt: skip
        more = {**base, "cloud": cloud, "router": {"threshold": 1.0, "unsure": "show"}}
        with OwnDaemon(base) as without, OwnDaemon(more) as with_cloud:
            pairs: dict[str, list[float]] = {}
            for number, (name, fault) in enumerate([("(none, again)", None), *FAULTS.items()]):
                if fault is not None:
                    peer.handler = fault
                other = without if fault is None else with_cloud
                traces = windows(plan.traces, plan.keystrokes, plan.seed + number)
                pairs[name] = _differences(without, other, traces, advance, swap=number % 2 == 1)
    every = [ms for name, found in pairs.items() if name != "(none, again)" for ms in found]
    return {
        "delay_ms": {name: _summary(found) for name, found in pairs.items()},
        "delay_all_ms": _summary(every),
    }


def _differences(
    without: OwnDaemon,
    other: OwnDaemon,
    traces: Sequence[Trace],
    advance: Callable[[int], None],
    *,
    swap: bool,
) -> list[float]:
    """Milliseconds by which each keystroke that needed the model was later."""
    times: list[list[tuple[str, float]]] = []
    order = (other, without) if swap else (without, other)
    for daemon in order:
        with daemon.client() as client:
            samples = [
                sample
                for trace in traces
                for sample in replay(client, trace, Options(root=daemon.home), advance)
            ]
        times.append([(sample.kind, sample.ms) for sample in samples])
    base, late = (times[1], times[0]) if swap else (times[0], times[1])
    pairs = zip(base, late, strict=True)
    return [b - a for (kind, a), (also, b) in pairs if kind == also == "model"]


def _summary(values: Sequence[float]) -> dict[str, float | int | None]:
    if not values:
        return {"p50": None, "p95": None, "n": 0}
    return {
        "p50": round(percentile(values, 50), 2),
        "p95": round(percentile(values, 95), 2),
        "n": len(values),
    }
