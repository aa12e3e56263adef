"""The index folders of all repositories: what each costs, which nobody needs any more.

An index is not needed when its repository is gone or was not used for `index.keep_days`. Removing one loses
nothing that a refresh does not bring back.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from mccomd_index import IndexingError
from mccomd_index.upkeep import git_folders_of, remove, size_of

__all__ = ["Store", "collect", "mark_used", "not_needed", "stores"]

log = logging.getLogger(__name__)

USED = "used"  # a file whose time is that of the last use
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Store:
    """One index folder."""

    folder: str
    repositories: tuple[str, ...]  # work trees, or git directories of bare repositories
    gone: bool  # none of them is there any more
    unused_days: float
    disk_mb: float


def mark_used(folder: Path) -> bool:
    """Somebody works with this index now; False: there is none yet."""
    try:
        (folder / USED).touch(mode=0o600)
    except OSError:
        return False
    return True


def stores(index_dir: Path) -> list[Store]:
    """Every index folder, the largest first."""
    try:
        folders = [place for place in index_dir.iterdir() if place.is_dir() and not place.is_symlink()]
    except OSError:
        return []
    return sorted(map(_store, folders), key=lambda store: -store.disk_mb)


def not_needed(store: Store, keep_days: int) -> str:
    """Why an index may go; "" while it is needed. keep_days: 0 = however long it is not used."""
    name = Path(store.folder).name
    if name.startswith(".") and ".removed-" in name:
        return "left by an interrupted removal"
    if store.gone:
        return "its repository is gone"
    if keep_days and store.unused_days > keep_days:
        return f"not used for {store.unused_days:.0f} days"
    return ""


def collect(
    index_dir: Path, keep_days: int, *, spare: Collection[str] = (), dry_run: bool = False
) -> list[tuple[Store, str]]:
    """Remove the indexes that are not needed; those removed, each with why. spare: folders in use."""
    removed = []
    for store in stores(index_dir):
        why = not_needed(store, keep_days)
        if not why or store.folder in spare:
            continue
        if not dry_run:
            try:
                remove(Path(store.folder))
            except (IndexingError, OSError) as error:  # somebody writes it: it is needed after all
                log.info("%s stays: %s", store.folder, error)
                continue
            log.info("%s removed: %s", store.folder, why)
        removed.append((store, why))
    return removed


def _store(folder: Path) -> Store:
    used = _used(folder)  # before it is opened, which leaves traces
    git_folders = git_folders_of(folder)
    known = git_folders or []
    return Store(
        folder=str(folder),
        repositories=tuple(map(_work_tree, known)),
        gone=bool(known) and not any(map(os.path.isdir, known)),
        unused_days=max(0.0, (time.time() - used) / DAY_S),
        disk_mb=size_of(folder) / 1e6,
    )


def _work_tree(git_folder: str) -> str:
    """Where the user knows a repository: a linked worktree's git directory names it in a file."""
    with contextlib.suppress(OSError):
        return Path(git_folder, "gitdir").read_text(errors="surrogateescape").strip().removesuffix("/.git")
    return git_folder.removesuffix("/.git")


def _used(folder: Path) -> float:
    """time.time() of the last use: of the mark, or of the folder's beginning while there is none."""
    for name in (USED, "lock", "."):
        with contextlib.suppress(OSError):
            return (folder / name).stat().st_mtime
    return time.time()
