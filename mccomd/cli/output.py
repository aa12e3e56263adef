"""What the commands print: JSON for scripts, aligned lines for people."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click

__all__ = ["as_json", "json_option", "print_json", "print_json_lines", "printable", "table", "tilde"]

F = TypeVar("F", bound=Callable[..., Any])


def json_option(function: F) -> F:
    """The flag that every command has."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")(function)


def as_json(value: object) -> str:
    """One line; what is not UTF-8 in a path or a text becomes escapes, never an error."""
    return json.dumps(value, ensure_ascii=True)


def print_json(value: object) -> None:
    click.echo(as_json(value))


def print_json_lines(values: Iterable[object]) -> None:
    for value in values:
        click.echo(as_json(value))


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, two blanks apart."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def printable(text: str) -> str:
    """Text from elsewhere (a folder's name, a plugin's reason) that plays no tricks in a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def tilde(path: str) -> str:
    """A path as people write it, fit for a terminal."""
    home = os.path.expanduser("~")
    return printable(f"~{path[len(home) :]}" if path.startswith(home + os.sep) else path)
