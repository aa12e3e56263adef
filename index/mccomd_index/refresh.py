"""The life of a commit: is the index what HEAD says, and if not, make it so.

One comparison of the stamp with HEAD decides (`assess`). An index that is merely behind takes the tree
diff; any doubt becomes a full rebuild in a new generation folder, with a reason, while readers keep the
old one. The stamp first notes where a refresh is going, then Tantivy commits, then the stamp says it is
there: after a crash the index holds one of two known commits, and whatever differs from HEAD in either
is set right. A path's chunks are removed before they are added, so doing that twice changes nothing.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from . import filters
from .chunk import decode, split_lines
from .errors import CorruptError, RepositoryError
from .fields import ChunkFields, chunk_fields
from .git import Change, Git
from .languages import language_of
from .stamp import (
    FORMAT,
    Stamp,
    new_generation,
    read_stamp,
    remove_other_generations,
    write_stamp,
    writer_lock,
)
from .store import Reader, Writer
from .types import IndexOptions, IndexState, Progress, Report, Repository, Status

# BM25 counts dead chunks until Tantivy happens to merge them away: past this share scores have drifted.
MAX_DEAD_SHARE = 0.25
MIN_DEAD = 2_000  # below this a rebuild is not worth saying

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Assessment:
    """What the stamp says beside HEAD."""

    state: IndexState
    reason: str
    stamp: Stamp | None  # None: nothing that can be built on


def status(repository: Repository, folder: Path, options: IndexOptions) -> Status:
    """The state of an index, without changing it.

    FolderError, RepositoryError: the folder or the repository cannot be read.
    """
    git = Git(repository)
    try:
        head = git.head()
        found = assess(git, head, folder, options)
        stamp = found.stamp
        return Status(
            state=found.state,
            reason=found.reason,
            head=head,
            stamp_commit=stamp.commit if stamp else None,
            behind=_behind(git, stamp, head),
            files=stamp.files if stamp else 0,
            chunks=stamp.chunks if stamp else 0,
        )
    finally:
        git.close()


def refresh(
    repository: Repository,
    folder: Path,
    options: IndexOptions,
    progress: OnProgress | None = None,
    *,
    rebuild: bool = False,
) -> Report:
    """Bring an index to HEAD; returns once it is searchable and stamped.

    Waits for another process that refreshes the same folder, then does what that one left to do.
    rebuild: from nothing, whatever the state.
    """
    began = time.perf_counter()
    with writer_lock(folder):
        git = Git(repository)
        try:
            job = _Job(git, git.head(), folder, options, progress)
            done = job.run(rebuild)
        finally:
            git.close()
    return replace(done, ms=(time.perf_counter() - began) * 1000)


def assess(git: Git, head: str | None, folder: Path, options: IndexOptions) -> Assessment:
    """The one place that decides in which state an index is."""
    try:
        stamp = read_stamp(folder)
    except CorruptError as error:
        return Assessment(IndexState.CORRUPT, str(error), None)
    if stamp is None:
        return Assessment(IndexState.MISSING, "no index yet", None)
    if stamp.format != FORMAT:
        reason = f"index format {stamp.format}, this version writes {FORMAT}"
        return Assessment(IndexState.OTHER_FORMAT, reason, None)
    try:
        Reader(folder / stamp.generation)
    except CorruptError as error:
        return Assessment(IndexState.CORRUPT, str(error), None)
    if stamp.options != options:
        return Assessment(IndexState.OTHER_OPTIONS, _differing(stamp.options, options), stamp)
    if stamp.commit == head and not stamp.pending:
        return Assessment(IndexState.CURRENT, f"at {_short(head)}", stamp)
    reason = f"at {_short(stamp.commit)}, HEAD is {_short(head)}"
    if stamp.pending:
        reason = f"a refresh to {_short(stamp.pending[-1])} was interrupted"
    if gone := _gone(git, stamp):
        reason = f"commit {_short(gone)} of the index is gone from the repository"
    return Assessment(IndexState.BEHIND, reason, stamp)


class _Job:
    """One refresh: a repository at one HEAD, a folder whose lock is held, and what was counted on the way."""

    def __init__(
        self, git: Git, head: str | None, folder: Path, options: IndexOptions, progress: OnProgress | None
    ) -> None:
        self.git = git
        self.head = head
        self.folder = folder
        self.options = options
        self.filters = filters.Filters(options)
        self.progress = progress
        self.changed = self.bytes = self.unreadable = 0

    def run(self, rebuild: bool) -> Report:
        found = assess(self.git, self.head, self.folder, self.options)
        if found.stamp is not None:
            remove_other_generations(self.folder, found.stamp.generation)
        if rebuild:
            return self.rebuild(found.stamp, "asked for")
        if found.state is IndexState.CURRENT and found.stamp is not None:
            return self.report(found.stamp, rebuilt=False, reason=found.reason)
        if found.state is not IndexState.BEHIND or found.stamp is None:
            return self.rebuild(found.stamp, found.reason)
        if _gone(self.git, found.stamp):
            return self.rebuild(found.stamp, found.reason)
        try:
            return self.catch_up(found.stamp)
        except (CorruptError, RepositoryError) as error:  # an index or an old tree that cannot be read
            return self.rebuild(found.stamp, str(error))

    def catch_up(self, old: Stamp) -> Report:
        """Apply the tree diff from the stamp to HEAD."""
        changes = self.changes_since(old)
        if not changes:
            stamp = replace(old, commit=self.head, pending=())
            write_stamp(self.folder, stamp)
            return self.report(stamp, rebuilt=False, reason=f"no file differs from {_short(old.commit)}")
        writer = Writer(self.folder / old.generation, bulk=len(changes) > 200)
        before = writer.counts()[1]
        added = self.write(writer, changes, len(changes), fresh=False)
        write_stamp(self.folder, replace(old, pending=(*old.pending, self.head)))
        writer.commit()
        files, chunks = writer.counts()
        dead = old.dead_chunks + before + added - chunks
        stamp = Stamp(FORMAT, self.options, self.head, old.generation, files, chunks, dead)
        write_stamp(self.folder, stamp)
        writer.close()
        if dead > MIN_DEAD and dead > MAX_DEAD_SHARE * chunks:
            return self.rebuild(stamp, f"{dead} replaced chunks beside {chunks} live ones")
        return self.report(stamp, rebuilt=False, reason=f"{len(changes)} files since {_short(old.commit)}")

    def changes_since(self, old: Stamp) -> list[Change]:
        """What differs from HEAD in any of the commits that the index may hold."""
        commits = dict.fromkeys((old.commit, *old.pending))
        changes = dict.fromkeys(change for commit in commits for change in self.git.diff(commit, self.head))
        may_enter = self.filters.refuse_path
        wanted = [change for change in changes if change.blob is None or may_enter(change.path) is None]
        return sorted(wanted, key=lambda change: change.blob is not None)  # removals first

    def rebuild(self, live: Stamp | None, reason: str) -> Report:
        """Index HEAD into a new generation and let the stamp name it; `live` stays readable until then."""
        self.changed = self.bytes = self.unreadable = 0
        place = new_generation(self.folder)
        remove_other_generations(self.folder, place.name, live.generation if live else "")
        try:
            files, chunks = self.fill(place)
            stamp = Stamp(FORMAT, self.options, self.head, place.name, files, chunks, 0)
            write_stamp(self.folder, stamp)
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)  # a full disk must not stay full of it
            raise
        remove_other_generations(self.folder, place.name)
        return self.report(stamp, rebuilt=True, reason=reason)

    def fill(self, place: Path) -> tuple[int, int]:
        """Write all of HEAD into an empty folder; returns its files and chunks."""
        changes = [
            Change(*file) for file in self.git.files(self.head) if self.filters.refuse_path(file.path) is None
        ]
        writer = Writer(place, bulk=True)
        self.write(writer, changes, len(changes), fresh=True)
        writer.commit()
        counts = writer.counts()
        writer.close()
        return counts

    def write(self, writer: Writer, changes: Iterable[Change], total: int, *, fresh: bool) -> int:
        """Replace the chunks of each changed path; returns how many chunks were added."""
        added = 0
        for number, change in enumerate(changes, 1):
            if not fresh:
                writer.remove(change.path)
            if change.blob is not None:
                chunks = self.chunks_of(change.path, change.blob)
                writer.add(change.path, change.blob, chunks)
                added += len(chunks)
            self.changed += 1
            if self.progress is not None:
                self.progress(Progress(number, total, self.bytes))
        return added

    def chunks_of(self, path: str, blob: str) -> list[ChunkFields]:
        """A file's chunks; none where it must not enter."""
        size = self.git.size(blob)
        if size is not None and self.filters.refuse_size(size):
            return []
        data = self.git.read(blob) if size is not None else None
        if data is None:
            self.unreadable += 1
            return []
        if filters.refuse_bytes(data):
            return []
        text = decode(data)
        lines = split_lines(text)
        if filters.refuse_text(text, lines):
            return []
        self.bytes += len(data)
        return chunk_fields(lines, language_of(path))

    def report(self, stamp: Stamp, *, rebuilt: bool, reason: str) -> Report:
        return Report(
            state=IndexState.CURRENT,
            head=self.head,
            files=stamp.files,
            chunks=stamp.chunks,
            changed_files=self.changed,
            bytes=self.bytes,
            unreadable=self.unreadable,
            ms=0.0,
            rebuilt=rebuilt,
            reason=reason,
        )


def _gone(git: Git, stamp: Stamp) -> str | None:
    """A commit that the index may hold and the repository no longer has."""
    commits = (stamp.commit, *stamp.pending)
    return next((commit for commit in commits if commit is not None and not git.has_commit(commit)), None)


def _behind(git: Git, stamp: Stamp | None, head: str | None) -> int:
    if stamp is None:
        return -1
    if stamp.commit == head:
        return 0
    if stamp.commit is None or head is None:
        return -1
    return git.commits_between(stamp.commit, head)


def _differing(old: IndexOptions, new: IndexOptions) -> str:
    pairs = (
        (name, getattr(old, name), getattr(new, name)) for name in ("max_file_kb", "ignore", "languages")
    )
    return "; ".join(f"{name} was {was!r}, is {now!r}" for name, was, now in pairs if was != now)


def _short(commit: str | None) -> str:
    return "no commit" if commit is None else commit[:10]
