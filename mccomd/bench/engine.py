"""What do bare passes of the model cost: reading a prompt, one token, several tokens at once?

One process, no daemon. The ids are drawn at random: what a pass costs does not depend on them. Every kind of
pass is measured in turn, round after round, so that a busy moment of the machine meets all of them.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil

from mccomd.bench.keystroke import resolve_model
from mccomd.bench.limits import fp32_gflops, read_gb_per_s
from mccomd.bench.peer import physical_cores
from mccomd.config import ModelConfig
from mccomd.engine import EngineOptions, Manifest, load_manifest
from mccomd.engine.session import Session

__all__ = ["EnginePlan", "bench_engine", "steps_of"]

PREFILL_TOKENS = (256, 512, 1024)
DECODE_CONTEXTS = (256, 1024)
VERIFY_ROWS = (2, 4, 8, 16)
VERIFY_CONTEXT = 256


@dataclass(frozen=True)
class EnginePlan:
    """What is measured, and how often."""

    model: str = ModelConfig().name  # a name, or a folder
    threads: int = 0  # 0: as the daemon does
    rounds: int = 5  # of everything
    passes: int = 20  # of one kind of short pass in a round


def steps_of(plan: EnginePlan) -> int:
    """How often `advance` is called."""
    return plan.rounds * (len(PREFILL_TOKENS) + len(DECODE_CONTEXTS) + len(VERIFY_ROWS)) + 1


def bench_engine(plan: EnginePlan, advance: Callable[[int], None] = lambda _: None) -> dict[str, Any]:
    """The JSON object of `mccomd bench engine`. Raises MccomdError."""
    folder = resolve_model(plan.model)
    manifest = load_manifest(folder)
    threads = plan.threads or physical_cores()
    bandwidth, peak = read_gb_per_s(threads), fp32_gflops()
    before = psutil.Process().memory_info().rss
    began = time.perf_counter()
    options = EngineOptions(threads=threads, context_tokens=max(PREFILL_TOKENS) + 64)
    session = Session(folder, manifest, options)
    load_s = time.perf_counter() - began
    passes = _Passes(session, manifest)
    passes.prefill(64)  # memory of the first pass
    advance(1)
    times = _rounds(plan, passes, advance)
    rss = psutil.Process().memory_info().rss
    session.close()
    return {
        "model": manifest.name,
        "threads": threads,
        **_shown(times),
        "load_s": round(load_s, 3),
        "rss_mb": round(rss / 1e6, 1),
        "rss_of_model_mb": round((rss - before) / 1e6, 1),
        "limits": _limits(manifest, times, bandwidth, peak),
        "rounds": plan.rounds,
    }


class _Passes:
    """The session, filled to where a pass is wanted. Milliseconds."""

    def __init__(self, session: Session, manifest: Manifest) -> None:
        self._session = session
        chance = random.Random(1)
        self._ids = [chance.randrange(1000, manifest.vocab) for _ in range(session.context_tokens)]

    def prefill(self, tokens: int) -> float:
        """An empty cache to the logits of the last token, in passes as the engine makes them."""
        self._session.rewind(0)
        began = time.perf_counter()
        for start in range(0, tokens, self._session.chunk):
            self._session.forward(self._ids[start : min(tokens, start + self._session.chunk)], 1)
        return (time.perf_counter() - began) * 1000

    def rows(self, context: int, rows: int) -> float:
        """One pass of so many tokens, with the logits of all of them, that ends at the context's length."""
        start = context - rows
        self._fill(start)
        began = time.perf_counter()
        self._session.forward(self._ids[start:context], rows)
        return (time.perf_counter() - began) * 1000

    def _fill(self, position: int) -> None:
        if self._session.position < position:
            for start in range(self._session.position, position, self._session.chunk):
                self._session.forward(self._ids[start : min(position, start + self._session.chunk)], 1)
        self._session.rewind(position)


_Times = dict[tuple[str, int], list[float]]


def _rounds(plan: EnginePlan, passes: _Passes, advance: Callable[[int], None]) -> _Times:
    """ms by (kind, size)."""
    times: _Times = {}
    for _ in range(plan.rounds):
        for tokens in PREFILL_TOKENS:
            times.setdefault(("prefill", tokens), []).append(passes.prefill(tokens))
            advance(1)
        for context in DECODE_CONTEXTS:
            found = [passes.rows(context, 1) for _ in range(plan.passes)]
            times.setdefault(("decode", context), []).extend(found)
            advance(1)
        for rows in VERIFY_ROWS:
            found = [passes.rows(VERIFY_CONTEXT, rows) for _ in range(plan.passes)]
            times.setdefault(("verify", rows), []).extend(found)
            advance(1)
    return times


def _shown(times: _Times) -> dict[str, Any]:
    prefill = {size: times["prefill", size] for size in PREFILL_TOKENS}
    decode = {str(size): _median_and_min(times["decode", size]) for size in DECODE_CONTEXTS}
    verify = {str(rows): times["verify", rows] for rows in VERIFY_ROWS}
    one = statistics.median(times["decode", VERIFY_CONTEXT])
    return {
        "prefill_tok_s": {
            str(n): round(1000 * n / statistics.median(found), 1) for n, found in prefill.items()
        },
        "prefill_tok_s_best": {str(n): round(1000 * n / min(found), 1) for n, found in prefill.items()},
        "decode_ms": decode[str(VERIFY_CONTEXT)]["median"],
        "decode_ms_at": decode,
        "verify_ms": {rows: round(statistics.median(found), 2) for rows, found in verify.items()},
        "verify_ms_min": {rows: round(min(found), 2) for rows, found in verify.items()},
        "verify_cost": {rows: round(statistics.median(found) / one, 2) for rows, found in verify.items()},
    }


def _median_and_min(times: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(times), 2), "min": round(min(times), 2)}


def _limits(manifest: Manifest, times: _Times, bandwidth: float, peak: float) -> dict[str, Any]:
    """How near the passes come to what memory and arithmetic allow."""
    gigabytes = sum(entry.bytes for name, entry in manifest.files.items() if ".onnx" in name) / 1e9
    floor_ms = gigabytes / bandwidth * 1000
    decode_ms = statistics.median(times["decode", VERIFY_CONTEXT])
    most = max(PREFILL_TOKENS)
    per_token = 2 * manifest.parameters / 1e9
    gflops = per_token * most / (statistics.median(times["prefill", most]) / 1000)
    return {
        "read_gb_per_s": round(bandwidth, 2),
        "weights_mb": round(gigabytes * 1000, 1),
        "decode_floor_ms": round(floor_ms, 2),
        "decode_share_of_bandwidth": round(floor_ms / decode_ms, 3),
        "fp32_gflops": round(peak, 1),
        # With the head counted for every token, though a pass computes it for the last one alone.
        "prefill_gflops_at_most": round(gflops, 1),
        "prefill_share_of_fp32": round(gflops / peak, 3),
    }
