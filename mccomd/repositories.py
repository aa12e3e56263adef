"""What the daemon knows of one repository and its index. Decides nothing."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mccomd.protocol import Progress
from mccomd_index import Buffers, Filters, IndexOptions, Repository, Snapshot, live_ignore_files

__all__ = ["Entry", "ProgressSink", "folder_name", "root_of"]

ProgressSink = Callable[[Progress], None]

LOOK_S = 2.0
LOOK_REST = 20.0
"""The work tree is looked at for 1/20 of the time at most; every LOOK_S of typing where nobody watches it."""


@dataclass
class Entry:
    """What is known of one repository."""

    repository: Repository
    folder: Path
    snapshot: Snapshot | None = None
    checked: float = -1e9  # time.monotonic() of the last comparison with HEAD
    looked: float = -1e9  # the same, of the last look at the work tree
    look_s: float = 0.0  # what that took
    disk_changed: bool | None = None  # since then; None: nobody watches
    later: asyncio.TimerHandle | None = None  # a look that was put off
    running: asyncio.Task[dict[str, Any]] | None = None
    again: bool = False  # something changed while it was running
    progress: Progress | None = None
    sinks: list[ProgressSink] = field(default_factory=list)
    problem: str = ""  # why the last refresh failed
    crashes: int = 0
    buffers: Buffers = field(default_factory=Buffers)  # unsaved texts
    marked: float = -1e9  # time.monotonic() when it was last marked as used
    damaged: bool = False  # a search met damage that the stamp does not show
    filters: Filters | None = None  # see filtered_by

    @property
    def root(self) -> str:
        return root_of(self.repository)

    def rests_s(self) -> float:
        """How long until the work tree may be looked at again."""
        rest = LOOK_S if self.disk_changed is None else 0.0
        return self.looked + max(rest, LOOK_REST * self.look_s) - time.monotonic()

    def look_is_due(self) -> bool:
        return self.disk_changed is not False and self.rests_s() <= 0

    def opened(self) -> Snapshot | None:
        """What is committed; every search sees the newest. Raises IndexingError when it cannot be read."""
        if self.snapshot is None:
            self.snapshot = Snapshot.open(self.repository, self.folder)
        return self.snapshot

    def filtered_by(self, options: IndexOptions | None = None) -> Filters:
        """What never enters this index, with its ignore files as they are on disk now.

        Asked again of every hit: what is left out now is not shown now.
        """
        if self.filters is None or (options is not None and self.filters.options != options):
            self.filters = Filters(options or IndexOptions(), live_ignore_files(self.repository))
        return self.filters


def root_of(repository: Repository) -> str:
    """Its work tree, or its git directory when it has none."""
    return repository.work_tree or repository.git_dir


def folder_name(common_dir: str) -> str:
    """Legible and unique: the repository's name and a hash of where its git directory lies.

    All work trees of a repository have that directory in common, and so their index.
    """
    digest = hashlib.sha256(os.fsencode(common_dir)).hexdigest()[:16]
    root = common_dir.rstrip("/").removesuffix("/.git")
    name = "".join(c if c.isalnum() or c in "._-" else "_" for c in os.path.basename(root))
    return f"{name[:40]}-{digest}"
