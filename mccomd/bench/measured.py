"""What a run of `mccomd bench keystroke` measured, and the figures it comes to. Runs nothing."""

from __future__ import annotations

import os
import platform
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mccomd.bench.figures import percentile, ratio, spread, summary
from mccomd.bench.peer import Answer, Settings, physical_cores
from mccomd.bench.replay import Sample
from mccomd.bench.traces import Trace
from mccomd.config import ModelConfig

__all__ = ["Block", "Measured", "Plan", "figures_of"]

TOKENS_OUT = ((0, 8), (9, 16), (17, 256))


@dataclass(frozen=True)
class Plan:
    """What is to be measured."""

    traces: Sequence[Trace]
    keystrokes: int = 300  # a repeat; 0: all of every trace
    repeats: int = 3
    cold: int = 3  # cold buffers a repeat
    seed: int = 1
    pace: float = 0.0
    model: str = ModelConfig().name  # a name, or a folder
    repository: Path | None = None  # documents are opened in it, so that its index is asked for snippets
    peer: bool = False
    gguf: Path | None = None  # the model's weights for the peer


@dataclass
class Block:
    """One trace of one repeat, ours and (with a peer) theirs, request by request."""

    trace: str
    repeat: int
    ours: list[Sample]
    theirs: list[Answer] = field(default_factory=list)
    cpu_s: float = 0.0
    cpu_children_s: float = 0.0
    peer_cpu_s: float = 0.0


@dataclass
class Measured:
    """All samples of a run, and what is known about it."""

    plan: Plan
    model: str
    tokens_out: Callable[[Sample], int]  # of our answer, that which is cut off behind it included
    blocks: list[Block] = field(default_factory=list)
    cold: list[Block] = field(default_factory=list)  # one a cold buffer
    rss_mb: list[float] = field(default_factory=list)  # of the daemon at the end of each repeat
    peer_rss_mb: list[float] = field(default_factory=list)
    start_s: list[float] = field(default_factory=list)
    first_answer_s: list[float] = field(default_factory=list)
    load_before: float = 0.0
    others_share: float = 0.0  # of all cores, while we measured
    settings: Settings | None = None
    tried: list[dict[str, Any]] = field(default_factory=list)
    other_prompts: int = 0  # requests whose prompt length differs from the one built for the peer


def figures_of(measured: Measured) -> dict[str, Any]:
    """The JSON object of `mccomd bench keystroke`."""
    plan = measured.plan
    ours = [sample for block in measured.blocks for sample in block.ours]
    warm = [sample for sample in ours if sample.role == "keystroke"]
    by_model = [sample for sample in warm if sample.kind == "model"]
    through = [sample for sample in warm if sample.kind == "cache"]
    tokens = measured.tokens_out
    found: dict[str, Any] = {
        "keystroke": _times(measured, "model"),
        "typed_through": _times(measured, "cache"),
        "all_keystrokes": _times(measured, None),
        "first_of_a_buffer": summary([s.ms for s in ours if s.role == "first"], (50, 95)),
        "cold": _cold_times(measured),
        "by_tokens_out": _by_tokens_out(measured, tokens),
        "stages_ms": _stages(by_model),
        "prefilled_tokens": summary([s.prefilled for s in by_model], (50, 95, 100), "", 1),
        "tokens_out": summary([tokens(s) for s in by_model], (50, 95), "", 1),
        "drafted": sum(s.drafted for s in warm),
        "accepted": sum(s.accepted for s in warm),
        "cache_hits": len(through),
        "without_text": sum(not s.text for s in warm),
        "cpu_s_per_keystroke": _per_request(measured, sum(block.cpu_s for block in measured.blocks)),
        "cpu_children_s_per_keystroke": _per_request(
            measured, sum(block.cpu_children_s for block in measured.blocks)
        ),
        "rss_mb": round(max(measured.rss_mb), 1),
        "start": {
            "status_s": round(statistics.median(measured.start_s), 3),
            "first_completion_s": round(statistics.median(measured.first_answer_s), 3),
        },
    }
    if measured.settings is not None:
        found |= _peer_figures(measured)
    return found | {
        "model": measured.model,
        "traces": len(plan.traces),
        "repeats": plan.repeats,
        "seed": plan.seed,
        "pace": plan.pace,
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "load_before": round(measured.load_before, 2),
            "others_share": round(measured.others_share, 3),
        },
    }


def _warm(measured: Measured, kind: str | None) -> dict[int, list[float]]:
    """Times of the keystrokes of one kind (None: of any), by repeat."""
    times: dict[int, list[float]] = defaultdict(list)
    for block in measured.blocks:
        times[block.repeat] += [s.ms for s in block.ours if s.role == "keystroke" and kind in (None, s.kind)]
    return times


def _times(measured: Measured, kind: str | None) -> dict[str, Any]:
    repeats = list(_warm(measured, kind).values())
    found: dict[str, Any] = dict(summary([ms for times in repeats for ms in times]))
    return found | {"p50_spread_ms": spread(repeats, 50), "p95_spread_ms": spread(repeats, 95)}


