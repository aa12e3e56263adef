"""What does the cascade give that the local model alone, or the large one alone, does not?

The same typed traces, in real time: once with the local model alone and once with the cascade, both through a
real daemon; and always-cloud, computed: its answers and its network are stated, so that nothing else is to
be measured. That client sends at every key and, like the daemon, shows from memory what is typed through.
"""

from __future__ import annotations

import bisect
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mccomd.bench.endpoint import Peer
from mccomd.bench.figures import percentile
from mccomd.bench.keystroke import resolve_model
from mccomd.bench.modelled import (
    MODEL,
    Network,
    Place,
    answer_by_gguf,
    answer_by_share,
    handler,
    load_answers,
    pieces_of,
    save_answers,
)
from mccomd.bench.own_daemon import Company, OwnDaemon
from mccomd.bench.replay import windows
from mccomd.bench.traces import Trace
from mccomd.bench.typing import Keystroke, Listening, places_of, type_trace
from mccomd.config import ModelConfig

__all__ = ["CascadePlan", "Mode", "bench_cascade", "figures_of", "keystrokes_of", "used_calls"]

MODES = ("local", "cloud", "cascade")


@dataclass(frozen=True)
class CascadePlan:
    """What is to be measured."""

    traces: Sequence[Trace]
    keystrokes: int = 120  # 0: all
    seed: int = 1
    pace: float = 1.0  # of the traces' own times
    network: Network = field(default_factory=Network)
    share: float = 0.65  # of the places where the large model is right; without a recording or a model
    gguf: Path | None = None
    recorded: Path | None = None
    record: Path | None = None  # where the large model's answers are written
    threshold: float | None = None  # the router's; None: as configured by default
    unsure: str | None = None  # what becomes of an unsure local answer; None: as configured by default
    model: str = ModelConfig().name


@dataclass
class Mode:
    """One way to answer, and all that it showed."""

    name: str
    keys: list[Keystroke]
    calls: int = 0
    used: int = 0  # of the calls, those whose text reached the screen, for whichever key


def keystrokes_of(plan: CascadePlan) -> int:
    """Steps of the progress bar."""
    count = sum(trace.keystrokes for trace in windows(plan.traces, plan.keystrokes, plan.seed))
    return count * (3 if plan.gguf else 2)


def bench_cascade(plan: CascadePlan, advance: Callable[[int], None]) -> tuple[list[Mode], dict[str, Any]]:
    """The three modes, and what is known about the run. Raises MccomdError."""
    traces = windows(plan.traces, plan.keystrokes, plan.seed)
    places = [place for trace in traces for place in places_of(trace)]
    answers = _answers(plan, places, advance)
    company = Company()
    local = Mode("local", _type(plan, traces, {}, advance))
    with Peer(handler(answers, plan.network)) as peer:
        wished = {"threshold": plan.threshold, "unsure": plan.unsure}
        router = {key: value for key, value in wished.items() if value is not None}
        cloud = {"backend": "completions", "url": f"{peer.url}/v1", "model": MODEL, "strategy": "plain",
                 "keep_warm": False}  # fmt: skip
        cascade = Mode("cascade", _type(plan, traces, {"cloud": cloud, "router": router}, advance))
        asked = [request.at for request in peer.posted("/v1/completions")]
    cascade.calls, cascade.used = len(asked), used_calls(cascade.keys, asked)
    modes = [local, always_cloud(local.keys, answers, plan.network), cascade]
    return modes, {"others_share": round(company.share(), 3), "places": len(places)}


def _answers(plan: CascadePlan, places: Sequence[Place], advance: Callable[[int], None]) -> dict[str, str]:
    if plan.recorded is not None:
        return load_answers(plan.recorded)
    if plan.gguf is None:
        return answer_by_share(places, plan.share, plan.seed)
    answers = answer_by_gguf(places, plan.gguf, advance)
    if plan.record is not None:
        save_answers(answers, plan.record)
    return answers


