"""Reads repositories: where they are, what HEAD is, what changed, what a blob holds.

The only importer of pygit2. Knows no index. Never writes, never runs git, never fetches: a blob that a
partial clone lacks is None. Paths are UTF-8 with surrogateescape, so any name git can hold survives.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pygit2
from pygit2.enums import FileMode, FileStatus, ObjectType

from .errors import RepositoryError
from .types import Repository

# libgit2 would keep 256 MB of objects, and map packs whole: both count as ours.
pygit2.settings.cache_max_size(16_000_000)
pygit2.settings.mwindow_size = 16 * 1024 * 1024
pygit2.settings.mwindow_mapped_limit = 128 * 1024 * 1024

FILES = (FileMode.BLOB, FileMode.BLOB_EXECUTABLE, 0o100664)  # 0100664: written by very old gits


class TreeFile(NamedTuple):
    """A regular file of a commit; symlinks and submodules are none."""

    path: str
    blob: str  # object id in hex


class Change(NamedTuple):
    """A path whose content differs between two commits."""

    path: str
    blob: str | None  # None: it is no file (any more)


class Dirty(NamedTuple):
    """A path that differs from HEAD on disk, by git's own account."""

    path: str  # ends with "/" where a whole folder is untracked
    tracked: bool


def blob_id(data: bytes) -> str:
    """The object id that git gives to these bytes in a SHA-1 repository."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def find_repository(path: str | Path) -> Repository | None:
    """The repository that a path is, or would be, in; None outside any.

    The path need not exist: the nearest existing parent decides.
    """
    place = _nearest_folder(os.path.abspath(path))
    try:
        git_dir = pygit2.discover_repository(place)
    except (pygit2.GitError, ValueError, OSError) as error:
        raise RepositoryError(_explain(place, error)) from error
    if git_dir is None:
        return None
    return _describe(_open(git_dir))


def files_at_head(repository: Repository) -> list[str]:
    """The regular files of HEAD, in an order that its tree alone decides; none while it is unborn."""
    git = Git(repository)
    try:
        return [file.path for file in git.files(git.head())]
    finally:
        git.close()


class Git:
    """One repository, open for reading. Not for several threads at once."""

    def __init__(self, repository: Repository) -> None:
        self._git_dir = repository.git_dir
        self._repo = _open(repository.git_dir)

    def head(self) -> str | None:
        """The commit HEAD is at now; None while unborn."""
        return _head(self._repo)

    def has_commit(self, commit: str) -> bool:
        return self._tree(commit) is not None

    def files(self, commit: str | None) -> Iterator[TreeFile]:
        """Every regular file of a commit; none for None (unborn)."""
        tree = self._root(commit)
        return iter(()) if tree is None else self._walk(tree)

    def diff(self, old: str | None, new: str | None) -> list[Change]:
        """The files whose content differs from commit `old` to commit `new`, related or not.

        Removals come first. A rename is a removal and an addition; a change of mode alone is none.
        """
        before, after = self._root(old), self._root(new)
        if before is None or after is None:
            return [
                *(Change(file.path, None) for file in self.files(old)),
                *(Change(*file) for file in self.files(new)),
            ]
        try:
            deltas = before.diff_to_tree(after, context_lines=0).deltas
            changes = [change for delta in deltas for change in _changes(delta)]
        except (pygit2.GitError, KeyError) as error:
            raise RepositoryError(_explain(self._git_dir, error)) from error
        return sorted(changes, key=lambda change: change.blob is not None)

    def size(self, blob: str) -> int | None:
        """A blob's size in bytes from its header, without inflating it; None: the blob is not here."""
        try:
            kind, size = self._repo.odb.read_header(blob)
        except (KeyError, ValueError, pygit2.GitError):
            return None
        return int(size) if kind == ObjectType.BLOB else None

    def read(self, blob: str) -> bytes | None:
        """A blob's content; None: it is missing (partial clone) or damaged."""
        try:
            kind, data = self._repo.odb.read(blob)
        except (KeyError, ValueError, pygit2.GitError):
            return None
        return data if kind == ObjectType.BLOB else None

    def dirty(self) -> list[Dirty]:
        """What differs from HEAD in the index or on disk, without what is ignored; none where it is bare.

        Costs a stat of every tracked file.
        """
        if self._repo.is_bare:
            return []
        try:
            found = self._repo.status(untracked_files="normal", ignored=False)
        except (pygit2.GitError, KeyError, ValueError, OSError) as error:
            raise RepositoryError(_explain(self._git_dir, error)) from error
        quiet = FileStatus.CURRENT, FileStatus.IGNORED
        return [
            Dirty(path, not flags & FileStatus.WT_NEW) for path, flags in found.items() if flags not in quiet
        ]

    def is_ignored(self, path: str) -> bool:
        """Whether .gitignore and its kind leave a path out."""
        try:
            return bool(self._repo.path_is_ignored(path))
        except (pygit2.GitError, ValueError):  # ValueError: a name that is no UTF-8
            return False

    def blob_at(self, commit: str | None, path: str) -> str | None:
        """The blob of a regular file in a commit."""
        tree = self._root(commit)
        if tree is None:
            return None
        try:
            entry = tree[path]
        except (KeyError, ValueError):
            return None
        return str(entry.id) if entry.filemode in FILES else None

    def commits_between(self, old: str, new: str) -> int:
        """How many commits `new` has on top of `old`; -1 where `old` is no ancestor or it cannot be said."""
        try:
            ahead, behind = self._repo.ahead_behind(new, old)
        except (KeyError, ValueError, pygit2.GitError):
            return -1
        return int(ahead) if behind == 0 else -1

    def close(self) -> None:
        self._repo.free()

    def _root(self, commit: str | None) -> pygit2.Tree | None:
        if commit is None:
            return None
        tree = self._tree(commit)
        if tree is None:
            raise RepositoryError(f"{self._git_dir}: commit {commit} cannot be read; try `git fsck`")
        return tree

    def _tree(self, commit: str) -> pygit2.Tree | None:
        try:
            found = self._repo[commit]
            return found.tree if isinstance(found, pygit2.Commit) else None
        except (KeyError, ValueError, pygit2.GitError):
            return None

    def _walk(self, root: pygit2.Tree) -> Iterator[TreeFile]:
        waiting: list[tuple[bytes, pygit2.Tree]] = [(b"", root)]  # no recursion: a tree may be of any depth
        while waiting:
            prefix, tree = waiting.pop()
            for entry in tree:
                name = prefix + (entry.raw_name or b"")
                if entry.filemode == FileMode.TREE:
                    waiting.append((name + b"/", self._folder(entry.id)))
                elif entry.filemode in FILES:
                    yield TreeFile(_path(name), str(entry.id))

    def _folder(self, tree: pygit2.Oid) -> pygit2.Tree:
        try:
            return self._repo[tree].peel(pygit2.Tree)
        except (KeyError, ValueError, pygit2.GitError) as error:
            raise RepositoryError(_explain(self._git_dir, error)) from error


