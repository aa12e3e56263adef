"""Commands that complete: `complete` at one place, `try` at several places of a repository."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import click

from mccomd.cli.index import refresh_with_progress
from mccomd.cli.output import json_option, print_json, tilde
from mccomd.client import Client
from mccomd.documents import lines_of
from mccomd.errors import MccomdError, RequestError
from mccomd.paths import find_paths
from mccomd.protocol import ErrorCode
from mccomd.run import spawn
from mccomd.trial import Trial, choose_trials, similarity

__all__ = ["Place", "complete", "read_at", "try_"]

DEADLINE_MS = 10_000
"""Of the command line: nobody is typing, and a daemon just started has its model to load."""
MAX_FILE_BYTES = 6_000_000


@dataclass(frozen=True)
class Place:
    """FILE:LINE:COL, with the line from 1 and the column in code points from 0."""

    path: str
    line: int
    column: int

    @classmethod
    def parse(cls, text: str) -> Place:
        path, _, rest = text.rpartition(":")
        path, _, line = path.rpartition(":")
        if not (path and line.isdecimal() and rest.isdecimal() and int(line) > 0):
            raise click.UsageError(f"{text!r} is no FILE:LINE:COL, as in src/a.py:120:8")
        return cls(os.path.abspath(path), int(line), int(rest))


@click.command()
@click.argument("place", metavar="FILE:LINE:COL")
@click.option("--deadline-ms", default=DEADLINE_MS, show_default=True, type=click.IntRange(1, 60_000))
@click.option("--max-tokens", default=None, type=click.IntRange(1, 256), help="Default: as configured.")
@click.option("--no-wait", is_flag=True, help="Do not wait for the repository's index.")
@json_option
def complete(place: str, deadline_ms: int, max_tokens: int | None, no_wait: bool, as_json: bool) -> None:
    """Complete at a place of a file: LINE counts from 1, COL from 0 in characters.

    Starts the daemon if needed and, the first time in a repository, waits for its index.

    \b
    mccomd complete src/app.py:120:8
    mccomd complete src/app.py:120:8 --json
    """
    at = Place.parse(place)
    text = read_at(at)
    with spawn(find_paths()) as client:
        if not no_wait:
            _refresh_if_repository(client, at.path, quiet=as_json)
        found = ask(client, at, text, deadline_ms, max_tokens)
    if as_json:
        print_json(found)
        return
    click.echo(show_completion(lines_of(text)[at.line - 1][: at.column], found))


@click.command(name="try")
@click.argument("path", default=".", type=click.Path(exists=True))
@click.option("--cases", default=5, show_default=True, type=click.IntRange(1, 1000))
@click.option("--seed", default=1, show_default=True, help="Another seed, other places.")
@json_option
def try_(path: str, cases: int, seed: int, as_json: bool) -> None:
    """Index the repository at PATH and complete at a few places of it.

    The rest of a line is hidden and asked for; what stood there is printed below the answer.

    \b
    mccomd try                        in this repository
    mccomd try ~/src/project --cases 20
    """
    from mccomd.indexing import files_at_head  # 0.1 s of libraries that no other command needs

    with spawn(find_paths()) as client:
        report = refresh_with_progress(client, path, quiet=as_json)
        trials = choose_trials(report["repository"], files_at_head(report["repository"]), cases, seed)
        if not trials:
            raise MccomdError(f"{report['repository']}: no source file with a line to complete")
        if not as_json:
            click.echo(
                f"{tilde(report['repository'])}: {report['files']} files, {report['chunks']} chunks, "
                f"index {report['state']} in {report['ms']:.0f} ms\n"
            )
        results = [_run_trial(client, trial, as_json) for trial in trials]
    if not as_json:
        _print_summary(results)


def ask(client: Client, at: Place, text: str, deadline_ms: int, max_tokens: int | None) -> dict[str, Any]:
    """The daemon's answer for a text that need not be the file's."""
    params: dict[str, Any] = {
        "path": at.path,
        "text": text,
        "position": {"line": at.line - 1, "column": at.column},
        "deadline_ms": deadline_ms,
        "wait": True,
    }
    if max_tokens is not None:
        params["max_tokens"] = max_tokens
    return dict(client.call("complete", params, timeout_s=deadline_ms / 1000 + 10))


def show_completion(typed: str, found: dict[str, Any]) -> str:
    """What stood left of the cursor, the completion in colour, and one line on where it comes from."""
    lines = [f"  {typed.lstrip()}{click.style(found['text'], fg='green')}"] if found["text"] else []
    if found["reason"]:
        lines.append(f"  no text: {found['reason']}" if not found["text"] else f"  {found['reason']}")
    stages = found["stages_ms"]
    parts = [
        f"{name} {stages[name]:.0f}" for name in ("retrieve", "prefill", "decode", "search") if name in stages
    ]
    lines.append(
        f"  {found['source']} {found['model']}, confidence {found['confidence']:.2f}, {found['ms']:.0f} ms"
        + (f" ({', '.join(parts)})" if parts else "")
    )
    for snippet in found["snippets"]:
        lines.append(
            f"  from {snippet['path']}:{snippet['start_line']}-{snippet['end_line']} "
            f"@ {snippet['commit'][:7] or 'unsaved'} {snippet['source']} {snippet['score']:.1f}"
        )
    return "\n".join(lines)


def read_at(at: Place) -> str:
    try:
        if os.path.getsize(at.path) > MAX_FILE_BYTES:
            raise MccomdError(
                f"{at.path} has more than {MAX_FILE_BYTES // 1_000_000} MB: too large to complete in"
            )
        with open(at.path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            text = file.read()
    except OSError as error:
        raise MccomdError(f"cannot read {at.path}: {error.strerror}") from error
    lines = lines_of(text)
    if at.line > len(lines):
        raise MccomdError(f"{at.path} has {len(lines)} lines, line {at.line} was asked for")
    if at.column > len(lines[at.line - 1]):
        raise MccomdError(
            f"{at.path}:{at.line} has {len(lines[at.line - 1])} characters, column {at.column}?"
        )
    return text


def _refresh_if_repository(client: Client, path: str, *, quiet: bool) -> None:
    """Outside a repository, or where its index cannot be made, completion goes on without snippets."""
    try:
        refresh_with_progress(client, path, quiet=quiet)
    except RequestError as error:
        if error.code not in (ErrorCode.NO_REPOSITORY, ErrorCode.INDEX_FAILED):
            raise
        click.echo(f"no snippets: {error}", err=True)


def _run_trial(client: Client, trial: Trial, as_json: bool) -> tuple[Trial, dict[str, Any]]:
    at = Place(trial.path, trial.line, trial.column)
    found = ask(client, at, trial.text, DEADLINE_MS, None)
    if as_json:
        place = {"path": trial.path, "line": trial.line, "column": trial.column}
        score = {"expected": trial.expected, "similarity": similarity(found["text"], trial.expected)}
        print_json({**found, **place, **score})
        return trial, found
    click.echo(click.style(f"{trial.name}:{trial.line}:{trial.column}", bold=True))
    click.echo(show_completion(trial.typed, found))
    click.echo(f"  stood there: {trial.expected.strip()}\n")
    return trial, found


def _print_summary(results: list[tuple[Trial, dict[str, Any]]]) -> None:
    exact = sum(found["text"].strip() == trial.expected.strip() for trial, found in results)
    alike = sum(similarity(found["text"], trial.expected) for trial, found in results) / len(results)
    times = sorted(found["ms"] for _, found in results)
    click.echo(
        f"{exact} of {len(results)} exactly as it stood, edit similarity {alike:.2f}, "
        f"median {times[len(times) // 2]:.0f} ms"
    )
