"""`bench index`: what the index of a repository costs, and how that grows with its size."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from mccomd.cli.bench import ended_properly, say
from mccomd.cli.output import json_option, print_json, table, tilde
from mccomd.errors import MccomdError

__all__ = ["index"]

_MEANING = {
    "files": "files in the index",
    "mb": "MB of source text",
    "chunks": "chunks",
    "seconds": "seconds for the whole index",
    "mb_per_s_per_core": "MB a second of CPU",
    "commit_1_ms": "ms, commit of 1 file to searchable",
    "commit_10_ms": "ms, commit of 10 files",
    "commit_100_ms": "ms, commit of 100 files",
    "switch_ms": "ms to another branch",
    "switch_back_ms": "ms back",
    "switch_files": "files that differ there",
    "query_p50_ms": "ms a query of 60 terms, median",
    "query_p95_ms": "ms, 95th percentile",
    "round_p95_ms": "ms with the snippets' texts read, 95th percentile",
    "rss_peak_mb": "MB of memory at most, of the indexer",
    "index_mb": "MB on disk",
}


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True))
@click.option("--growth", is_flag=True, help="Index a 27th, a ninth, a third and all of it, and stop there.")
@click.option(
    "--points", default=4, show_default=True, type=click.IntRange(2, 12), help="Of the growth: sizes tried."
)
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Of the growth: write it as plots."
)
@json_option
def index(paths: tuple[str, ...], growth: bool, points: int, html: Path | None, as_json: bool) -> None:
    """Index the repository at PATH in a temporary folder and measure it.

    The repository is only read; commits are made in a scratch clone. For the growth several repositories
    may be named: they are indexed as the folders of one.

    \b
    mccomd bench index ~/src/project
    mccomd bench index ~/src/project --growth --json     one line a point
    mccomd bench index ~/src/* --growth --points 6 --html growth.html
    """
    from mccomd_index import IndexingError

    paths = paths or (".",)
    if not growth and (html is not None or len(paths) > 1):
        raise click.UsageError("--html and several repositories are for --growth")
    try:
        if growth:
            _growth(paths, points, html, as_json)
        else:
            _one(paths[0], as_json)
    except IndexingError as error:
        raise MccomdError(str(error)) from error


def _one(path: str, as_json: bool) -> None:
    from mccomd_index.bench import bench_index

    figures = dataclasses.asdict(bench_index(path))
    if as_json:
        print_json(figures)
        return
    click.echo(table([(_figure(value), _MEANING.get(key, key)) for key, value in figures.items()]))


def _growth(paths: tuple[str, ...], points: int, html: Path | None, as_json: bool) -> None:
    from mccomd.bench.growth import exponent, write_growth
    from mccomd.bench.page import require
    from mccomd_index.bench import bench_growth

    if html is not None:
        require()
    found = []
    with ended_properly():
        for point in bench_growth(paths, points):
            found.append(point)
            if as_json:
                print_json(dataclasses.asdict(point))
            else:
                say(f"{point.files:,} files indexed")
    if html is not None:
        write_growth(found, len(paths), html)
    if as_json:
        return
    rows: list[tuple[str, ...]] = [("files", "MB", "CPU s", "s", "MB of memory", "MB on disk")]
    rows += [tuple(_figure(value) for value in dataclasses.astuple(point)) for point in found]
    click.echo(table(rows))
    click.echo(f"CPU seconds grow with the power {exponent(found):.2f} of the size; 1 is linear")
    if html is not None:
        click.echo(f"written to {tilde(str(html))}")


def _figure(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
