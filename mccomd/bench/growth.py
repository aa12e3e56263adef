"""How the cost of a first index grows with the size of a repository, as one HTML file with its plots inside.

Knows the points that were measured, not how.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

from mccomd.bench.page import figure, svg, table_html, write_page
from mccomd_index.bench import Point

__all__ = ["exponent", "write_growth"]

CPU, WALL, MEMORY, DISK = "#1f6fb4", "#8c8c8c", "#c4572a", "#3a9d5d"
SMALL_MB = 2.0
"""Below this the start of a process and of Tantivy is most of the cost: such points are shown, not fitted."""


def exponent(points: Sequence[Point]) -> float:
    """b of CPU seconds = a * MB ** b, by least squares over the logarithms; 1: the cost is linear.

    nan: fewer than two points that are large enough.
    """
    large = [point for point in points if point.mb >= SMALL_MB and point.cpu_s > 0]
    if len(large) < 2:
        return math.nan
    xs, ys = [math.log(p.mb) for p in large], [math.log(p.cpu_s) for p in large]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((one - x) ** 2 for one in xs)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / spread if spread else math.nan


def write_growth(points: Sequence[Point], repositories: int, target: Path) -> None:
    """Write the report. Raises MccomdError."""
    rows: list[tuple[str, ...]] = [
        ("files", "MB of source", "CPU s", "wall s", "peak memory MB", "on disk MB", "MB a CPU second")
    ]
    rows += [(*(f"{value:,}" for value in astuple(p)), f"{p.mb / max(p.cpu_s, 1e-9):.1f}") for p in points]
    whose = "one repository" if repositories == 1 else f"{repositories} repositories as folders of one"
    said = (
        f"<p>First indexes of growing parts of {whose}; files drawn by chance, each part a third of the "
        f"next, each by a new process. CPU seconds grow with the power {exponent(points):.3f} of the size "
        f"(parts of {SMALL_MB:.0f} MB and more; 1 is linear).</p>"
    )
    plots = [("Time", _time(points)), ("What stays the same", _rates(points))]
    write_page(target, "mccomd bench index: growth", table_html(rows) + said, plots)


def _time(points: Sequence[Point]) -> str:
    drawing, (plain, logarithmic) = figure(2)
    sizes, last = [point.mb for point in points], points[-1]
    for axes in (plain, logarithmic):
        axes.plot(sizes, [p.cpu_s for p in points], "o-", color=CPU, label="CPU, all threads")
        axes.plot(sizes, [p.seconds for p in points], "s-", ms=4, color=WALL, label="wall")
        line = [last.cpu_s * size / max(last.mb, 1e-9) for size in sizes]
        axes.plot(sizes, line, ":", color="#444", label="in proportion to the largest")
        axes.set(xlabel="MB of source", ylabel="s")
    logarithmic.set(xscale="log", yscale="log")
    plain.legend(fontsize=8)
    return svg(drawing)


def _rates(points: Sequence[Point]) -> str:
    drawing, (speed, memory) = figure(2)
    sizes = [point.mb for point in points]
    speed.plot(sizes, [p.mb / max(p.cpu_s, 1e-9) for p in points], "o-", color=CPU)
    speed.axhline(10, color="#bbb", lw=0.8, ls="--")
    speed.set(xscale="log", xlabel="MB of source", ylabel="MB a CPU second", ylim=(0, None))
    memory.plot(sizes, [p.rss_peak_mb for p in points], "o-", color=MEMORY, label="peak memory")
    memory.plot(sizes, [p.index_mb for p in points], "s-", ms=4, color=DISK, label="index on disk")
    memory.axhline(500, color="#bbb", lw=0.8, ls="--")
    memory.set(xscale="log", xlabel="MB of source", ylabel="MB", ylim=(0, None))
    memory.legend(fontsize=8)
    return svg(drawing)