def _changes(delta: pygit2.DiffDelta) -> Iterator[Change]:
    old, new = delta.old_file, delta.new_file
    was, is_now = old.mode in FILES, new.mode in FILES
    if was and is_now and old.id == new.id and old.raw_path == new.raw_path:
        return
    if was and not (is_now and old.raw_path == new.raw_path):
        yield Change(_path(old.raw_path), None)
    if is_now:
        yield Change(_path(new.raw_path), str(new.id))


def _path(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _nearest_folder(path: str) -> str:
    while not os.path.isdir(path):
        parent = os.path.dirname(path)
        if parent == path:
            break
        path = parent
    return path


def _open(git_dir: str) -> pygit2.Repository:
    try:
        return pygit2.Repository(git_dir)
    except (pygit2.GitError, KeyError, ValueError, OSError) as error:
        raise RepositoryError(_explain(git_dir, error)) from error


def _describe(repo: pygit2.Repository) -> Repository:
    git_dir = _trim(repo.path)
    try:
        target = repo.lookup_reference("HEAD").target
    except (pygit2.GitError, KeyError, ValueError) as error:
        raise RepositoryError(_explain(git_dir, error)) from error
    branch = target.removeprefix("refs/heads/") if isinstance(target, str) else None
    return Repository(
        work_tree=None if repo.workdir is None else _trim(repo.workdir),
        git_dir=git_dir,
        common_dir=_common_dir(git_dir),
        head=_head(repo),
        branch=branch,
        detached=branch is None,
    )


def _head(repo: pygit2.Repository) -> str | None:
    try:
        if repo.head_is_unborn:
            return None
        return str(repo.head.peel(pygit2.Commit).id)
    except (pygit2.GitError, KeyError, ValueError) as error:
        raise RepositoryError(_explain(repo.path, error)) from error


def _common_dir(git_dir: str) -> str:
    """A linked worktree names the shared folder in a file; libgit2 keeps it to itself."""
    try:
        line = Path(git_dir, "commondir").read_text(encoding="utf-8", errors="surrogateescape").strip()
    except OSError:
        return git_dir
    return os.path.realpath(os.path.join(git_dir, line))


def _trim(folder: str) -> str:
    return folder.rstrip("/") or "/"


def _explain(place: str, error: Exception) -> str:
    """libgit2's words, and for the two cases users meet, what to do."""
    text = str(error).strip() or type(error).__name__
    if "not owned by" in text:
        folder = place.removesuffix("/").removesuffix("/.git")
        hint = f"to trust it: git config --global --add safe.directory '{folder}'"
        return f"{place}: belongs to another user; {hint}"
    if "objectformat" in text.lower() or "object format" in text or "sha256" in text.lower():
        return f"{place}: a SHA-256 repository, which libgit2 cannot read yet ({text})"
    return f"{place}: cannot read this repository: {text}"


def ignored_by_git(repository: Repository) -> Callable[[str], bool]:
    """Git's word on paths of the work tree; a folder's path ends with "/". For one thread at a time."""
    git = _open(repository.git_dir)

    def ignored(path: str) -> bool:
        try:
            return bool(git.path_is_ignored(path))
        except (pygit2.GitError, ValueError):  # ValueError: a name that is no UTF-8
            return False

    return ignored
