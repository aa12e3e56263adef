"""Looking after index folders: whose they are, what they weigh, whether they say what a new one would.

Changes no index but by removing one whole.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import IndexingError, RepositoryError
from .job import OnProgress
from .refresh import refresh
from .stamp import writer_lock
from .store import Reader
from .types import IndexOptions, Repository
from .views import HEAD, OVERLAY, View, Views

LAYERS = {HEAD: "HEAD", OVERLAY: "work tree"}


@dataclass(frozen=True)
class Difference:
    """One path that an index from scratch holds otherwise."""

    path: str
    layer: str  # HEAD, work tree
    here: str  # what the index holds; "" nothing
    scratch: str


def git_folders_of(folder: Path) -> list[str] | None:
    """The git directories of the work trees an index is of; None: that cannot be read."""
    try:
        views = Views.open(folder)
    except IndexingError:
        return None
    if views is None:
        return None
    try:
        return views.places_of_views()
    except IndexingError:
        return None
    finally:
        views.close()


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:  # a merge has just removed it
                continue
    return total


def remove(folder: Path) -> None:
    """Remove an index whole; who reads it reads on what is open.

    LockedError: somebody writes it.  FolderError: it cannot be removed.
    """
    with writer_lock(folder, wait_s=0.0):
        away = folder.with_name(f".{folder.name}.removed-{os.getpid()}")
        os.replace(folder, away)  # in one step: nobody finds half of it
    shutil.rmtree(away, ignore_errors=True)


def compare(
    repository: Repository,
    folder: Path,
    options: IndexOptions,
    scratch: Path,
    progress: OnProgress | None = None,
) -> list[Difference]:
    """What differs between an index and one made from scratch in the empty folder `scratch`.

    Both are of this moment only if nothing changes meanwhile. Compared are the paths with their content, and
    that the store has as many chunks of each as a new one.
    """
    refresh(repository, scratch, options, progress)
    here, there = _rows(repository, folder), _rows(repository, scratch)
    return [
        Difference(path, LAYERS[layer], here.get((path, layer), ""), there.get((path, layer), ""))
        for path, layer in sorted(here.keys() | there.keys())
        if here.get((path, layer)) != there.get((path, layer))
    ]


def _rows(repository: Repository, folder: Path) -> dict[tuple[str, int], str]:
    """(path, layer) -> what it holds, in words."""
    views = Views.open(folder)
    view = None if views is None else views.view(repository.git_dir)
    if views is None or view is None:
        raise RepositoryError(f"{folder}: no index of {repository.git_dir} yet: run `mccomd refresh`")
    try:
        with views.reading():
            reader = Reader(folder / views.generation())
            return dict(_described(views, view, reader))
    finally:
        views.close()


def _described(views: Views, view: View, reader: Reader) -> Iterator[tuple[tuple[str, int], str]]:
    for layer in LAYERS:
        for place in views.layer(view.id, layer):
            if place.content is None:
                yield (place.path, layer), "gone"
                continue
            found = reader.chunks_of(place.content)
            text = f"{place.blob[:10]}, {place.chunks} chunks"
            if place.chunks > 0 and not views.has_outline(place.content):
                text += ", no outline"
            yield (place.path, layer), text if found == max(place.chunks, 0) else f"{text}, {found} found"
