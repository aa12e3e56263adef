"""A view's rows of the work tree: what differs from HEAD on disk, the overlay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from . import overlay
from .errors import RepositoryError
from .git import blob_id
from .job import Job
from .languages import language_of
from .store import content_id
from .views import HEAD, OVERLAY, Place, View


class DiskJob(Job):
    """The part of a refresh that follows the work tree."""

    def follow_work_tree(self, view: View) -> View:
        """Make the overlay what differs from HEAD on disk."""
        if self.work_tree is None:
            return view
        try:
            found = overlay.look(self.git, self.work_tree, self.filters)
        except RepositoryError as error:
            note = f"uncommitted changes are not seen: {error}"
            if note != view.note:
                view = replace(view, note=note)
                with self.views.writing():
                    self.views.update(view)
            return view
        known = {place.path: place for place in self.views.layer(view.id, OVERLAY)}
        with self.views.writing():
            now = {place.path: place for place in self.overlaid(view, found, known)}
            changed = [place for place in now.values() if known.get(place.path) != place]
            left = known.keys() - now.keys()
            if changed or left or view.note != found.note or view.overlay_files != len(now):
                self.leaving.left_overlay(known[path] for path in left)
                self.views.remove(view.id, OVERLAY, left)
                self.views.put(view.id, OVERLAY, changed)
                view = replace(view, overlay_files=len(now), note=found.note)
                self.finish(view)
        return view

    def overlaid(self, view: View, found: overlay.Overlay, known: dict[str, Place]) -> Iterator[Place]:
        """The overlay's rows; only files that changed since they were last read are read."""
        for path in found.gone:
            if self.views.at(view.id, HEAD, path) is not None:
                yield Place(path, None, "", 0)
        for file in found.files:
            head = self.views.at(view.id, HEAD, file.path)
            place = known.get(file.path)
            if place is None or place.mark != file.mark or not file.mark:
                place = self.place_on_disk(file)
            if head is not None and place.content == head.content:
                continue
            if head is not None or place.content is not None:
                yield place

    def place_on_disk(self, file: overlay.OnDisk) -> Place:
        data = overlay.read(self.work_tree or "", file.path, self.limit)
        if data is None:
            return Place(file.path, None, "", 0, file.mark)
        blob, language = blob_id(data), language_of(file.path)
        content = content_id(blob, language)
        return Place(
            file.path, content, blob, self.contents.ensure(content, language, lambda: data), file.mark
        )

    def overlay_anew(self, view: View) -> View:
        try:
            found = overlay.look(self.git, self.work_tree or "", self.filters)
        except RepositoryError as error:
            return replace(view, note=f"uncommitted changes are not seen: {error}")
        rows = list(self.overlaid(view, found, {}))
        self.views.put(view.id, OVERLAY, rows)
        return replace(view, overlay_files=len(rows), note=found.note)
