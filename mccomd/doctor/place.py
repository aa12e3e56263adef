"""One repository: is it found, is its index current and not empty, is it watched, do its hooks stand?"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mccomd.client import Client
from mccomd.config import load
from mccomd.doctor.check import Check, bad, checked, good
from mccomd.errors import ConfigError, RequestError
from mccomd.githooks import find_folder, status
from mccomd.paths import Paths
from mccomd.protocol import ErrorCode

__all__ = ["place_checks"]

WATCH_S = 10.0
RAISE = "sudo sysctl fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=512"


def place_checks(
    paths: Paths, client: Client, path: str, refresh: Callable[[], dict[str, Any]]
) -> list[Check]:
    """refresh: brings the index of `path` in step and returns what it did."""
    try:
        report = refresh()
    except RequestError as error:
        if error.code == ErrorCode.NO_REPOSITORY and "not in a git repository" in str(error):
            text = "not in a git repository: completions go on without snippets"
            return [good("repository", text, "run this inside a repository to check its index, too")]
        return [bad("repository", str(error).splitlines()[0], "see the message; completions go on")]
    root = report["repository"]
    return [
        good("repository", f"{root}, HEAD {report['head'][:7] or 'unborn'}"),
        checked("index", lambda: _index(paths, report), f"mccomd index rebuild {root}"),
        checked("watch", lambda: _watch(client, root), RAISE),
        checked("hooks", lambda: _hooks(root), f"mccomd hooks install {root}"),
    ]


def _index(paths: Paths, report: dict[str, Any]) -> Check:
    root = report["repository"]
    if report["state"] != "current":
        return bad("index", f"{report['state']}: {report['reason']}", f"mccomd index rebuild {root}")
    total, left_out = _left_out(paths, root)
    text = f"current, {report['files']} of {total} files, {report['chunks']} chunks, {report['ms']:.0f} ms"
    if left_out:
        text += "; left out: " + ", ".join(f"{count} {why}" for why, count in left_out.most_common(6))
    if left_out and left_out.total() == total:
        return bad("index", text, f"let in what should be searched: {left_out.most_common(1)[0][0]}")
    return good("index", text)


def _left_out(paths: Paths, root: str) -> tuple[int, Counter[str]]:
    """How many files HEAD has, and how many of them do not enter by their name, by reason."""
    from mccomd.narrowing import options_for  # libraries that only this check needs
    from mccomd_index import Filters, files_at_head, find_repository, live_ignore_files

    repository = find_repository(root)
    if repository is None:
        return 0, Counter()
    try:
        mine = load(paths.config_file).index
    except ConfigError:  # its own check tells
        return 0, Counter()
    options, _ = options_for(mine, root)
    filters = Filters(options, live_ignore_files(repository))
    files = files_at_head(repository)
    return len(files), Counter(why for why in map(filters.refuse_path, files) if why)


def _watch(client: Client, root: str) -> Check:
    """The completion before this one had the daemon begin to watch."""
    until = time.monotonic() + WATCH_S
    while (row := _row(client, root)) and row["watch"] in ("starting", "off") and time.monotonic() < until:
        time.sleep(0.05)
    mode, reason = (row["watch"], row["watch_reason"]) if row else ("off", "")
    limits = f"inotify: {_limit('max_user_watches')} watches, {_limit('max_user_instances')} instances"
    if mode == "events":
        return good("watch", f"changes are seen at once ({limits})")
    if mode == "polling" and "inotify" in reason:
        return bad("watch", f"polling: {reason}", RAISE)
    if mode == "stopped":
        return bad("watch", f"stopped: {reason}", "mccomd stop && mccomd start")
    return good("watch", f"{mode}: {reason or 'commits are seen while somebody works here'}")


def _row(client: Client, root: str) -> dict[str, Any] | None:
    rows = client.call("status")["repositories"]
    return next((dict(row) for row in rows if row["repository"] == root), None)


def _limit(name: str) -> str:
    try:
        return Path("/proc/sys/fs/inotify", name).read_text().strip()
    except OSError:
        return "no limit known"


def _hooks(root: str) -> Check:
    found = status(find_folder(root))
    install = f"mccomd hooks install {root}"
    for hook in found:
        if hook.detail and hook.state in ("outdated", "other"):
            return bad("hooks", f"{hook.name}: {hook.detail}", install)
    states = {hook.state for hook in found}
    if states == {"installed"}:
        return good("hooks", "installed")
    if "installed" in states:
        missing = ", ".join(hook.name for hook in found if hook.state != "installed")
        return bad("hooks", f"not in {missing}", install)
    return good("hooks", "none: commits are seen while somebody works here", f"{install} (optional)")
