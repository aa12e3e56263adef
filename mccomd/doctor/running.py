"""What a daemon says when it is asked: does it start, is it this version, does it complete?"""

from __future__ import annotations

import os
import stat
import time
from typing import Any

from mccomd import __version__
from mccomd.client import Client
from mccomd.doctor.check import Check, bad, checked, good
from mccomd.doctor.machine import package_changed
from mccomd.errors import MccomdError
from mccomd.paths import Paths
from mccomd.run import spawn

__all__ = ["connect", "running_checks"]

COMPLETE_MS = 30_000
SLOW_MS = 5_000
MAX_TOKENS = 8
RESTART = "mccomd stop && mccomd start"
TEXT = """\
def area(width, height):
    return width * height


def {name}(width, height, depth):
    return width * """


def connect(paths: Paths) -> tuple[Check, Client | None]:
    """A connection to the daemon, which is started if it does not run."""
    began = time.monotonic()
    try:
        client = spawn(paths)
    except (MccomdError, OSError) as error:
        return bad("daemon", str(error).splitlines()[0], f"see {paths.log_file}, or run `mccomd serve`"), None
    ms = (time.monotonic() - began) * 1000
    return good("daemon", f"answers on {paths.socket} after {ms:.0f} ms"), client


def running_checks(paths: Paths, client: Client, folder: str) -> list[Check]:
    """folder: where the completion is made; nothing is written there."""
    status = client.call("status")
    checks = [
        checked("version", lambda: _version(status), RESTART),
        checked("socket", lambda: _socket(paths), f"{RESTART}, and see who changed it"),
        checked("completion", lambda: _completion(client, folder), f"see {paths.log_file}"),
    ]
    status = client.call("status")
    return [
        *checks,
        checked("config in force", lambda: _config(status), "mccomd config check"),
        checked("plugins", lambda: _plugins(status), "mccomd plugins"),
        checked("large model", lambda: _cloud(status), "see [cloud] in `mccomd config show`"),
        checked("power", lambda: _power(status), ""),
    ]


def _version(status: dict[str, Any]) -> Check:
    if status["version"] != __version__:
        text = f"the daemon is {status['version']}, this command {__version__}"
        return bad("version", f"{text}: it was started before an upgrade", RESTART)
    if time.time() - status["uptime_s"] < package_changed() - 1.0:
        return bad("version", f"{__version__}, but its files changed after the daemon was started", RESTART)
    return good("version", f"{__version__}, daemon and command line")


def _socket(paths: Paths) -> Check:
    found, folder = paths.socket.stat(), paths.socket.parent.stat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        return bad("socket", f"{paths.socket} has mode {mode:04o}: others can reach it", RESTART)
    if folder.st_uid != os.getuid() or folder.st_mode & 0o022:
        mode = stat.S_IMODE(folder.st_mode)
        return bad("socket", f"{paths.socket.parent} has mode {mode:04o}", f"chmod 700 {paths.socket.parent}")
    return good("socket", f"{paths.socket}, only yours")


def _completion(client: Client, folder: str) -> Check:
    """A real one, of a text that was never asked for; the first of a daemon waits for its model."""
    found = _ask(client, folder)
    if found["text"] and found["ms"] > SLOW_MS:
        found = _ask(client, folder)
    if not found["text"]:
        return bad("completion", f"no text: {found['reason'] or found['finish']}", "mccomd status")
    text = f"`return width * ` goes on `{found['text'].strip()}`, by {found['model']}"
    if found["ms"] > SLOW_MS:
        fix = "set model.threads or completion.max_tokens, or see what else keeps the processor busy"
        return bad("completion", f"{text} took {found['ms'] / 1000:.1f} s", fix)
    return good("completion", f"{text} in {found['ms']:.0f} ms")


def _ask(client: Client, folder: str) -> dict[str, Any]:
    text = TEXT.format(name=f"volume_{time.time_ns() % 1_000_000}")
    lines = text.split("\n")
    params = {
        "path": os.path.join(folder, "mccomd_doctor.py"),
        "text": text,
        "position": {"line": len(lines) - 1, "column": len(lines[-1])},
        "deadline_ms": COMPLETE_MS,
        "max_tokens": MAX_TOKENS,
    }
    return dict(client.call("complete", params, timeout_s=COMPLETE_MS / 1000 + 10))


def _config(status: dict[str, Any]) -> Check:
    if status["config_problem"]:
        return bad("config in force", f"the one before: {status['config_problem']}", "mccomd config check")
    return good("config in force", status["config_file"])


def _plugins(status: dict[str, Any]) -> Check:
    for row in status["plugins"]:
        if row["state"] == "failed":
            off = f"add it to plugins.disabled, or repair it: {status['log_file']}"
            if "cloud." in row["reason"]:
                off = "set it in [cloud] of the config: see `mccomd config show`"
            return bad("plugins", f"{row['name']} ({row['kind']}): {row['reason']}", off)
    names = [row["name"] for row in status["plugins"] if row["state"] == "loaded"]
    if not names:
        return bad(
            "plugins", "none is loaded: no snippets", "install mccomd again: its entry points are missing"
        )
    return good("plugins", ", ".join(names))


def _cloud(status: dict[str, Any]) -> Check:
    cloud = status["cloud"]
    if not cloud["backend"]:
        return good("large model", "none configured: nothing leaves this machine")
    text = f"{' '.join((cloud['backend'], *cloud['model'].split()))} at {cloud['endpoint']}: {cloud['state']}"
    text += f" ({cloud['reason']})" if cloud["reason"] else ""
    if cloud["state"] in ("failed", "off", "cooling"):
        return bad("large model", text, "see [cloud] in `mccomd config show`; local answers go on meanwhile")
    if cloud["state"] == "ready" and cloud["reason"]:
        return bad("large model", text, "mccomd cloud probe")
    return good("large model", text)


def _power(status: dict[str, Any]) -> Check:
    mode, reason = status["power"]["mode"], status["power"]["reason"]
    if mode == "saver":
        text = f"saver: answers are one line and nothing is read ahead ({reason})"
        return good("power", text, 'power.mode = "full" of the config switches that off')
    return good("power", mode + (f" ({reason})" if reason else ""))
