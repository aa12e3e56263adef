"""A run's log as a picture: losses over tokens seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mccomd_models.training.loop import LOG

__all__ = ["plot", "read_log"]

SMOOTH = 0.95


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log; without those behind a checkpoint that the run went back to."""
    kept: list[dict[str, Any]] = []
    for text in (folder / LOG).read_text().splitlines():
        line = json.loads(text)
        if line["what"] == "step":
            while kept and (kept[-1]["step"], kept[-1]["what"]) >= (line["step"], "step"):
                kept.pop()
        kept.append(line)
    return kept


def plot(folders: list[Path], target: Path) -> None:
    """Draw the runs into one picture, by the suffix of `target` an SVG or PNG."""
    from matplotlib.figure import Figure  # a dependency of this command only

    figure = Figure(figsize=(8, 4.5), layout="tight")
    axes = figure.add_subplot()
    for folder in folders:
        lines = read_log(folder)
        steps = [line for line in lines if line["what"] == "step"]
        axes.plot(
            [s["seen"] for s in steps], smooth([s["middle"] for s in steps]), label=f"{folder.name}: middles"
        )
        held = [line for line in lines if line["what"] == "held_out"]
        if held:
            axes.plot(
                [h["seen"] for h in held], [h["nats"] for h in held], "o--", label=f"{folder.name}: held out"
            )
    axes.set_xlabel("tokens seen")
    axes.set_ylabel("nats a token of the middles")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(target)


def smooth(values: list[float]) -> list[float]:
    """A running mean that begins at the first value, corrected for its beginning. [] -> []"""
    found: list[float] = []
    mean = 0.0
    for count, value in enumerate(values, 1):
        mean = SMOOTH * mean + (1 - SMOOTH) * value
        found.append(mean / (1 - SMOOTH**count))
    return found
