"""Is a local answer later because the large model's endpoint misbehaves?

What the model's own thread takes is the same either way and far noisier than what is looked for; so answers
from memory are timed, which are all event loop: one place of a second document, asked again and again, before
and while a request to an endpoint with one kind of fault is under way. A daemon of its own for each fault,
because some of them switch the endpoint off.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mccomd.bench.endpoint import FAULTS, Peer
from mccomd.bench.figures import percentile
from mccomd.bench.keystroke import resolve_model
from mccomd.bench.modelled import MODEL
from mccomd.bench.own_daemon import OwnDaemon
from mccomd.client import Client
from mccomd.config import ModelConfig
from mccomd.errors import MccomdError

__all__ = ["FaultPlan", "bench_faults", "steps_of"]

KNOWN = "def area(width, height):\n    return "


@dataclass(frozen=True)
class FaultPlan:
    rounds: int = 3  # requests to each misbehaving endpoint
    calls: int = 40  # answers from memory before and while each of them is under way
    model: str = ModelConfig().name


def steps_of(plan: FaultPlan) -> int:
    return plan.rounds * len(FAULTS)


def bench_faults(plan: FaultPlan, advance: Callable[[int], None]) -> dict[str, Any]:
    """For each fault the times of answers from memory without and with it, in ms. Raises MccomdError."""
    found = {name: _beside(plan, name, advance) for name in FAULTS}
    without = [ms for before, _ in found.values() for ms in before]
    beside = [ms for _, after in found.values() for ms in after]
    return {
        "delay_ms": {name: _row(before, after) for name, (before, after) in found.items()},
        "delay_all_ms": _row(without, beside),
    }


def _beside(plan: FaultPlan, name: str, advance: Callable[[int], None]) -> tuple[list[float], list[float]]:
    before: list[float] = []
    after: list[float] = []
    with Peer(FAULTS[name]) as peer:
        options: dict[str, dict[str, Any]] = {
            "model": {"folder": str(resolve_model(plan.model))},
            "completion": {"snippets": 0},
            "power": {"mode": "full"},
            "router": {"threshold": 1.0, "unsure": "show"},
            "cloud": {"backend": "completions", "url": f"{peer.url}/v1", "model": MODEL, "strategy": "plain",
                      "stall_ms": 300, "deadline_ms": 1000, "keep_warm": False},
        }  # fmt: skip
        with OwnDaemon(options) as daemon, daemon.client() as client:
            _ask(client, "/known.py", KNOWN)
            for number in range(plan.rounds):
                before += _from_memory(client, plan.calls)
                _ask(client, "/asked.py", KNOWN.replace("area", f"asked_{number}"))
                after += _from_memory(client, plan.calls)
                advance(1)
    return before, after


def _from_memory(client: Client, calls: int) -> list[float]:
    times = []
    for _ in range(calls):
        began = time.perf_counter()
        answer = _ask(client, "/known.py", KNOWN)
        times.append((time.perf_counter() - began) * 1000)
        if answer["prefilled"] + answer["reused"]:
            raise MccomdError("an answer that should come from memory came from the model")
    return times


def _ask(client: Client, path: str, text: str) -> dict[str, Any]:
    position = {"line": 1, "column": len(text.split("\n")[1])}
    params = {"path": path, "text": text, "position": position, "deadline_ms": 30_000}
    return dict(client.call("complete", params))


def _row(before: Sequence[float], after: Sequence[float]) -> dict[str, float | int]:
    """p50, p95: how much later; the greatest of each kind beside them, which tells what noise there was."""
    return {
        "p50": round(percentile(after, 50) - percentile(before, 50), 3),
        "p95": round(percentile(after, 95) - percentile(before, 95), 3),
        "max_without": round(max(before), 3),
        "max_beside": round(max(after), 3),
        "n": len(after),
    }