def _cold_times(measured: Measured) -> dict[str, Any]:
    samples = [block.ours[0] for block in measured.cold]
    times = [sample.ms for sample in samples]
    found: dict[str, Any] = dict(summary(times, (50, 95)))
    read = [sample.prefilled for sample in samples]
    return found | {
        "spread_ms": [round(min(times), 3), round(max(times), 3)] if times else [],
        "prefilled_p50": percentile(read, 50) if read else None,
    }


def _stages(samples: Sequence[Sample]) -> dict[str, Any]:
    times: dict[str, list[float]] = defaultdict(list)
    for sample in samples:
        for name, ms in sample.stages_ms.items():
            times[name].append(ms)
    return {name: summary(values, (50, 95), "", 3) for name, values in times.items()}


def _by_tokens_out(measured: Measured, tokens: Callable[[Sample], int]) -> dict[str, Any]:
    """Keystrokes by the model, short answers and long ones apart; with the peer's ratio."""
    found = {}
    for low, high in TOKENS_OUT:
        pairs = [
            (sample.ms, block.theirs[i].ms if block.theirs else None)
            for block in measured.blocks
            for i, sample in enumerate(block.ours)
            if sample.role == "keystroke" and sample.kind == "model" and low <= tokens(sample) <= high
        ]
        part: dict[str, Any] = dict(summary([ours for ours, _ in pairs], (50, 95)))
        if measured.settings is not None:
            part["ratio"] = _ratios([(ours, theirs) for ours, theirs in pairs if theirs is not None])
        found[f"{low}-{high}"] = part
    return found


def _per_request(measured: Measured, seconds: float) -> float | None:
    count = sum(len(block.ours) for block in measured.blocks)
    return round(seconds / count, 4) if count else None


def _peer_figures(measured: Measured) -> dict[str, Any]:
    settings = measured.settings
    assert settings is not None
    every = _paired(measured.blocks, None)
    model = _paired(measured.blocks, "model")
    cold = [(block.ours[0].ms, block.theirs[0].ms) for block in measured.cold]
    answers = [
        (sample, answer)
        for block in measured.blocks
        for sample, answer in zip(block.ours, block.theirs, strict=True)
        if sample.role == "keystroke"
    ]
    peer_cpu = sum(block.peer_cpu_s for block in measured.blocks)
    return {
        "peer": {
            "name": "llama.cpp",
            "weights": "Q8_0",
            "threads": physical_cores(),
            "settings": {"name": settings.name, "cache_reuse": settings.cache_reuse, **dict(settings.spec)},
            "tried": measured.tried,
            "keystroke": summary([theirs for _, theirs in model]),
            "all_keystrokes": summary([theirs for _, theirs in every]),
            "cold": summary([theirs for _, theirs in cold], (50, 95)),
            "prefilled_tokens": summary([a.prefilled for _, a in answers], (50, 95, 100), "", 1),
            "tokens_out": summary([a.generated for s, a in answers if s.kind == "model"], (50, 95), "", 1),
            "drafted": sum(answer.drafted for _, answer in answers),
            "accepted": sum(answer.accepted for _, answer in answers),
            "cpu_s_per_keystroke": _per_request(measured, peer_cpu),
            "rss_mb": round(max(measured.peer_rss_mb), 1),
            "other_prompts": measured.other_prompts,
            "tokens_from": "daemon" if all(s.generated is not None for s, _ in answers) else "text",
            "blocks": [_block_figures(block) for block in measured.blocks],
        },
        "peer_ratio": _ratios(every),
        "peer_ratio_model": _ratios(model) | _block_spread(measured.blocks),
        "peer_ratio_cold": _ratios(cold),
    }


def _paired(blocks: Sequence[Block], kind: str | None) -> list[tuple[float, float]]:
    """(ours, theirs) in ms of the keystrokes of one kind; None: of any."""
    return [
        (sample.ms, answer.ms)
        for block in blocks
        for sample, answer in zip(block.ours, block.theirs, strict=True)
        if sample.role == "keystroke" and kind in (None, sample.kind)
    ]


def _ratios(pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    ours, theirs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return {f"p{percent}": ratio(theirs, ours, percent) for percent in (50, 95)} | {"n": len(pairs)}


def _block_spread(blocks: Sequence[Block]) -> dict[str, Any]:
    """The least and the greatest ratio of one block."""
    each = [_ratios(_paired([block], "model")) for block in blocks]
    return {
        f"{key}_spread": [min(values), max(values)] if values else []
        for key in ("p50", "p95")
        for values in [[row[key] for row in each if row[key] is not None]]
    }


def _block_figures(block: Block) -> dict[str, Any]:
    pairs = _paired([block], "model")
    ours, theirs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    times = {
        "ours_p50_ms": round(percentile(ours, 50), 2) if ours else None,
        "peer_p50_ms": round(percentile(theirs, 50), 2) if theirs else None,
    }
    return {"trace": block.trace, "repeat": block.repeat, **times, "ratio": _ratios(pairs)}
