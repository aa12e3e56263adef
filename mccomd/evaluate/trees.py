"""A case's repository as it would be if the missing statement had not been written yet.

Each case's file is written and committed without its target in a scratch repository of our own, so neither
the index of HEAD nor an overlay of the work tree can hold what is asked for. Sources are only read. Uses
git by its command line.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from mccomd.errors import MccomdError
from mccomd.evaluate.cases import Case

__all__ = ["Source", "Tree", "find_source", "git_dir_of", "read_blobs", "run_git"]

MAX_FILE_BYTES = 1_000_000
"""Larger files stay out, as they do of the index (512 kB by default)."""
_BATCH = 500

_QUIET = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_NO_LAZY_FETCH": "1",  # a partial clone's missing blobs stay missing: nothing is fetched
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C",
}
_WHO = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "eval"), ("EMAIL", "eval@localhost"), ("DATE", "2000-01-01T00:00:00Z"))
}


def run_git(git_dir: Path, *arguments: str, given: bytes = b"", work_tree: Path | None = None) -> bytes:
    """What git prints, untouched by the user's settings. Raises MccomdError with its last words."""
    outside = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY")  # as inside a hook
    kept = {key: value for key, value in os.environ.items() if key not in outside}
    place = ["--git-dir", str(git_dir)] + (["--work-tree", str(work_tree)] if work_tree else [])
    try:
        done = subprocess.run(
            ["git", *place, "-c", "safe.directory=*", *arguments],
            input=given, capture_output=True, env={**kept, **_QUIET, **_WHO}, check=False, cwd=work_tree,
        )  # fmt: skip
    except OSError as error:
        raise MccomdError(f"cannot run git: {error.strerror}; is it installed?") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise MccomdError(f"{git_dir}: git {arguments[0]} failed: {said[-1] if said else done.returncode}")
    return done.stdout


def git_dir_of(folder: Path) -> Path | None:
    """The git directory of a work tree, of a bare repository, or of one in a folder `repo`; None of none."""
    for place in (folder, folder / ".git", folder / "repo", folder / "repo" / ".git"):
        if (place / "HEAD").is_file() and (place / "objects").is_dir():
            return place
    if (folder / ".git").is_file():  # a linked worktree names its folder
        return Path(os.fsdecode(run_git(folder / ".git", "rev-parse", "--absolute-git-dir").strip()))
    return None


def find_source(trees: Path, repo: str) -> Source:
    """Where `owner/name` lies in a folder of repositories or source trees. Raises MccomdError."""
    owner, _, name = repo.partition("/")
    if not name or ".." in repo.split("/"):
        raise MccomdError(f"{repo!r} is no owner/name, so it cannot be looked for in {trees}")
    for folder in (trees / f"{owner}+{name}", trees / f"{owner}__{name}", trees / owner / name, trees / name):
        if folder.is_dir():
            return Source(folder)
    raise MccomdError(
        f"{trees} has no folder {owner}+{name}: put a clone or a source tree there, or leave --trees out "
        "to ask without a repository"
    )


class Source:
    """Where the files of a case's repository come from."""

    def __init__(self, folder: Path, git_dir: Path | None = None) -> None:
        """folder: a repository or a plain source tree. git_dir: where it is known already."""
        self.folder = folder
        self.git_dir = git_dir or git_dir_of(folder)

    def files(self, commit: str) -> Iterator[tuple[str, bytes]]:
        """(path, content) of the regular files of a commit; of a plain source tree, of the files there."""
        return (
            _plain_files(self.folder) if self.git_dir is None else _committed(self.git_dir, commit or "HEAD")
        )


def _plain_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != ".git")
        for name in sorted(names):
            path = Path(root, name)
            if not path.is_symlink() and path.is_file() and path.stat().st_size <= MAX_FILE_BYTES:
                yield path.relative_to(folder).as_posix(), path.read_bytes()


