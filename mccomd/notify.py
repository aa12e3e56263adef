"""What a git hook runs, in the background: tells a running daemon that git moved here. Never starts one.

    python -P -m mccomd.notify post-checkout OLD NEW 1

Says nothing and fails at nothing: it is run by git, in a repository of anybody's.
"""

from __future__ import annotations

import contextlib
import os
import sys

__all__ = ["main"]

TIMEOUT_S = 120.0


def main(arguments: list[str]) -> None:
    """arguments: the hook's name and what git gave it."""
    with contextlib.suppress(Exception):  # nobody reads what it would say
        with contextlib.suppress(OSError, AttributeError):
            os.nice(10)
        tell(os.getcwd(), arguments)


def tell(place: str, arguments: list[str]) -> None:
    """Have the index follow; after a change of branch also read ahead what was edited last.

    DaemonUnavailableError: none runs.
    """
    from mccomd.client import Client
    from mccomd.paths import find_paths

    with Client(find_paths().socket, TIMEOUT_S) as client:
        client.call("initialize", {"client": "git hook"})
        if not _reads_ahead(place, arguments):
            client.call("refresh", {"path": place, "wait": False})
            return
        from mccomd.warming import (  # 0.1 s of libraries that a commit need not wait for
            recent_spots,
            warm_spot,
        )

        report = client.call("refresh", {"path": place})
        for spot in recent_spots(report["repository"], 1):
            warm_spot(client, spot)


def _reads_ahead(place: str, arguments: list[str]) -> bool:
    """Whether another branch, or others' work, has come into the work tree, and no rebase is under way."""
    other_branch = arguments[:1] == ["post-checkout"] and arguments[-1:] == ["1"]
    if not other_branch and arguments[:1] != ["post-merge"]:
        return False
    git_dir = os.environ.get("GIT_DIR", os.path.join(place, ".git"))
    return not any(os.path.isdir(os.path.join(git_dir, name)) for name in ("rebase-merge", "rebase-apply"))


if __name__ == "__main__":
    main(sys.argv[1:])
