"""Commands about the configuration: show, check."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from mccomd.cli.output import json_option, print_json, tilde
from mccomd.config import Config, load, origins, render
from mccomd.paths import find_paths

__all__ = ["config"]


@click.group()
def config() -> None:
    """Show and check the configuration file.

    A running daemon reads the file again when it changes; a file with mistakes is refused and the
    options before it stay in force, which `mccomd status` shows.
    """


@config.command()
@json_option
def show(as_json: bool) -> None:
    """Every option in force, with its meaning, its unit and where it was set.

    \b
    mccomd config show > ~/.config/mccomd/config.toml     a file to edit
    """
    found = load(find_paths().config_file)
    if as_json:
        print_json(
            {"file": str(find_paths().config_file), "options": _plain(found), "origins": origins(found)}
        )
    else:
        click.echo(render(found, with_origins=True))


@config.command()
@json_option
def check(as_json: bool) -> None:
    """Check the configuration file; every mistake with its line. Exit code 1 if there is one."""
    path = find_paths().config_file
    load(path)
    if as_json:
        print_json({"file": str(path), "exists": path.exists(), "ok": True})
    else:
        click.echo(
            f"{tilde(str(path))}: " + ("no mistakes" if path.exists() else "no such file: defaults apply")
        )


def _plain(found: Config) -> dict[str, Any]:
    """Tables of plain values."""
    sections = (entry.name for entry in dataclasses.fields(found) if entry.name != "written_at")
    return {name: _section(getattr(found, name)) for name in sections}


def _section(section: Any) -> dict[str, Any]:
    values = {entry.name: getattr(section, entry.name) for entry in dataclasses.fields(section)}
    return {name: dict(value) if hasattr(value, "keys") else value for name, value in values.items()}
