"""Commands about the daemon itself: serve, start, stop, status, plugins, socket."""

from __future__ import annotations

import time

import click

from mccomd.cli.output import json_option, print_json, print_json_lines, table, tilde
from mccomd.cli.status_text import status_text
from mccomd.client import Client
from mccomd.errors import DaemonUnavailableError, MccomdError
from mccomd.paths import find_paths
from mccomd.run import serve as serve_here
from mccomd.run import spawn

__all__ = ["plugins", "serve", "socket_", "start", "status", "stop"]

STOP_S = 10.0


_OFFLINE = "Open no network socket, whatever the config says."


@click.command()
@click.option("--offline", is_flag=True, help=_OFFLINE)
@click.option("--detached", is_flag=True, hidden=True)
def serve(offline: bool, detached: bool) -> None:
    """Be the daemon, in the foreground, until Ctrl-C.

    This is what a service manager runs; for everyday use there is `mccomd start`.
    """
    serve_here(find_paths(), detached=detached, offline=offline)


@click.command()
@click.option("--offline", is_flag=True, help=_OFFLINE)
@json_option
def start(offline: bool, as_json: bool) -> None:
    """Start the daemon in the background; say so if it is running already.

    \b
    mccomd start
    mccomd start --offline      nothing leaves: no socket but our own is opened
    """
    began = time.monotonic()
    with spawn(find_paths(), offline=offline) as client:
        found = client.call("status")
    if as_json:
        print_json({"pid": found["pid"], "socket": found["socket"], "ms": (time.monotonic() - began) * 1000})
    else:
        click.echo(f"running, pid {found['pid']}, listening on {tilde(found['socket'])}")


@click.command()
@json_option
def stop(as_json: bool) -> None:
    """Stop the daemon; requests under way are answered first."""
    paths = find_paths()
    try:
        client = Client(paths.socket)
    except DaemonUnavailableError:
        _say_stopped(as_json, False, "no daemon was running")
        return
    with client:
        pid = client.call("status")["pid"]
        client.call("shutdown")
        _wait_closed(client, pid)
    _say_stopped(as_json, True, f"stopped, pid {pid}")


@click.command()
@json_option
def status(as_json: bool) -> None:
    """What the daemon is doing: model, index of each repository, plugins, answers."""
    with Client(find_paths().socket) as client:
        found = client.call("status")
    if as_json:
        print_json(found)
    else:
        click.echo(status_text(found))


@click.command()
@json_option
def plugins(as_json: bool) -> None:
    """Each plugin, its state, and why it is not at work.

    Third-party plugins run only when named in plugins.enabled of the config.
    """
    with spawn(find_paths()) as client:
        rows = client.call("status")["plugins"]
    if as_json:
        print_json_lines(rows)
        return
    keys = ("name", "kind", "version", "state", "reason")
    click.echo(table([keys, *([row[key] for key in keys] for row in rows)]))


@click.command(name="socket")
def socket_() -> None:
    """Print the path of the daemon's socket, for editors."""
    click.echo(find_paths().socket)


def _wait_closed(client: Client, pid: int) -> None:
    """The daemon's end of the connection closes last."""
    try:
        client.wait_notification("", timeout_s=STOP_S)
    except DaemonUnavailableError as error:
        if "in time" in str(error):
            raise MccomdError(f"the daemon did not stop within {STOP_S:.0f} s: kill {pid}") from error


def _say_stopped(as_json: bool, stopped: bool, text: str) -> None:
    if as_json:
        print_json({"stopped": stopped})
    else:
        click.echo(text)