def _committed(git_dir: Path, commit: str) -> Iterator[tuple[str, bytes]]:
    """Blobs that a partial clone lacks are left out."""
    listed: list[tuple[str, str]] = []
    for entry in run_git(git_dir, "ls-tree", "-r", "-l", "-z", "--full-tree", commit).split(b"\0"):
        if entry:
            about, _, name = entry.partition(b"\t")
            mode, kind, blob, size = about.split()
            if kind == b"blob" and mode != b"120000" and size.isdigit() and int(size) <= MAX_FILE_BYTES:
                listed.append((os.fsdecode(name), blob.decode()))
    for start in range(0, len(listed), _BATCH):
        part = listed[start : start + _BATCH]
        found = read_blobs(git_dir, [blob for _, blob in part])
        yield from (
            (name, content) for (name, _), content in zip(part, found, strict=True) if content is not None
        )


def read_blobs(git_dir: Path, names: Sequence[str]) -> list[bytes | None]:
    """Contents in the order asked for; None for what is not there."""
    raw = run_git(git_dir, "cat-file", "--batch", given="".join(f"{name}\n" for name in names).encode())
    found: list[bytes | None] = []
    at = 0
    for _ in names:
        end = raw.index(b"\n", at)
        head = raw[at:end].split()
        at = end + 1
        if head[-1] == b"missing" or len(head) != 3:
            found.append(None)
            continue
        size = int(head[2])
        found.append(raw[at : at + size])
        at += size + 1
    return found


class Tree:
    """A scratch repository with the files of one commit; a context manager that removes it."""

    def __init__(self, source: Source | None, commit: str) -> None:
        """source: None for cases that have no repository: theirs is empty."""
        self._source = source
        self._commit = commit
        self._hidden: tuple[str, bytes | None] | None = None  # the file shown with a hole, and what it was

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="mccomd-eval-", ignore_cleanup_errors=True)
        self.root = Path(os.path.realpath(self._folder.name))
        try:
            self._fill()
        except BaseException:
            self._folder.cleanup()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def show(self, case: Case) -> Path:
        """Commit the case's file without its target, and the file of the case before as it was. Its path."""
        changed = [case.path]
        if self._hidden is not None:
            path, content = self._hidden
            changed.append(path)
            self._put(path, content)
        target = self.root / case.path
        self._hidden = case.path, target.read_bytes() if target.is_file() else None
        self._put(case.path, case.text.encode("utf-8", "surrogatepass"))
        self._git("add", "-A", "-f", "--", *(path for path in dict.fromkeys(changed) if self._is_known(path)))
        self._git("commit", "-q", "--allow-empty", "--no-verify", "-m", "case")
        return target

    def _is_known(self, path: str) -> bool:
        """Whether `git add` may name it: it is there, or was and has to go."""
        return (self.root / path).exists() or bool(self._git("ls-files", "--", path))

    def _fill(self) -> None:
        self._git_dir = self.root / ".git"
        run_git(self._git_dir, "init", "-q", "--template=", str(self.root))
        (self._git_dir / "info").mkdir(exist_ok=True)
        # What the repository's own attributes say about line ends and filters is not for us.
        (self._git_dir / "info" / "attributes").write_text("* -text -filter -ident -working-tree-encoding\n")
        for path, content in self._source.files(self._commit) if self._source else ():
            self._put(path, content)
        self._git("add", "-A", "-f", "--", ".")
        self._git("commit", "-q", "--allow-empty", "--no-verify", "-m", "tree")

    def _put(self, path: str, content: bytes | None) -> None:
        target = self.root / path
        if content is None:
            target.unlink(missing_ok=True)
            return
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        except OSError as error:  # a folder where a file is wanted: two names that differ in case only
            raise MccomdError(f"cannot write {path} of the case's repository: {error.strerror}") from error

    def _git(self, *arguments: str) -> bytes:
        return run_git(self._git_dir, *arguments, work_tree=self.root)
