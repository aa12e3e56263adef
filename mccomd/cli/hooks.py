"""Commands about git hooks: install, uninstall, status."""

from __future__ import annotations

from dataclasses import asdict

import click

from mccomd.cli.output import json_option, print_json, table, tilde
from mccomd.githooks import Hook, HookFolder, find_folder, install, status, uninstall

__all__ = ["hooks"]

_path = click.argument("path", default=".", type=click.Path(exists=True))


@click.group()
def hooks() -> None:
    """Git hooks that have the index follow within milliseconds, also while no editor is open.

    post-commit, post-checkout, post-merge and post-rewrite tell a running daemon that git moved, in the
    background: git never waits for them and never fails by them. Hooks that are there already go on working.
    Without hooks the daemon sees commits itself while somebody works in the repository.

    \b
    mccomd hooks install                  in the repository of this folder, for all its worktrees
    mccomd hooks status ~/src/project
    mccomd hooks uninstall                what was there before is there again, byte for byte
    """


@hooks.command(name="install")
@_path
@click.option("--shared", is_flag=True, help="Also where the hooks are other people's or repositories', too.")
@json_option
def install_(path: str, shared: bool, as_json: bool) -> None:
    """Put our lines into the hooks of the repository at PATH; again is no harm.

    Honours core.hooksPath, husky, pre-commit and worktrees.
    """
    folder = find_folder(path)
    _show(folder, install(folder, shared=shared), as_json)
    if folder.kind == "husky" and not as_json:
        click.echo("husky writes this folder anew when it is installed: run this again then")


@hooks.command(name="uninstall")
@_path
@json_option
def uninstall_(path: str, as_json: bool) -> None:
    """Take our lines out of the hooks of the repository at PATH."""
    folder = find_folder(path)
    _show(folder, uninstall(folder), as_json)


@hooks.command(name="status")
@_path
@json_option
def status_(path: str, as_json: bool) -> None:
    """Which hooks of the repository at PATH tell the daemon."""
    folder = find_folder(path)
    _show(folder, status(folder), as_json)


def _show(folder: HookFolder, found: list[Hook], as_json: bool) -> None:
    if as_json:
        rows = [asdict(hook) for hook in found]
        place = {"repository": folder.repository, "folder": str(folder.path), "kind": folder.kind}
        print_json({**place, "shared": folder.shared, "hooks": rows})
        return
    click.echo(f"{tilde(str(folder.path))} ({folder.kind})")
    click.echo(table([(f"  {hook.name}", hook.state, hook.detail) for hook in found]))
