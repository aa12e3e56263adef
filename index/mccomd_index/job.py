"""One refresh while it runs: what is open, what was met on the way, and what was counted.

Its parts: the rows of HEAD (head.py), those of the work tree (disk.py), and their order (refresh.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Self

from .contents import Contents
from .errors import CorruptError
from .filters import Filters
from .git import Git
from .ignore import is_ignore_file
from .leaving import Leaving
from .stamp import new_generation, remove_other_generations
from .state import Assessment, assess, in_force, known_ignore_files, look_into
from .types import IndexOptions, IndexState, Progress, Repository
from .views import View, Views

OnProgress = Callable[[Progress], None]


class Job:
    """A repository at one HEAD, and a folder whose lock is held."""

    def __init__(
        self,
        git: Git,
        repository: Repository,
        folder: Path,
        options: IndexOptions,
        progress: OnProgress | None,
    ) -> None:
        self.git = git
        self.head = git.head()
        self.repository = repository
        self.place = repository.git_dir
        self.work_tree = repository.work_tree
        self.folder = folder
        self.options = options
        self.filters = Filters(options)
        self.limit = options.max_file_kb * 1000
        self.progress = progress
        self.ignore_files_met: set[str] = set()
        self.leaving = Leaving()
        self.changed = 0
        self.look_ms = 0.0
        self.rebuilt = False
        self.release: tuple[int, ...] | None = None  # files a helper closes; None: there is to be none
        self.views: Views  # set by `run`, as is:
        self.contents: Contents

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if hasattr(self, "contents"):
            self.contents.close()
        if hasattr(self, "views"):
            self.views.close()

    def open(self) -> tuple[Assessment, bool]:
        """Open the store; begin a new one where there is none that can be read, and say so."""
        views, found = look_into(self.folder)
        if views is not None:
            self.views = views
            try:
                self.see_ignore_files(views.view(self.place))
                found = assess(views, self.folder, self.place, self.head, self.options)
            except CorruptError as error:
                found = Assessment(IndexState.CORRUPT, str(error))
            if found.state is not IndexState.CORRUPT:
                self.contents = Contents(views, self.folder / views.generation())
                return found, False
            views.close()
        self.begin_anew()
        return found, True

    def begin_anew(self) -> None:
        """A store with nothing in it."""
        self.close()
        self.changed = 0
        place = new_generation(self.folder)
        self.views = Views.create(self.folder, place.name)
        remove_other_generations(self.folder, place.name)
        self.contents = Contents(self.views, place, fresh=True)
        self.see_ignore_files(None)

    def see_ignore_files(self, view: View | None) -> bool:
        """Read those in force, and say whether they are others than before.

        Known are those in the root, those of the view, those in the overlay and those that HEAD's changes
        brought. The first time HEAD names all its own.
        """
        if view is None:
            known = {file.path for file in self.git.files(self.head) if is_ignore_file(file.path)}
        else:
            known = known_ignore_files(self.views, self.place) | self.ignore_files_met
        options, files = in_force(self.git, self.repository, self.head, self.options, known)
        changed = options != self.options
        self.options, self.filters = options, Filters(options, files)
        return changed

    def see_what_leaves(self) -> None:
        """Remember, beside the rows, that a content must not stay on disk; inside a transaction."""
        so = self.leaving.became_so(self.git, self.work_tree, self.filters, self.limit)
        if any(not self.views.is_named(place.content) for place in so):
            self.views.set_leaving(True)

    def finish(self, view: View) -> None:
        """Commit what was added, then let the view's row say so."""
        if self.contents.commit():
            self.views.set_generation(self.contents.folder.name)
        self.views.update(view)

    def forget_gone_work_trees(self) -> None:
        gone = [place for place in self.views.places_of_views() if not os.path.isdir(place)]
        for place in gone:
            with self.views.writing():
                self.views.forget(place)
