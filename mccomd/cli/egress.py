"""`mccomd egress`: what has left this machine, and what would."""

from __future__ import annotations

import datetime
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from mccomd.cli.complete import Place, read_at
from mccomd.cli.output import json_option, print_json, print_json_lines, table, tilde
from mccomd.documents import lines_of
from mccomd.egress import LEDGER_FILE, parse_line, read_ledger
from mccomd.errors import MccomdError
from mccomd.paths import find_paths
from mccomd.run import spawn

__all__ = ["egress"]

PREVIEW_MS = 10_000
_POLL_S = 0.2
_AGO = re.compile(r"(\d{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@click.command()
@click.option("--since", default="", metavar="TIME", help="An age (30m, 12h, 7d) or a UTC date (2026-11-26).")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="The newest so many.")
@click.option("--follow", is_flag=True, help="Go on printing what leaves, until Ctrl-C.")
@click.option(
    "--preview", default="", metavar="FILE[:LINE[:COL]]", help="What would leave there; sends nothing."
)
@json_option
def egress(since: str, limit: int, follow: bool, preview: str, as_json: bool) -> None:
    """Every request that left this machine: when, where to, how much, what was masked.

    The ledger holds no text of yours; the hash tells whether a text you have is the one that was sent.

    \b
    mccomd egress                             the newest entries
    mccomd egress --since 24h --json          for scripts
    mccomd egress --follow                    while you work
    mccomd egress --preview src/app.py:120    what would be sent from there, masked
    """
    if preview:
        _preview(preview, as_json)
        return
    folder = find_paths().state_dir
    # Opened before the rest is read: what is written meanwhile is found by the one who follows.
    file = _opened(folder / LEDGER_FILE) if follow else None
    upto = file.seek(0, os.SEEK_END) if file else None
    entries = list(read_ledger(folder, since=_since(since), upto=upto))[-limit:]
    if as_json:
        print_json_lines(entries)
    elif entries:
        click.echo(table([_row(entry) for entry in entries]))
    elif not follow:
        since_then = " since then" if since else ""
        click.echo(f"nothing has left this machine{since_then} (ledger: {tilde(str(folder / LEDGER_FILE))})")
    if follow:
        for entry in _following(folder / LEDGER_FILE, file):
            print_json(entry) if as_json else click.echo("  ".join(_row(entry)))


def _since(text: str, now: float | None = None) -> str:
    """A point in time as the ledger writes it; raises UsageError."""
    if not text:
        return ""
    if ago := _AGO.fullmatch(text):
        then = (time.time() if now is None else now) - int(ago[1]) * _SECONDS[ago[2]]
        return datetime.datetime.fromtimestamp(then, datetime.UTC).isoformat(timespec="milliseconds")
    try:
        at = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(
            f"--since {text!r}: an age such as 12h, or a date such as 2026-11-26"
        ) from None
    at = at.astimezone(datetime.UTC) if at.tzinfo else at.replace(tzinfo=datetime.UTC)
    return at.isoformat(timespec="milliseconds")


def _row(entry: dict[str, Any]) -> list[str]:
    if "damaged" in entry:
        return ["(a damaged line)", ascii(entry["damaged"])[1:-1], "", "", ""]
    masked = entry.get("masked") or []
    return [
        _plain(entry.get("time")),
        _plain(entry["endpoint"]),
        f"{entry.get('bytes', 0)} bytes",
        f"{len(masked)} masked: {', '.join(sorted({_plain(kind) for kind in masked}))}"
        if masked
        else "nothing masked",
        _plain(entry.get("request_id")),
    ]


def _plain(value: object) -> str:
    """Whatever stands in the file, it plays no tricks in a terminal."""
    return "".join(c if c.isprintable() else "?" for c in str(value or ""))


def _following(path: Path, file: Any) -> Iterator[dict[str, Any]]:
    """New entries as they are written; follows the ledger when it is turned over.

    file: the ledger at the place to read on from; None where there is none yet.
    """
    rest = b""
    try:
        while True:
            rest += file.read() if file else b""
            *lines, rest = rest.split(b"\n")
            yield from map(parse_line, lines)
            time.sleep(_POLL_S)
            if file is None or not _same(file.fileno(), path):
                if file is not None:
                    rest += file.read()
                    file.close()
                file = _opened(path)
    finally:
        if file is not None:
            file.close()


def _opened(path: Path) -> Any:
    try:
        return open(path, "rb", buffering=0)  # kept over many reads
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MccomdError(f"{path}: cannot be read: {error.strerror}") from error


def _same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False


def _preview(text: str, as_json: bool) -> None:
    at = _place(text)
    source = read_at(at)
    params = {
        "path": at.path,
        "text": source,
        "position": {"line": at.line - 1, "column": at.column},
        "deadline_ms": PREVIEW_MS,
    }
    with spawn(find_paths()) as client:
        found = client.call("preview", params, timeout_s=PREVIEW_MS / 1000 + 20)
    if as_json:
        print_json(found)
        return
    for request in found["requests"]:
        click.echo(
            click.style(
                f"{request['endpoint']}, {request['bytes']} bytes, sha256 {request['sha256'][:16]}", bold=True
            )
        )
        click.echo(request["body"])
    if not found["requests"] and not found["refusal"]:
        click.echo(click.style("a large model would be asked with this", bold=True))
        click.echo(f"--- before the cursor\n{found['prefix']}\n--- after the cursor\n{found['suffix']}")
        click.echo(f"--- draft\n{found['draft']}")
    kinds = ", ".join(found["masked"]) or "nothing"
    click.echo(f"masked: {kinds}; nothing was sent" + (f" ({found['refusal']})" if found["refusal"] else ""))


def _place(text: str) -> Place:
    """FILE, FILE:LINE or FILE:LINE:COL; where nothing is said, the end of the line, of the file."""
    match = re.fullmatch(r"(.+?)(?::(\d{1,9}))?(?::(\d{1,9}))?", text, re.S)
    if match is None or os.path.exists(text):
        path, line, column = text, None, None
    else:
        path, line, column = match.groups()
    path = os.path.abspath(path)
    if not os.path.isfile(path):
        raise MccomdError(f"{path} is not a file")
    if line is not None and column is not None:
        return Place(path, int(line), int(column))
    lines = lines_of(read_at(Place(path, 1, 0)))
    number = len(lines) if line is None else int(line)
    if not 1 <= number <= len(lines):
        raise MccomdError(f"{path} has {len(lines)} lines, line {number} was asked for")
    return Place(path, number, len(lines[number - 1]))
