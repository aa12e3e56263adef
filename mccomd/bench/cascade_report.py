"""A run of `mccomd bench cascade` as one HTML file with its plots inside."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mccomd.bench.cascade import Mode
from mccomd.bench.page import figure, require, svg, table_html, write_page

__all__ = ["write_report"]

TITLES = {"local": "local alone", "cloud": "large, at every key", "cascade": "cascade"}
COLOURS = {"local": "#1f6fb4", "cloud": "#c4572a", "cascade": "#3a9d5d"}


def write_report(modes: Sequence[Mode], figures: dict[str, Any], target: Path) -> None:
    """Write the report of whatever was measured. Raises MccomdError."""
    require()
    plots = []
    if modes:
        plots.append(("When something stands on the screen", _latencies(modes)))
        plots.append(("What it costs and what it gives", _bars(figures)))
    if "delay_ms" in figures:
        plots.append(("Local answers beside a misbehaving endpoint", _delays(figures)))
    if "strategies" in figures:
        plots.append(("Drafts at llama.cpp's server", _drafts(figures["strategies"])))
    write_page(target, "mccomd bench cascade", _facts(figures), plots)


def _facts(figures: dict[str, Any]) -> str:
    if "cascade" not in figures:
        return ""
    rows = [("", "requests", "calls", "wasted", "shown", "first ms", "final ms", "exact")]
    for name, title in TITLES.items():
        part = figures[name]
        rows.append(
            (title, str(part["requests"]), str(part["calls"]), _percent(part["wasted_calls"]),
             _percent(part["shown_share"]), _number(part["first_ms"]["p50"]),
             _number(part["final_ms"]["p50"]), _percent(part["em"]))
        )  # fmt: skip
    network = figures["network"]
    said = (
        f"The large model: {figures['large_model']}; {network['rtt_ms']:.0f} ms there and back, "
        f"{network['ttft_ms']:.0f} ms to the first token, {network['token_ms']:.0f} ms a token. Typed at "
        f"{figures['pace']:g} of the traces' pace. The large model at every key is computed, the others ran. "
        f"Others used {figures['others_share']:.0%} of the processors."
    )
    return table_html(rows) + f"<p>{html.escape(said)}</p>"


def _latencies(modes: Sequence[Mode]) -> str:
    drawing, (left, right) = figure(2)
    for axis, which, title in ((left, 0, "first suggestion"), (right, -1, "final text")):
        for mode in modes:
            times = sorted(max(0.5, key.shown[which][0]) for key in mode.keys if key.shown)
            shares = [(i + 1) / len(mode.keys) for i in range(len(times))]
            axis.step(times, shares, where="post", color=COLOURS[mode.name], label=TITLES[mode.name])
        axis.set(xscale="log", xlabel=f"ms to the {title}", ylabel="share of requests", ylim=(0, 1.02))
    left.legend(fontsize=8, loc="upper left")
    return svg(drawing)


def _bars(figures: dict[str, Any]) -> str:
    drawing, (left, right) = figure(2)
    names = list(TITLES)
    for offset, key, label in (
        (-0.2, "calls_share", "calls a request"),
        (0.2, "wasted_calls", "of these wasted"),
    ):
        values = [figures[name][key] or 0 for name in names]
        left.bar([i + offset for i in range(3)], values, 0.4, label=label)
    left.set_xticks(range(3), [TITLES[name] for name in names], fontsize=8)
    left.legend(fontsize=8)
    right.bar(range(3), [figures[name]["em"] or 0 for name in names], color=[COLOURS[name] for name in names])
    right.set_xticks(range(3), [TITLES[name] for name in names], fontsize=8)
    right.set(ylabel="exactly what was typed next")
    return svg(drawing)


def _delays(figures: dict[str, Any]) -> str:
    drawing, (axis,) = figure(1, height=4.6)
    rows = [(name, row) for name, row in figures["delay_ms"].items() if row["n"]]
    axis.barh(range(len(rows)), [row["p50"] for _, row in rows], color=COLOURS["local"])
    axis.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=8)
    axis.axvline(5, color="#c4572a", lw=0.8, ls="--")
    axis.set(xlabel="ms by which a local answer from memory came later (median)")
    return svg(drawing)


def _drafts(found: dict[str, Any]) -> str:
    drawing, (axis,) = figure(1)
    plain = [("plain, cold", found["plain"]["cold"]), ("plain, read", found["plain"]["read"])]
    rows = plain + [
        (f"{kind}, {name.replace('_', ' ')}", part[name])
        for kind, part in found["prime"].items()
        for name in ("ahead", "in_series")
    ]
    places = range(len(rows))
    axis.bar([p - 0.2 for p in places], [row["first_ms"] for _, row in rows], 0.4, label="first text")
    axis.bar([p + 0.2 for p in places], [row["total_ms"] for _, row in rows], 0.4, label="all of it")
    axis.set_xticks(places, [name for name, _ in rows], fontsize=7)
    axis.set(ylabel="ms, median")
    axis.legend(fontsize=8)
    return svg(drawing)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}"
