"""The command `warm`."""

from __future__ import annotations

import os
import time
from typing import Any

import click

from mccomd.cli.index import refresh_with_progress
from mccomd.cli.output import json_option, print_json, tilde
from mccomd.errors import RequestError
from mccomd.paths import find_paths
from mccomd.protocol import ErrorCode
from mccomd.run import spawn
from mccomd.warming import recent_spots, spot_in, warm_spot

__all__ = ["warm"]


@click.command()
@click.argument("path", default=".", type=click.Path(exists=True))
@click.option("--files", default=1, show_default=True, type=click.IntRange(0, 16), help="Read ahead so many.")
@json_option
def warm(path: str, files: int, as_json: bool) -> None:
    """Have everything ready for the first completion: daemon, model, index, and what was edited last.

    Brings the index of the repository at PATH in step, then reads ahead the prompts at the last changes: of
    uncommitted files first, then of the last commit. PATH may be one file. The daemon keeps the prompt of one
    place that is read ahead; of more files the last change stays, of the others their tokens.

    \b
    mccomd warm                 before you open the editor
    mccomd warm src/app.py
    """
    began = time.monotonic()
    place = os.path.abspath(path)
    with spawn(find_paths()) as client:
        report: dict[str, Any] = {}
        try:
            report = refresh_with_progress(client, place, quiet=as_json)
        except RequestError as error:
            if error.code not in (ErrorCode.NO_REPOSITORY, ErrorCode.INDEX_FAILED):
                raise
            if not as_json:
                click.echo(f"no index: {error}", err=True)
        if os.path.isfile(place):
            spots = list(
                filter(None, [spot_in(place, ("diff", "-U0", "--no-color", "--no-ext-diff", "HEAD"))])
            )
        else:
            spots = recent_spots(report["repository"], files) if report else []
        rows = []
        for spot in reversed(spots):
            rows.append(warm_spot(client, spot))
            if not as_json:
                click.echo(_row_text(rows[-1]))
    ms = (time.monotonic() - began) * 1000
    if as_json:
        print_json({"repository": report.get("repository", ""), "index": report, "files": rows, "ms": ms})
    elif report:
        text = f"index {report['state']}, {report['files']} files"
        tokens = sum(row["tokens"] for row in rows)
        click.echo(f"{tilde(report['repository'])}: {text}, {tokens} tokens read ahead, {ms / 1000:.1f} s")


def _row_text(row: dict[str, Any]) -> str:
    why = f" ({row['reason']})" if row["reason"] else ""
    return f"{tilde(row['path'])}:{row['line']}: {row['tokens']} tokens, {row['ms']:.0f} ms{why}"
