"""Where somebody is likely to complete next in a repository, and having the daemon read that ahead.

Knows git's command line and a client of the daemon; nothing of models.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mccomd.client import Client
from mccomd.githooks import run_git
from mccomd.languages import language_of

__all__ = ["DIFF", "Spot", "recent_spots", "warm_spot"]

MAX_BYTES = 1_000_000
WARM_S = 60.0
DIFF = ("diff", "-U0", "--no-color", "--no-ext-diff")
_HUNK = re.compile(r"^@@ -\S+ \+(\d+)(?:,(\d+))? @@", re.M)


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in a file: line and column from 0."""

    path: str
    text: str
    line: int
    column: int


def recent_spots(root: str, limit: int) -> list[Spot]:
    """The ends of the last changes: of uncommitted files, the newest first, then of the last commit."""
    spots: list[Spot] = []
    for path, diff in _recent(root):
        spot = spot_in(path, diff)
        if spot is not None:
            spots.append(spot)
        if len(spots) == limit:
            break
    return spots


def spot_in(path: str, diff: tuple[str, ...] = ()) -> Spot | None:
    """The end of the last change of a file, or of its text; None: it cannot be read, or is not for us.

    diff: the arguments with which git shows its changes.
    """
    try:
        if os.path.getsize(path) > MAX_BYTES:
            return None
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            text = file.read()
    except OSError:
        return None
    if "\0" in text:
        return None
    lines = text.split("\n")
    line = len(lines) - 1
    folder, name = os.path.split(path)
    hunks = _HUNK.findall(run_git(folder, *diff, "--", name, check=False)) if diff else []
    if hunks:
        start, count = int(hunks[-1][0]), int(hunks[-1][1] or 1)
        line = min(max(0, start + count - 2), line)
    return Spot(path, text, line, len(lines[line].rstrip("\r")))


def warm_spot(client: Client, spot: Spot) -> dict[str, Any]:
    """Have the daemon read ahead for a completion there: {path, line, tokens, reason, ms}."""
    began = time.monotonic()
    client.call("document/open", {"path": spot.path, "text": spot.text})
    try:
        position = {"line": spot.line, "column": spot.column}
        found = client.call("warm", {"path": spot.path, "position": position}, timeout_s=WARM_S)
    finally:
        client.call("document/close", {"path": spot.path})
    ms = (time.monotonic() - began) * 1000
    return {"path": spot.path, "line": spot.line + 1, **found, "ms": ms}


def _recent(root: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Files with the git command that shows what changed in them."""
    entries = run_git(root, "status", "--porcelain", "-z", "--no-renames", check=False).split("\0")
    changed = [(entry[3:], entry[:2]) for entry in entries if len(entry) > 3 and "D" not in entry[:2]]
    newest_first = sorted(changed, key=lambda found: -_mtime(os.path.join(root, found[0])))
    seen = set()
    for name, state in newest_first:
        if _is_ours(name):
            seen.add(name)
            diff = () if state == "??" else (*DIFF, "HEAD")
            yield os.path.join(root, name), diff
    names = run_git(root, "show", "-z", "--format=", "--name-only", "--no-renames", "HEAD", check=False)
    for name in names.split("\0"):
        if name and name not in seen and _is_ours(name):
            yield (
                os.path.join(root, name),
                ("show", "-U0", "--format=", "--no-color", "--no-ext-diff", "HEAD"),
            )


def _is_ours(name: str) -> bool:
    """Whether somebody would complete in it: a language that we know, no folder."""
    return not name.endswith("/") and language_of(name) != "text"


def _mtime(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0
