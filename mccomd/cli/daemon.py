"""Commands about the daemon itself: serve, start, stop, status, plugins, socket."""

from __future__ import annotations

import time
from typing import Any

import click

from mccomd.cli.explain import shadow_text
from mccomd.cli.output import json_option, print_json, print_json_lines, table, tilde
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
def serve(offline: bool) -> None:
    """Be the daemon, in the foreground, until Ctrl-C.

    This is what a service manager runs; for everyday use there is `mccomd start`.
    """
    serve_here(find_paths(), to_terminal=True, offline=offline)


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
        click.echo(_status_text(found))


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


def _status_text(found: dict[str, Any]) -> str:
    model, asked = found["model"], found["completions"]
    indexes = [_repository_text(row) for row in found["repositories"]] or ["no repository met yet"]
    plugins = [f"{p['name']} ({p['kind']}): {p['state']}{_because(p['reason'])}" for p in found["plugins"]]
    rows = [
        ("daemon", _daemon_text(found)),
        ("model", f"{model['name']}: {model['state']}{_because(model['reason'])}"),
        ("power", f"{found['power']['mode']}{_because(found['power']['reason'])}"),
        *(("index", text) for text in indexes),
        *(("plugin", text) for text in plugins),
        ("answers", _answers_text(asked)),
        ("router", _router_text(found["router"])),
        *((("shadow", shadow_text(found["router"]["shadow"])),) if found["router"]["shadow"]["name"] else ()),
        ("month", _month_text(found["month"])),
        ("config", f"{tilde(found['config_file'])}{_because(found['config_problem'])}"),
        ("log", tilde(found["log_file"])),
    ]
    return table(rows)


def _daemon_text(found: dict[str, Any]) -> str:
    up, memory = _duration(found["uptime_s"]), f"{found['rss_mb']:.0f} MB"
    return f"{found['version']}, pid {found['pid']}, up {up}, {memory}, {found['clients']} client(s)"


def _answers_text(asked: dict[str, Any]) -> str:
    text = (
        f"{asked['requests']} asked, {asked['answered']} with a text ({asked['from_cache']} from the cache), "
        f"{asked['empty']} without, {asked['superseded']} superseded"
    )
    if asked["answered"]:
        text += f"; p50 {asked['p50_ms']:.0f} ms, p95 {asked['p95_ms']:.0f} ms"
    if asked["shown"]:
        text += (
            f"; {asked['shown']} shown, {asked['accepted']} accepted, "
            f"{asked['partially_accepted']} in part, {asked['dismissed']} dismissed"
        )
    return text


def _router_text(router: dict[str, Any]) -> str:
    return f"{router['name']}, threshold {router['threshold']:.2f}{_because(router['why'])}"


def _month_text(month: dict[str, Any]) -> str:
    text = f"{month['calls']} calls to the large model, {month['tokens']} tokens, cost {month['money']:.4f}"
    return f"{month['month']}: {text}{_because(month['reason'])}"


def _repository_text(repository: dict[str, Any]) -> str:
    head = repository["head"][:7] or "no commit"
    text = f"{tilde(repository['repository'])}: {repository['state']}, HEAD {head}"
    if repository["indexing"]:
        return f"{text}, indexing {repository['progress']:.0%}"
    if changed := repository["overlay_files"]:
        text += f" + {changed} changed file{'s' if changed > 1 else ''}"
    if repository["behind"] >= 0:
        text += f", {repository['behind']} behind"
    text += f", {repository['files']} files, {repository['chunks']} chunks"
    return text + _because("" if repository["state"] == "current" else repository["reason"])


def _because(reason: str) -> str:
    return f" ({reason})" if reason else ""


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
