"""In which state is an index: what does its view of a work tree say beside HEAD and the ignore files?

One comparison decides (`assess`). Changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from .database import found_format
from .errors import CorruptError
from .git import Git
from .ignore import IgnoreFiles, is_ignore_file, paths_in, read_ignore_files, read_text
from .stamp import FORMAT
from .store import Reader
from .types import IndexOptions, IndexState, Repository, Status
from .views import OVERLAY, View, Views


@dataclass(frozen=True)
class Assessment:
    """What a view is beside HEAD."""

    state: IndexState
    reason: str
    view: View | None = None  # None: nothing that can be built on


def status(repository: Repository, folder: Path, options: IndexOptions) -> Status:
    """The state of an index, without changing it.

    FolderError, RepositoryError: the folder or the repository cannot be read.
    """
    git = Git(repository)
    try:
        head = git.head()
        views, found = look_into(folder)
        if views is not None:
            try:
                known = known_ignore_files(views, repository.git_dir)
                options, _ = in_force(git, repository, head, options, known)
                found = assess(views, folder, repository.git_dir, head, options)
                if (
                    found.state is IndexState.CORRUPT
                ):  # or a generation that went between its row and its files
                    found = assess(views, folder, repository.git_dir, head, options)
            except CorruptError as error:
                found = Assessment(IndexState.CORRUPT, str(error))
            finally:
                views.close()
        view = found.view
        return Status(
            state=found.state,
            reason=found.reason,
            head=head,
            stamp_commit=view.head if view else None,
            behind=_behind(git, view, head),
            files=view.files if view else 0,
            chunks=view.chunks if view else 0,
            overlay_files=view.overlay_files if view else 0,
            note=view.note if view else "",
        )
    finally:
        git.close()


def assess(views: Views, folder: Path, place: str, head: str | None, options: IndexOptions) -> Assessment:
    """The one place that decides in which state the view of a work tree is."""
    try:
        Reader(folder / views.generation())
        view = views.view(place)
    except CorruptError as error:
        return Assessment(IndexState.CORRUPT, str(error))
    if view is None:
        return Assessment(IndexState.MISSING, "no index of this work tree yet")
    if view.options != options:
        return Assessment(IndexState.OTHER_OPTIONS, _differing(view.options, options), view)
    if view.head == head:
        return Assessment(IndexState.CURRENT, f"at {short(head)}", view)
    return Assessment(IndexState.BEHIND, f"at {short(view.head)}, HEAD is {short(head)}", view)


def look_into(folder: Path) -> tuple[Views | None, Assessment]:
    """The views of a folder; or None, and why."""
    try:
        views = Views.open(folder)
        if views is not None:
            return views, Assessment(IndexState.CURRENT, "")
        found = found_format(folder)
    except CorruptError as error:
        return None, Assessment(IndexState.CORRUPT, str(error))
    if found is None:
        return None, Assessment(IndexState.MISSING, "no index yet")
    reason = f"index format {found}, this version writes {FORMAT}"
    return None, Assessment(IndexState.OTHER_FORMAT, reason)


def known_ignore_files(views: Views, place: str) -> set[str]:
    """The ignore files of a view: those it was made with, and those that are not committed."""
    with views.reading():
        view = views.view(place)
        if view is None:
            return set()
        dirty = (row.path for row in views.layer(view.id, OVERLAY) if is_ignore_file(row.path))
        return {*paths_in(view.options.ignore_files), *dirty}


def in_force(
    git: Git, repository: Repository, head: str | None, options: IndexOptions, known: Iterable[str]
) -> tuple[IndexOptions, IgnoreFiles]:
    """The options with the ignore files as they are now: on disk, or of HEAD where the repository is bare."""

    def read(path: str) -> str | None:
        if repository.work_tree is not None:
            return read_text(repository.work_tree, path)
        blob = git.blob_at(head, path)
        data = git.read(blob) if blob is not None else None
        return None if data is None else data.decode("utf-8", "surrogateescape")

    lines, files = read_ignore_files(read, known)
    return replace(options, ignore_files=lines), files


def _behind(git: Git, view: View | None, head: str | None) -> int:
    if view is None:
        return -1
    if view.head == head:
        return 0
    if view.head is None or head is None:
        return -1
    return git.commits_between(view.head, head)


def _differing(old: IndexOptions, new: IndexOptions) -> str:
    pairs = (
        (name, getattr(old, name), getattr(new, name)) for name in ("max_file_kb", "ignore", "languages")
    )
    if old.ignore_files != new.ignore_files:
        return "an ignore file changed"
    return "; ".join(f"{name} was {was!r}, is {now!r}" for name, was, now in pairs if was != now)


def short(commit: str | None) -> str:
    return "no commit" if commit is None else commit[:10]
