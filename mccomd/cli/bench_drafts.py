"""`bench drafts`: what the local answer saves at the large model that the user has configured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mccomd.cli.bench import ended_properly, progress
from mccomd.cli.output import json_option, print_json, table
from mccomd.paths import ensure_private, find_paths

__all__ = ["drafts"]


@click.command()
@click.option("--traces", type=click.Path(dir_okay=False, path_type=Path), help="Default: mccomd's own.")
@click.option("--places", default=6, show_default=True, type=click.IntRange(1, 100), help="Cursors asked at.")
@click.option("--runs", default=3, show_default=True, type=click.IntRange(1, 100), help="Answers a cell.")
@click.option(
    "--tokens", default=32, show_default=True, type=click.IntRange(4, 512), help="Most of an answer."
)
@click.option("--seed", default=1, show_default=True, help="Another seed, other cursors.")
@json_option
def drafts(traces: Path | None, places: int, runs: int, tokens: int, seed: int, as_json: bool) -> None:
    """Ask the large model of your configuration with drafts that are right, half right and wrong.

    Sends some dozens of requests with texts of mccomd's own traces, none of yours; they cost what your
    endpoint takes for them, and are in `mccomd egress` as "bench". Only what the endpoint proves that it can
    do is measured.

    \b
    mccomd bench drafts
    mccomd bench drafts --places 3 --runs 1 --json
    """
    from mccomd.bench.drafts import DraftPlan, bench_drafts, steps_of
    from mccomd.bench.traces import load_traces
    from mccomd.config import load, why_silent

    paths = find_paths()
    config = load(paths.config_file)
    plan = DraftPlan(
        config.cloud,
        load_traces(traces),
        paths.state_dir,
        lambda: why_silent(config),
        places,
        runs,
        tokens,
        seed,
    )
    ensure_private(paths.state_dir)
    with ended_properly(), progress("places", steps_of(plan)) as advance:
        found = bench_drafts(plan, advance)
    if as_json:
        print_json(found)
    else:
        click.echo(_text(found))


def _text(found: dict[str, Any]) -> str:
    rows = [("strategy, draft", "first ms", "all ms", "requests", "drafted", "accepted", "used", "same text")]
    for name, row in found["rows"].items():
        rows.append(
            (name, f"{row['first_ms']:,.0f}", f"{row['total_ms']:,.0f}", f"{row['requests']:.0f}",
             str(row["drafted"]), str(row["accepted"]), row["used"], row["identical"])
        )  # fmt: skip
    model = f"{found['model']} ({found['dialect']})"
    about = f"medians of {found['places']} places, {found['runs']} runs each: {model}"
    return "\n".join([table(rows), about, *found["probe"]])
