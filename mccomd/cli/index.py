"""Commands about the index: refresh, search."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from mccomd.cli.output import json_option, print_json, print_json_lines, tilde
from mccomd.client import Client
from mccomd.paths import find_paths
from mccomd.rpc import Notification
from mccomd.run import spawn

__all__ = ["refresh", "refresh_with_progress", "search"]

INDEX_TIMEOUT_S = 3600.0


@click.command()
@click.argument("path", default=".", type=click.Path())
@click.option("--rebuild", is_flag=True, help="Build the whole index anew.")
@click.option("--no-wait", is_flag=True, help="Return as soon as the work is queued.")
@json_option
def refresh(path: str, rebuild: bool, no_wait: bool, as_json: bool) -> None:
    """Bring the index of the repository at PATH in step with its HEAD.

    \b
    mccomd refresh                 the repository of this folder
    mccomd refresh ~/src/project   another one
    """
    with spawn(find_paths()) as client:
        report = refresh_with_progress(client, path, rebuild=rebuild, wait=not no_wait, quiet=as_json)
    if as_json:
        print_json(report)
        return
    how = "rebuilt" if report["rebuilt"] else f"{report['changed_files']} files changed"
    click.echo(
        f"{tilde(report['repository'])}: {report['state']}, HEAD {report['head'][:7] or 'none'}, "
        f"{report['files']} files, {report['chunks']} chunks, {how}, {report['ms']:.0f} ms"
        + (f" ({report['reason']})" if report["reason"] else "")
    )


@click.command()
@click.argument("query")
@click.option(
    "--repo", default=".", type=click.Path(), help="A path in the repository; default: this folder."
)
@click.option("--limit", default=10, show_default=True, type=click.IntRange(1, 100))
@json_option
def search(query: str, repo: str, limit: int, as_json: bool) -> None:
    """Search a repository's index, as the prompt's snippets are searched.

    \b
    mccomd search "parse config file"
    mccomd search HTTPTransport --repo ~/src/httpx --limit 3
    """
    with spawn(find_paths()) as client:
        refresh_with_progress(client, repo, quiet=as_json)
        found = client.call("search", {"query": query, "path": os.path.abspath(repo), "limit": limit})
    if as_json:
        print_json_lines(found["hits"])
        return
    if not found["hits"]:
        click.echo(f"nothing in {tilde(found['repository'])} matches")
    for hit in found["hits"]:
        place = f"{hit['path']}:{hit['start_line']}-{hit['end_line']}"
        click.echo(f"{click.style(place, bold=True)}  score {hit['score']:.2f}  @ {hit['commit'][:7]}")
        click.echo(_indented(hit["text"]))


def refresh_with_progress(
    client: Client, path: str, *, rebuild: bool = False, wait: bool = True, quiet: bool = False
) -> dict[str, Any]:
    """Ask for a refresh; a bar on standard error when it takes long enough to be seen."""
    bar = _Bar(quiet)
    try:
        return dict(
            client.call(
                "refresh",
                {"path": os.path.abspath(path), "rebuild": rebuild, "wait": wait},
                timeout_s=INDEX_TIMEOUT_S,
                on_notification=bar.show,
            )
        )
    finally:
        bar.close()


class _Bar:
    """click's progress bar, opened by the first progress message."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet or not sys.stderr.isatty()
        self._bar: Any = None

    def show(self, notification: Notification) -> None:
        if self._quiet or notification.method != "progress":
            return
        files, total = notification.params["files"], notification.params["total"]
        if self._bar is None:
            self._bar = click.progressbar(length=total, label="indexing", file=sys.stderr, show_pos=True)
            self._bar.__enter__()
        self._bar.update(files - self._bar.pos)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
