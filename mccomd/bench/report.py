"""A run of `mccomd bench keystroke` as one HTML file with its plots inside: no scripts, nothing to load.

Knows the samples and the figures.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mccomd.bench.measured import Measured
from mccomd.bench.page import figure, require, svg, table_html, write_page
from mccomd.bench.replay import Sample

__all__ = ["write_report"]

OURS, THEIRS, CACHE, COLD = "#1f6fb4", "#c4572a", "#3a9d5d", "#7a5aa6"
STAGES = ("retrieve", "wait_model", "prefill", "decode", "finish", "other")
STAGE_COLOURS = ("#8c8c8c", "#c9c9c9", "#7a5aa6", "#1f6fb4", "#3a9d5d", "#e0a030")


def write_report(measured: Measured, figures: dict[str, Any], target: Path) -> None:
    """Write the report. Raises MccomdError."""
    require()
    plots = [
        ("How long a keystroke takes", _latencies(measured)),
        ("Where the time goes", _stages(measured)),
        ("Prompt tokens read per keystroke", _prefilled(measured)),
    ]
    if measured.settings is not None:
        plots.append(("Against llama.cpp, block by block", _blocks(figures)))
    write_page(target, f"mccomd bench keystroke: {measured.model}", _facts(figures), plots)


def _facts(figures: dict[str, Any]) -> str:
    rows = [("", "p50 ms", "p95 ms", "n")]
    parts = {
        "keystroke, by the model": figures["keystroke"],
        "typed through, from memory": figures["typed_through"],
        "cold buffer": figures["cold"],
    }
    if "peer" in figures:
        parts["llama.cpp, the same keystrokes"] = figures["peer"]["keystroke"]
        parts["llama.cpp, cold buffer"] = figures["peer"]["cold"]
    for name, part in parts.items():
        rows.append((name, _number(part["p50_ms"]), _number(part["p95_ms"]), str(part["n"])))
    said = [
        f"{figures['traces']} traces, {figures['repeats']} repeats, {figures['machine']['cores']} cores, "
        f"load before the run {figures['machine']['load_before']}; drafted {figures['drafted']} tokens, "
        f"accepted {figures['accepted']}; {figures['cpu_s_per_keystroke']} s of processor a keystroke; "
        f"{figures['rss_mb']} MB resident. "
        f"Others used {figures['machine']['others_share']:.0%} of the processors."
    ]
    if "peer" in figures:
        model, cold = figures["peer_ratio_model"], figures["peer_ratio_cold"]
        said.append(
            f"llama.cpp ({figures['peer']['settings']['name']}, Q8_0) takes {model['p50']} times as long "
            f"at the median and {model['p95']} times at the 95th percentile of keystrokes that our model "
            f"answers; {cold['p50']} times on a cold buffer."
        )
    return table_html(rows) + "".join(f"<p>{html.escape(text)}</p>" for text in said)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.2f}" if value < 10 else f"{value:,.0f}"


def _latencies(measured: Measured) -> str:
    """Cumulative shares by class, and a histogram of what the model answers, both over log ms."""
    drawing, (left, right) = figure(2)
    for name, colour, times in _classes(measured):
        ordered = sorted(times)
        shares = [(i + 1) / len(ordered) for i in range(len(ordered))]
        left.step(ordered, shares, where="post", color=colour, label=f"{name} ({len(ordered)})")
    left.set(xscale="log", xlabel="ms", ylabel="share of requests", ylim=(0, 1.02))
    left.axvline(60, color="#bbb", lw=0.8, ls="--")
    left.axvline(150, color="#bbb", lw=0.8, ls=":")
    left.legend(fontsize=8, loc="lower right")
    import numpy as np

    bars = [(n, c, t) for n, c, t in _classes(measured) if c in (OURS, THEIRS)]
    every = [ms for _, _, times in bars for ms in times]
    if every:
        edges = np.geomspace(max(1.0, min(every)), max(every) * 1.01, 40)
        for name, colour, times in bars:
            right.hist(times, bins=edges, color=colour, alpha=0.55, label=name)
        right.legend(fontsize=8)
    right.set(xscale="log", xlabel="ms", ylabel="keystrokes")
    return svg(drawing)


def _classes(measured: Measured) -> list[tuple[str, str, list[float]]]:
    """(name, colour, ms), those with samples only."""
    pairs = [
        (sample, block.theirs[i].ms if block.theirs else None)
        for block in measured.blocks
        for i, sample in enumerate(block.ours)
        if sample.role == "keystroke"
    ]
    found = [
        ("typed through", CACHE, [s.ms for s, _ in pairs if s.kind == "cache"]),
        ("by the model", OURS, [s.ms for s, _ in pairs if s.kind == "model"]),
        ("cold buffer", COLD, [block.ours[0].ms for block in measured.cold]),
        ("llama.cpp", THEIRS, [ms for s, ms in pairs if s.kind == "model" and ms is not None]),
    ]
    return [row for row in found if row[2]]


def _stages(measured: Measured) -> str:
    """Stacked bars: the mean stages of fast, middling and slow keystrokes."""
    samples = sorted(
        (s for block in measured.blocks for s in block.ours if s.role == "keystroke" and s.kind == "model"),
        key=lambda sample: sample.ms,
    )
    drawing, (axes,) = figure(1, height=2.6)
    groups = _quarters(samples)
    left = [0.0] * len(groups)
    for stage, colour in zip(STAGES, STAGE_COLOURS, strict=True):
        widths = [sum(_stage(s, stage) for s in group) / len(group) for _, group in groups]
        axes.barh([name for name, _ in groups], widths, left=left, color=colour, label=stage)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.set(xlabel="ms, mean of the group")
    axes.legend(fontsize=8, ncols=len(STAGES), loc="upper center", bbox_to_anchor=(0.5, 1.2), frameon=False)
    return svg(drawing)


def _quarters(samples: Sequence[Sample]) -> list[tuple[str, Sequence[Sample]]]:
    names = ("fastest quarter", "second", "third", "slowest quarter")
    size = len(samples) / 4
    parts = [samples[round(i * size) : round((i + 1) * size)] for i in range(4)]
    return [(name, part) for name, part in zip(names, parts, strict=True) if part]


def _stage(sample: Sample, stage: str) -> float:
    """`other` is what no stage owns up to: the socket, the event loop, the prompt."""
    if stage == "other":
        return max(0.0, sample.ms - sum(_stage(sample, name) for name in STAGES if name != "other"))
    return sample.stages_ms.get(stage, 0.0)


def _prefilled(measured: Measured) -> str:
    """Each request in order; the first of a trace apart."""
    drawing, (axes,) = figure(1, height=3.0)
    samples = [sample for block in measured.blocks for sample in block.ours]
    roles = (("first of a trace", COLD, "first"), ("keystroke, by the model", OURS, "keystroke"))
    for name, colour, role in roles:
        read = [(i, s.prefilled) for i, s in enumerate(samples) if s.role == role and s.kind == "model"]
        axes.plot([i for i, _ in read], [tokens for _, tokens in read], ".", ms=4, color=colour, label=name)
    axes.set(yscale="symlog", ylim=(-0.2, None), xlabel="request", ylabel="tokens read")
    axes.legend(fontsize=8)
    return svg(drawing)


def _blocks(figures: dict[str, Any]) -> str:
    """A pair of bars a block: our median and theirs."""
    rows = [row for row in figures["peer"]["blocks"] if row["ours_p50_ms"] is not None]
    drawing, (left, right) = figure(2)
    places = list(range(len(rows)))
    left.bar([p - 0.2 for p in places], [r["ours_p50_ms"] for r in rows], 0.4, color=OURS, label="mccomd")
    left.bar(
        [p + 0.2 for p in places], [r["peer_p50_ms"] for r in rows], 0.4, color=THEIRS, label="llama.cpp"
    )
    left.set(xlabel="block", ylabel="median ms, by the model")
    left.legend(fontsize=8)
    for percent, marker in (("p50", "o"), ("p95", "s")):
        right.plot(places, [r["ratio"][percent] for r in rows], marker, ms=4, label=percent)
    right.axhline(1, color="#bbb", lw=0.8)
    right.axhline(1.5, color="#bbb", lw=0.8, ls="--")
    right.set(xlabel="block", ylabel="llama.cpp / mccomd", ylim=(0, None))
    right.legend(fontsize=8)
    return svg(drawing)
