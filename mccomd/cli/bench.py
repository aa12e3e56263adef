"""Commands that measure: `bench index`."""

from __future__ import annotations

import dataclasses

import click

from mccomd.cli.output import json_option, print_json, table

__all__ = ["bench"]

_MEANING = {
    "files": "files in the index",
    "mb": "MB of source text",
    "chunks": "chunks",
    "seconds": "seconds for the whole index",
    "mb_per_s_per_core": "MB a second of CPU",
    "commit_1_ms": "ms, commit of 1 file to searchable",
    "commit_10_ms": "ms, commit of 10 files",
    "commit_100_ms": "ms, commit of 100 files",
    "query_p50_ms": "ms a query of 60 terms, median",
    "query_p95_ms": "ms, 95th percentile",
    "round_p95_ms": "ms with the snippets' texts read, 95th percentile",
    "rss_peak_mb": "MB of memory at most, of the indexer",
    "index_mb": "MB on disk",
}


@click.group()
def bench() -> None:
    """Measure mccomd on this machine and on your own repositories."""


@bench.command()
@click.argument("path", default=".", type=click.Path(exists=True))
@json_option
def index(path: str, as_json: bool) -> None:
    """Index the repository at PATH in a temporary folder and measure it.

    The repository is only read; commits are made in a scratch clone.

    \b
    mccomd bench index ~/src/project
    """
    from mccomd_index.bench import bench_index

    figures = dataclasses.asdict(bench_index(path))
    if as_json:
        print_json(figures)
        return
    click.echo(table([(_figure(value), _MEANING.get(key, key)) for key, value in figures.items()]))


def _figure(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
