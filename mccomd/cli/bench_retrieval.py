"""`bench retrieval`: do the retrievers find what a line needs?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mccomd.cli.bench import ended_properly, progress, say
from mccomd.cli.output import json_option, print_json, table

__all__ = ["retrieval"]


@click.command()
@click.argument("path", default=".", type=click.Path(exists=True))
@click.option("--limit", default=300, show_default=True, type=click.IntRange(1), help="Cases.")
@click.option("--seed", default=1, show_default=True, help="Another seed, other cases.")
@click.option(
    "--cases-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON lines with path, prefix, suffix, commit, crossfile_name, crossfile_member; "
    "those of the commit that HEAD is.",
)
@click.option(
    "--retriever", "retrievers", multiple=True, help="Only this plugin; may be given several times."
)
@json_option
def retrieval(
    path: str,
    limit: int,
    seed: int,
    cases_file: Path | None,
    retrievers: tuple[str, ...],
    as_json: bool,
) -> None:
    """Ask for snippets at places of the repository at PATH that need a definition of another file.

    Says how often one of the first 5 snippets shows that definition, and how long a round takes: the
    query built, searched, the snippets read. The cases are lines that use a name which one other file
    defines; the line's rest is hidden. The repository is only read.

    \b
    mccomd bench retrieval ~/src/project
    mccomd bench retrieval ~/src/project --retriever bm25 --json
    """
    from mccomd.bench.retrieval import RetrievalPlan, bench_retrieval

    plan = RetrievalPlan(path, limit, seed, cases_file, retrievers)
    with ended_properly(), progress("cases", limit) as advance:
        figures = bench_retrieval(plan, say, advance)
    if as_json:
        print_json(figures)
    else:
        click.echo(_text(figures))


def _text(figures: dict[str, Any]) -> str:
    rows: list[tuple[str, ...]] = [("", "cases", "first", "in first 5", "mrr")]
    rows.append(_row("all", figures))
    rows += [_row(f"  {name}", part) for name, part in figures["by"].items()]
    rows += [_row(f"  {name} alone", part) for name, part in figures["by_retriever"].items()]
    return "\n".join(
        [
            table(rows),
            "",
            f"{figures['p50_ms']:.2f} ms a round, 95th percentile {figures['p95_ms']:.2f} ms; "
            f"{figures['chunks']:,} chunks of {figures['files']:,} files",
            f"{figures['snippets']} snippets of {figures['characters']:,} characters together",
        ]
    )


def _row(name: str, part: dict[str, Any]) -> tuple[str, ...]:
    shares = (f"{part['recall_at_1']:.1%}", f"{part['recall_at_5']:.1%}", f"{part['mrr']:.3f}")
    return (name, str(part["n"]), *shares)
