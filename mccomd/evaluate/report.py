"""A run of `mccomd eval` as one HTML file with its plots inside."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mccomd.bench.page import figure, require, svg, table_html, write_page
from mccomd.evaluate.figures import Scored, confidence_pairs

__all__ = ["cascade_rows", "threshold_rows", "write_report"]

BLUE, RED, GREY = "#1f6fb4", "#c4572a", "#8c8c8c"


def write_report(figures: dict[str, Any], scored: Sequence[Scored], target: Path) -> None:
    """Write the file. Raises MccomdError."""
    require()
    plots = [
        ("What a confidence means", _confidence(figures, scored)),
        ("Exact match by kind", _kinds(figures)),
        ("How long an answer takes", _times(scored)),
    ]
    if "cascade" in figures:
        plots.append(("Small and large model together", _cascade(figures["cascade"])))
    write_page(target, f"mccomd eval: {figures['model']}", _facts(figures), plots)


def _facts(figures: dict[str, Any]) -> str:
    rows = [("", "share", "95 %"), *(_fact(figures, key, name) for key, name in _MEASURES)]
    left = figures["in_left_context"]
    said = [
        f"{figures['n']} cases, {'with' if figures['retrieval'] else 'without'} retrieval, "
        f"model {figures['model']}; no text in {_percent(figures['empty_share'])}; "
        f"{_percent(left['share'])} of the answers stand literally left of the cursor. "
        f"Calibration error {figures['ece']}, area under risk and coverage {figures['aurc']} "
        f"(a confidence that tells nothing: {figures['aurc_blind']})."
    ]
    tables = [table_html(rows)]
    if "cascade" in figures:
        tables += [table_html(rows(figures["cascade"])) for rows in (cascade_rows, threshold_rows)]
    return "".join(tables) + "".join(f"<p>{html.escape(text)}</p>" for text in said)


_MEASURES = (("em", "exact match"), ("es", "edit similarity"), ("id_f1", "identifiers, F1"))


def _fact(figures: dict[str, Any], key: str, name: str) -> tuple[str, str, str]:
    low, high = figures[f"{key}_ci"]
    return name, _percent(figures[key]), f"{_percent(low)} to {_percent(high)}"


def cascade_rows(cascade: dict[str, Any]) -> list[tuple[str, ...]]:
    """The comparison as lines of text; the first is the head."""
    found: list[tuple[str, ...]] = [
        ("", "EM", "95 %", "ES", "calls", "wasted", "first ms", "final ms", "of cloud")
    ]
    for name, row in cascade["rows"].items():
        low, high = row["em_ci"]
        to_cloud = row["final_ms_to_cloud"]
        found.append(
            (
                name.replace("_", ", ", 1).replace("_", " "),
                _percent(row["em"]),
                f"{_percent(low)} to {_percent(high)}",
                _percent(row["es"]),
                _percent(row["calls_share"]),
                _percent(row["wasted_calls"]),
                f"{row['first_ms']['mean']:,.0f}" if row["first_ms"]["mean"] is not None else "",
                f"{row['final_ms']['mean']:,.0f}" if row["final_ms"]["mean"] is not None else "",
                "" if to_cloud is None else f"{to_cloud:.2f}",
            )
        )
    return found


def threshold_rows(cascade: dict[str, Any]) -> list[tuple[str, ...]]:
    """What each threshold would mean, as lines of text; the first is the head, * marks the one in force."""
    found: list[tuple[str, ...]] = [
        (
            "threshold",
            "routed: calls",
            "EM",
            "ES",
            "ms",
            "typed against, too: calls",
            "wasted",
            "EM",
            "ES",
            "ms",
        )
    ]
    before: dict[str, Any] = {}
    nearest = min((p["threshold"] for p in cascade["sweep"]), key=lambda t: abs(t - cascade["threshold"]))
    for point in cascade["sweep"]:
        mark = "*" if point["threshold"] == nearest else ""
        rest = {key: value for key, value in point.items() if key != "threshold"}
        if rest != before or mark:
            calls, _, *others = _point(rest)  # routed alone wastes none
            found.append((f"{point['threshold']:.2f}{mark}", calls, *others, *_point(rest["typed"])))
        before = rest
    return found


def _point(row: dict[str, Any]) -> tuple[str, ...]:
    """Calls, of these wasted, exact match, edit similarity, time to the final text."""
    shares = tuple(_percent(row[key]) for key in ("calls_share", "wasted_calls", "em", "es"))
    return (*shares, "" if row["final_ms"] is None else f"{row['final_ms']:,.0f}")


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def _confidence(figures: dict[str, Any], scored: Sequence[Scored]) -> str:
    """Left the reliability curve with intervals, right the share wrong at each coverage."""
    drawing, (left, right) = figure(2)
    bins = figures["calibration"]
    places, shares = [b["confidence"] for b in bins], [b["right"] for b in bins]
    below = [b["right"] - b["low"] for b in bins]
    above = [b["high"] - b["right"] for b in bins]
    left.errorbar(places, shares, yerr=[below, above], fmt="o", color=BLUE, ms=4, lw=1, label="bins")
    left.plot(*zip(*figures["curve"], strict=True), color=RED, lw=1.2, label="rising curve") if figures[
        "curve"
    ] else None
    left.plot([0, 1], [0, 1], color=GREY, lw=0.8, ls="--")
    left.set(xlabel="confidence", ylabel="share exactly right", xlim=(0, 1), ylim=(0, 1))
    left.legend(fontsize=8)
    ordered = sorted(confidence_pairs(scored), key=lambda pair: -pair[0])
    wrong = 0
    risks = []
    for place, (_, is_right) in enumerate(ordered, 1):
        wrong += not is_right
        risks.append(wrong / place)
    right.plot([(i + 1) / len(risks) for i in range(len(risks))], risks, color=BLUE)
    right.axhline(figures["aurc_blind"], color=GREY, lw=0.8, ls="--")
    right.set(xlabel="share of answers kept, the surest first", ylabel="share of these wrong", ylim=(0, 1.02))
    return svg(drawing)


def _kinds(figures: dict[str, Any]) -> str:
    drawing, axes = figure(3, height=3.2)
    for one, (name, groups) in zip(axes, figures["by"].items(), strict=True):
        labels = [f"{label} ({group['n']})" for label, group in groups.items()]
        shares = [group["em"] for group in groups.values()]
        ends = [group["em_ci"] for group in groups.values()]
        spread = [[s - low for s, (low, _) in zip(shares, ends, strict=True)],
                  [high - s for s, (_, high) in zip(shares, ends, strict=True)]]  # fmt: skip
        one.barh(labels, shares, xerr=spread, color=BLUE, ecolor=GREY, height=0.6)
        one.invert_yaxis()
        one.set(title=name, xlim=(0, 1))
        one.tick_params(labelsize=8)
    return svg(drawing)


def _times(scored: Sequence[Scored]) -> str:
    drawing, (axes,) = figure(1, height=2.8)
    for name, colour, times in (
        ("answer, prompt read ahead", BLUE, sorted(one.answer.ms for one in scored)),
        ("reading the prompt", GREY, sorted(one.answer.warm_ms for one in scored)),
    ):
        shown = [ms for ms in times if ms > 0]
        axes.step(
            shown, [(i + 1) / len(shown) for i in range(len(shown))], where="post", color=colour, label=name
        )
    axes.set(xscale="log", xlabel="ms", ylabel="share of cases", ylim=(0, 1.02))
    axes.legend(fontsize=8, loc="lower right")
    return svg(drawing)


def _cascade(cascade: dict[str, Any]) -> str:
    """Exact match against the share of calls: each threshold, and the ways of rejection."""
    drawing, (axes,) = figure(1)
    sweep = cascade["sweep"]
    axes.plot(
        [p["calls_share"] for p in sweep], [p["em"] for p in sweep], ".-", color=BLUE, label="routing alone"
    )
    typed = [p["typed"] for p in sweep]
    axes.plot(
        [p["calls_share"] for p in typed],
        [p["em"] for p in typed],
        ".-",
        color=RED,
        label="typed against, too",
    )
    for name, row in cascade["rows"].items():
        axes.plot([row["calls_share"]], [row["em"]], "o", ms=5, label=name.replace("_", " "))
    axes.set(xlabel="share of cases that ask the large model", ylabel="exact match", xlim=(-0.02, 1.02))
    axes.legend(fontsize=8)
    return svg(drawing)
