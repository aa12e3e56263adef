"""A view's rows of HEAD: from a tree, or from the difference of two.

Only contents that the store lacks are read: a branch switched back, a second work tree, a renamed file are
changes of rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from .git import Change
from .helper import Helper, Task
from .ignore import is_ignore_file
from .job import Job
from .languages import language_of
from .store import content_id
from .types import Progress
from .views import HEAD, OVERLAY, Place, View

BATCH = 1_000  # rows written at once
MANY = 200  # changed files that are worth a second process: 100 took as long or longer
SAMPLE = 32  # of them, the last: where the store has most of these, the branch was met before


class HeadJob(Job):
    """The part of a refresh that follows HEAD."""

    def derive(self, old: View | None) -> View:
        """The view of HEAD from nothing; contents that the store has are not read."""
        changes = [
            Change(*file) for file in self.git.files(self.head) if self.filters.refuse_path(file.path) is None
        ]
        with self.views.writing():
            self.rebuilt = True
            view = old or self.views.add(self.place, self.options)
            self.views.clear(view.id, HEAD)
            view = replace(view, head=self.head, options=self.options, files=0, chunks=0)
            view = self.write(view, changes, len(changes), fresh=True)
            self.finish(view)
        return view

    def catch_up(self, view: View, changes: list[Change]) -> View:
        """Apply the tree diff from the view's commit to HEAD."""
        self.ignore_files_met.update(change.path for change in changes if is_ignore_file(change.path))
        with self.views.writing():
            with self.contents.helped(self.helper(changes)):
                view = self.write(replace(view, head=self.head), changes, len(changes), fresh=False)
            for place in self.views.layer(view.id, OVERLAY) if changes else ():
                head = self.views.at(view.id, HEAD, place.path)
                if head is not None and head.content == place.content:  # committed: no longer a difference
                    self.views.remove(view.id, OVERLAY, [place.path])
                    view = replace(view, overlay_files=view.overlay_files - 1)
            self.see_what_leaves()
            self.finish(view)
        return view

    def retry_unreadable(self, view: View) -> View:
        """A partial clone may have fetched what it lacked."""
        lacking = [p for p in self.views.unreadable(view.id) if self.git.size(p.blob) is not None]
        return self.catch_up(view, [Change(p.path, p.blob) for p in lacking]) if lacking else view

    def write(self, view: View, changes: Iterable[Change], total: int, *, fresh: bool) -> View:
        """Put changed paths into the view's HEAD; inside a transaction."""
        files, chunks = view.files, view.chunks
        rows: list[Place] = []
        removed: list[str] = []
        for number, change in enumerate(changes, 1):
            before = None if fresh else self.views.at(view.id, HEAD, change.path)
            now = None if change.blob is None else self.place_of(change.path, change.blob)
            if now is not None:
                rows.append(now)
            elif before is not None:
                removed.append(change.path)
                self.leaving.left(before)
            if now is None and change.blob is not None:
                self.leaving.refused(change.blob, self.filters.refuse_path(change.path) or "data")
            for place, sign in ((before, -1), (now, 1)):
                if place is not None and place.chunks > 0:
                    files += sign
                    chunks += sign * place.chunks
            self.changed += 1
            if self.progress is not None:
                self.progress(Progress(number, total, self.contents.bytes))
            if len(rows) >= BATCH:
                self.views.put(view.id, HEAD, rows)
                rows.clear()
        self.views.put(view.id, HEAD, rows)
        self.views.remove(view.id, HEAD, removed)
        return replace(view, files=files, chunks=chunks)

    def place_of(self, path: str, blob: str) -> Place | None:
        """A path of HEAD and its content, in the store from here on; None where it must not enter."""
        if self.filters.refuse_path(path):
            return None
        size = self.git.size(blob)
        if size is not None and self.filters.refuse_size(size):
            return None
        language = language_of(path)
        content = content_id(blob, language)
        return Place(
            path, content, blob, self.contents.ensure(content, language, lambda: self.git.read(blob))
        )

    def helper(self, changes: list[Change]) -> Helper | None:
        """Another process that takes apart what these bring, the last first; None where that is little."""
        if self.release is None or len(changes) < MANY:
            return None
        sample = [change for change in changes if change.blob is not None][-SAMPLE:]
        if len(list(self.tasks(sample))) < SAMPLE / 2:
            return None
        return Helper.start(self.tasks(reversed(changes)), self.git.read, release=self.release)

    def tasks(self, changes: Iterable[Change]) -> Iterator[Task]:
        """The contents that the store lacks."""
        for path, blob in changes:
            if blob is None or self.filters.refuse_path(path):
                continue
            language = language_of(path)
            content = content_id(blob, language)
            size = self.git.size(blob)
            if self.contents.lacks(content) and size is not None and not self.filters.refuse_size(size):
                yield Task(content, language, blob)
