"""The command `doctor`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import asdict

import click

from mccomd.cli.index import refresh_with_progress
from mccomd.cli.output import json_option, print_json, tilde
from mccomd.doctor import Check, connect, healthy, machine_checks, place_checks, running_checks
from mccomd.errors import MccomdError
from mccomd.paths import Paths, find_paths

__all__ = ["doctor"]


@click.command()
@click.argument("path", default=".", type=click.Path(exists=True))
@json_option
def doctor(path: str, as_json: bool) -> None:
    """Check everything, with a real completion, and say the one thing to do about each fault.

    Starts the daemon if it does not run, and brings the index of the repository at PATH in step. Exit code 1
    when anything is not as it should be.

    \b
    mccomd doctor
    mccomd doctor ~/src/project --json
    """
    found: list[Check] = []
    for check in _checks(find_paths(), os.path.abspath(path), quiet=as_json):
        found.append(check)
        if not as_json:
            _show(check)
    if as_json:
        print_json({"healthy": healthy(found), "checks": [asdict(check) for check in found]})
    else:
        _sum_up(found)
    if not healthy(found):
        sys.exit(1)


def _checks(paths: Paths, path: str, *, quiet: bool) -> Iterator[Check]:
    """One after the other; without a daemon those that need one are left out."""
    yield from machine_checks(paths)
    daemon, client = connect(paths)
    yield daemon
    if client is None:
        return
    with client:
        try:
            folder = path if os.path.isdir(path) else os.path.dirname(path)
            yield from running_checks(paths, client, folder)
            yield from place_checks(
                paths, client, path, lambda: refresh_with_progress(client, path, quiet=quiet)
            )
        except MccomdError as error:
            yield Check("daemon", False, f"it went away: {error}", f"see {paths.log_file}")


def _show(check: Check) -> None:
    sign = click.style("ok  ", fg="green") if check.ok else click.style("FAIL", fg="red", bold=True)
    detail = check.detail.replace(os.path.expanduser("~") + "/", "~/")
    click.echo(f"{sign}  {check.name:<15}  {detail}")
    if check.fix:
        arrow = "-> " if not check.ok else "   "
        click.echo(f"      {'':<15}  {arrow}{tilde(check.fix)}")


def _sum_up(found: list[Check]) -> None:
    failed = [check for check in found if not check.ok]
    if not failed:
        click.echo(f"\nhealthy: all {len(found)} checks passed")
        return
    click.echo(f"\n{len(failed)} of {len(found)} checks failed; first do: {failed[0].fix}")
