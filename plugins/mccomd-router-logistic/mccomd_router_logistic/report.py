"""`mccomd-router-logistic`: what was learnt from the local history, and how well it predicts."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from mccomd.errors import MccomdError
from mccomd.paths import find_paths
from mccomd_router_logistic.learning import HISTORY_FILE, Learnt, learn, read_history
from mccomd_router_logistic.router import MIN_ANSWERS

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="mccomd-router-logistic", description=__doc__)
    parser.add_argument("--history", type=Path, help="another history than the daemon's own")
    parser.add_argument("--min-answers", type=int, default=MIN_ANSWERS)
    parser.add_argument("--json", action="store_true", help="for scripts")
    options = parser.parse_args(arguments)
    try:
        path = options.history or find_paths().state_dir / HISTORY_FILE
    except MccomdError as error:
        sys.exit(f"error: {error}")
    rows, problem = read_history(path)
    if problem:
        sys.exit(f"error: {problem}")
    learnt = learn(rows, max(2, options.min_answers))
    print(as_json(learnt) if options.json else as_text(learnt))


def as_json(learnt: Learnt) -> str:
    keys = ("answers", "judged", "why_not", "loss", "baseline_loss", "tested")
    return json.dumps({**{key: getattr(learnt, key) for key in keys}, "weights": dict(learnt.weights)})


def as_text(learnt: Learnt) -> str:
    lines = [f"{learnt.answers} answers, {learnt.judged} judged"]
    if learnt.tested:
        losses = f"{learnt.loss:.3f}, by confidence alone {learnt.baseline_loss:.3f}"
        lines.append(f"log loss on the newest {learnt.tested}: {losses}")
    if learnt.why_not:
        lines.append(f"not in use: {learnt.why_not}")
    ranked = sorted(learnt.weights.items(), key=lambda entry: -abs(entry[1]))
    lines += [f"{weight:+7.2f}  {name}" for name, weight in ranked]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
