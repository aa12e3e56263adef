"""Which folders of a work tree are worth watching, and whether its file system tells of changes at all.

Not: what git ignores, other repositories inside, virtual environments, caches that say so (CACHEDIR.TAG), and
node_modules. They are neither watched nor looked into. Knows no watcher.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from .filters import GENERATED_FOLDERS
from .types import Repository

_MARKS = frozenset({".git", "pyvenv.cfg", "CACHEDIR.TAG"})  # a folder that holds one is not the user's code

MOUNTS = Path("/proc/self/mountinfo")

# Those of which the kernel reports only what this machine itself does.
NETWORK_FILE_SYSTEMS = frozenset(
    "9p afs beegfs ceph cifs davfs drvfs gfs2 glusterfs lustre ncpfs nfs nfs4 orangefs prl_fs smb3 smbfs "  # noqa: SIM905
    "vboxsf virtiofs vmhgfs fuse.sshfs fuse.s3fs fuse.rclone fuse.gcsfuse fuse.vmhgfs-fuse".split()
)


def walk(
    root: str,
    start: str,
    ignored: Callable[[str], bool],
    enter: Callable[[str], None] | None = None,
) -> Iterator[tuple[str, list[os.DirEntry[str]]]]:
    """The folders from `start` down that are worth watching, with their entries; `start` itself unasked.

    Paths are relative to `root`, "" the root. ignored: git's word on a folder, whose path ends with "/".
    enter: called with each folder before it is read, also with those that then turn out not to be worth it.
    """
    waiting = [start]
    while waiting:
        folder = waiting.pop()
        if enter is not None:
            enter(folder)
        try:
            with os.scandir(os.path.join(root, folder)) as found:
                entries = list(found)
        except OSError:  # gone meanwhile, or not ours to read
            continue
        if folder and not _MARKS.isdisjoint(entry.name for entry in entries):
            continue
        yield folder, entries
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) and entry.name not in GENERATED_FOLDERS:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if not ignored(f"{path}/"):
                    waiting.append(path)


def git_folders(repository: Repository) -> Iterator[str]:
    """Where git writes when HEAD, a ref or its index moves; absolute."""
    for place in dict.fromkeys((repository.git_dir, repository.common_dir)):
        yield place.rstrip("/")
        for name in ("logs", "info", "reftable"):
            if os.path.isdir(os.path.join(place, name)):
                yield os.path.join(place, name)
        for folder, _, _ in os.walk(os.path.join(place, "refs", "heads")):
            yield folder


def tells_of_git(name: str, folder: str) -> bool:
    """Whether a change of this file in a folder of git may mean another HEAD, index or ignore list."""
    if name.endswith(".lock"):
        return False
    if os.path.basename(folder) in ("logs", "reftable") or "/refs/heads" in folder:
        return True
    return name in ("HEAD", "index", "packed-refs", "exclude", "refs")


def why_no_events(place: str) -> str:
    """Why the kernel will not tell of all changes below a folder; "" where it will, as far as known."""
    kind = _file_system(place)
    return (
        f"{kind} is a network file system: it does not report changes" if kind in NETWORK_FILE_SYSTEMS else ""
    )


def _file_system(place: str) -> str:
    """The type of the file system a path is on; "" where that cannot be said."""
    if not sys.platform.startswith("linux"):
        return ""
    path, best, kind = os.path.realpath(place), "", ""
    try:
        lines = MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    for line in lines:
        before, _, after = line.partition(" - ")
        mount = before.split(" ")[4].encode().decode("unicode_escape", "replace") if after else ""
        inside = path == mount or path.startswith(mount.rstrip("/") + "/")
        if mount and inside and len(mount) >= len(best):
            best, kind = mount, after.split(" ")[0]
    return kind