def _type(
    plan: CascadePlan,
    traces: Sequence[Trace],
    more: Mapping[str, Mapping[str, Any]],
    advance: Callable[[int], None],
) -> list[Keystroke]:
    options: dict[str, Mapping[str, Any]] = {
        "model": {"folder": str(resolve_model(plan.model))},
        "completion": {"snippets": 0},
        "power": {"mode": "full"},
        **more,
    }
    with OwnDaemon(options) as daemon, daemon.connect(Listening, updates=True) as client:
        found = []
        for trace in traces:
            found += type_trace(client, trace, str(daemon.home), plan.pace, advance)
        return found


def used_calls(keys: Sequence[Keystroke], asked: Sequence[float]) -> int:
    """Of calls made at these times, those of which anything was shown before the next one was made.

    There is never a second call beside one, and one may go on for several keys.
    """
    shown = [key.began + ms / 1000 for key in keys for ms, _, source in key.shown if source == "cloud"]
    return len({bisect.bisect_right(asked, at) for at in shown} - {0})


def always_cloud(keys: Sequence[Keystroke], answers: Mapping[str, str], network: Network) -> Mode:
    """What a client shows that asks the large model at every key that is not typed through.

    It streams, gives a request up at the next key, and shows what is left of a text while it is typed.
    """
    mode = Mode("cloud", [])
    left = ""
    for key in keys:
        now = Keystroke(key.place, key.began, key.gap_ms)
        mode.keys.append(now)
        typed = key.place.prefix[-1:]
        if left[:1] == typed and left[1:]:
            left = left[1:]
            now.shown.append((0.0, left, "cache"))
            continue
        mode.calls += 1
        text = answers.get(key.place.key, "")
        total = network.total_ms(text)
        left = ""
        if text and network.first_ms() < key.gap_ms:
            pieces = pieces_of(text)
            come = 1 + int((key.gap_ms - network.first_ms()) / max(network.token_ms, 0.001))
            left = "".join(pieces[:come])
            now.shown.append((network.first_ms(), pieces[0], "cloud"))
            if come > 1 and len(pieces) > 1:
                now.shown.append((min(total, key.gap_ms), left, "cloud"))
            mode.used += 1
    return mode


def figures_of(plan: CascadePlan, modes: Sequence[Mode], about: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON object of `mccomd bench cascade`."""
    found: dict[str, Any] = {mode.name: _figures(mode) for mode in modes}
    return found | {
        "network": {
            "rtt_ms": plan.network.rtt_ms,
            "ttft_ms": plan.network.ttft_ms,
            "token_ms": plan.network.token_ms,
        },
        "large_model": _large(plan),
        "threshold": plan.threshold,
        "unsure": plan.unsure,
        "pace": plan.pace,
        "seed": plan.seed,
        **about,
    }


def _large(plan: CascadePlan) -> str:
    if plan.recorded is not None:
        return f"recorded answers of {plan.recorded.name}"
    if plan.gguf is not None:
        return f"{plan.gguf.name} in llama.cpp"
    return f"a stand-in, right at {plan.share:.0%} of the places"


def _figures(mode: Mode) -> dict[str, Any]:
    """calls_share: calls a request; wasted_calls: calls of which nothing was ever shown, a call.

    em: of the places where something was typed next on the line, the share where the first line of what stood
    on the screen at last is exactly that.
    """
    keys = mode.keys
    asked = [key for key in keys if key.place.truth]
    first = [key.shown[0][0] for key in keys if key.shown]
    final = [key.shown[-1][0] for key in keys if key.shown]
    right = sum(key.final.split("\n")[0].rstrip() == key.place.truth.rstrip() for key in asked if key.final)
    return {
        "requests": len(keys),
        "calls": mode.calls,
        "calls_share": _share(mode.calls, len(keys)),
        "wasted_calls": _share(mode.calls - mode.used, mode.calls),
        "shown_share": _share(len(first), len(keys)),
        "first_ms": _times(first),
        "final_ms": _times(final),
        "em": _share(right, len(asked)),
        "em_n": len(asked),
        "em_of_shown": _share(right, sum(bool(key.final) for key in asked)),
    }


def _times(values: Sequence[float]) -> dict[str, float | int | None]:
    some = bool(values)
    return {
        "p50": round(percentile(values, 50), 2) if some else None,
        "p95": round(percentile(values, 95), 2) if some else None,
        "mean": round(statistics.fmean(values), 2) if some else None,
        "n": len(values),
    }


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
