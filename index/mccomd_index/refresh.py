"""The life of a commit: make the view of this work tree what HEAD and the disk say.

One comparison of the view with HEAD decides (`state.assess`). A view that is behind takes the tree diff;
where that cannot be had it is derived from all of HEAD. Either way only contents that the store lacks are
read: a branch switched back, a second work tree, a renamed file are changes of rows. Contents go to Tantivy
first, then the rows are committed: a crash in between leaves contents that no view names yet, which the
next refresh finds. Damage, or more dead contents than live ones, is an explained full rebuild into a new
generation, while readers keep the old one.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from . import overlay
from .contents import Contents
from .errors import CorruptError, RepositoryError
from .filters import Filters
from .git import Change, Git, blob_id
from .helper import Helper, Task
from .ignore import is_ignore_file
from .languages import language_of
from .leaving import Leaving
from .stamp import new_generation, remove_other_generations, writer_lock
from .state import Assessment, assess, in_force, known_ignore_files, look_into, short
from .store import content_id
from .types import IndexOptions, IndexState, Progress, Report, Repository
from .views import HEAD, OVERLAY, Place, View, Views

# Dead contents weigh on BM25's statistics and use hits up: past as many as there are live ones they go.
MIN_DEAD = 2_000  # chunks; below this a rebuild is not worth it
BATCH = 1_000  # rows written at once
MANY = 32  # changed files that are worth a second process
LEAVING = "contents of files that became secret or ignored"

OnProgress = Callable[[Progress], None]


def refresh(
    repository: Repository,
    folder: Path,
    options: IndexOptions,
    progress: OnProgress | None = None,
    *,
    rebuild: bool = False,
    tidy: bool = True,
    helped: bool = False,
    searchable: Callable[[Report], None] | None = None,
) -> Report:
    """Bring the view of a work tree to HEAD and to what is on disk.

    Waits for another process that writes the same folder, then does what that one left to do.
    rebuild: from nothing, whatever the state.
    tidy: clear away what no work tree has any more, if it is much; otherwise the report says that it is.
    helped: by a second process, where much has changed; no other thread of this one may run.
    searchable: called with the report once both are, before what nobody waits for: segments are merged, files
    closed. Of a store begun anew these belong to the work.
    """
    began = time.perf_counter()
    with writer_lock(folder) as lock:
        git = Git(repository)
        try:
            with _Job(git, repository, folder, options, progress) as job:
                job.release = (lock,) if helped else None
                done = job.run(rebuild, tidy)
                if job.contents.fresh:
                    job.contents.close()
                done = replace(done, ms=(time.perf_counter() - began) * 1000)
                if searchable is not None:
                    searchable(done)
        finally:
            git.close()
    return done


class _Job:
    """One refresh: a repository at one HEAD, a folder whose lock is held, and what was counted on the way."""

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

    def __enter__(self) -> _Job:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if hasattr(self, "contents"):
            self.contents.close()
        if hasattr(self, "views"):
            self.views.close()

    def run(self, rebuild: bool, tidy: bool) -> Report:
        found, fresh = self.open()
        try:
            return self.bring(found, rebuild and not fresh, tidy)
        except CorruptError as error:  # that opening did not show
            self.begin_anew()
            return self.bring(Assessment(IndexState.CORRUPT, str(error)), rebuild=False, tidy=tidy)

    def bring(self, found: Assessment, rebuild: bool, tidy: bool) -> Report:
        remove_other_generations(self.folder, self.views.generation())
        self.forget_gone_work_trees()
        if rebuild:
            view = self.rebuild("asked for")
            return self.report(view, "asked for")
        view, reason = self.follow_head(found)
        began = time.perf_counter()
        view = self.follow_work_tree(view)
        self.look_ms = (time.perf_counter() - began) * 1000
        if self.see_ignore_files(view):
            reason = "an ignore file changed"
            view, _ = self.follow_head(Assessment(IndexState.OTHER_OPTIONS, reason, view))
            view = self.follow_work_tree(view)
        with self.views.writing():
            self.see_what_leaves()
            leaving = self.views.is_leaving()
        crowded = LEAVING if leaving else self.crowded(view)
        if crowded and tidy:
            view, reason, crowded = self.rebuild(crowded), crowded, ""
        return replace(self.report(view, reason), crowded=crowded)

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

    # --- HEAD -----------------------------------------------------------------------------------

    def follow_head(self, found: Assessment) -> tuple[View, str]:
        view = found.view
        if view is None:
            return self.derive(None), found.reason
        if found.state is IndexState.OTHER_OPTIONS:
            before, refuse = view.chunks, self.filters.refuse_path
            out = any(place.chunks > 0 and refuse(place.path) for place in self.views.layer(view.id, HEAD))
            view = self.derive(view)
            if out or view.chunks < before:  # what must not be found must not stay on disk either
                view = self.rebuild(found.reason)
            return view, found.reason
        if found.state is IndexState.CURRENT:
            return self.retry_unreadable(view), found.reason
        try:
            changes = self.git.diff(view.head, self.head)
        except RepositoryError as error:
            reason = str(error)
            if view.head is not None and not self.git.has_commit(view.head):
                reason = f"commit {short(view.head)} of the index is gone from the repository"
            return self.derive(view), reason
        return self.catch_up(view, changes), f"{len(changes)} files since {short(view.head)}"

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

    def see_what_leaves(self) -> None:
        """Remember, beside the rows, that a content must not stay on disk; inside a transaction."""
        so = self.leaving.became_so(self.git, self.work_tree, self.filters, self.limit)
        if any(not self.views.is_named(place.content) for place in so):
            self.views.set_leaving(True)

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
        brought = [change for change in changes if change.blob is not None][-MANY:]
        tasks = self.tasks(brought)
        if len(list(tasks)) < MANY / 2:  # a branch that was met before
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

    def finish(self, view: View) -> None:
        """Commit what was added, then let the view's row say so."""
        if self.contents.commit():
            self.views.set_generation(self.contents.folder.name)
        self.views.update(view)

    # --- the work tree --------------------------------------------------------------------------

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

    # --- the store ------------------------------------------------------------------------------

    def rebuild(self, reason: str) -> View:
        """All live contents into a new generation; what stands stays readable until then."""
        self.changed = 0
        self.contents.close()
        place = new_generation(self.folder)
        self.contents = Contents(self.views, place, fresh=True)
        try:
            with self.views.writing():
                view = self.views.view(self.place) or self.views.add(self.place, self.options)
                self.views.forget_overlays()
                self.views.clear(view.id, HEAD)
                self.views.trim()
                self.views.set_leaving(False)
                view = replace(view, head=self.head, options=self.options)
                view = replace(view, files=0, chunks=0, overlay_files=0, note="")
                files = [*self.git.files(self.head)]
                changes = [Change(*f) for f in files if self.filters.refuse_path(f.path) is None]
                view = self.write(view, changes, len(changes), fresh=True)
                for other in self.views.contents_of_others(view.id):
                    if other.content is not None:
                        self.contents.ensure(other.content, language_of(other.path), self.reading(other.blob))
                if self.work_tree is not None:
                    view = self.overlay_anew(view)
                self.contents.commit()
                self.views.set_generation(place.name)
                self.views.update(view)
        except BaseException:
            self.contents.close()
            shutil.rmtree(place, ignore_errors=True)  # a full disk must not stay full of it
            raise
        self.rebuilt = True
        self.views.scrub()
        remove_other_generations(self.folder, place.name)
        return view

    def overlay_anew(self, view: View) -> View:
        try:
            found = overlay.look(self.git, self.work_tree or "", self.filters)
        except RepositoryError as error:
            return replace(view, note=f"uncommitted changes are not seen: {error}")
        rows = list(self.overlaid(view, found, {}))
        self.views.put(view.id, OVERLAY, rows)
        return replace(view, overlay_files=len(rows), note=found.note)

    def reading(self, blob: str) -> Callable[[], bytes | None]:
        return lambda: self.git.read(blob)

    def crowded(self, view: View) -> str:
        """Why the store must be built anew; "" while it need not."""
        total = self.contents.stored()
        if total <= 2 * view.chunks:  # so much is never too much, and to count costs a look at every row
            return ""
        live = self.views.live_chunks()
        dead = total - live
        if dead <= max(MIN_DEAD, live):
            return ""
        return f"{dead} chunks that no work tree has beside {live} live ones"

    def forget_gone_work_trees(self) -> None:
        gone = [place for place in self.views.places_of_views() if not os.path.isdir(place)]
        for place in gone:
            with self.views.writing():
                self.views.forget(place)

    def report(self, view: View, reason: str) -> Report:
        return Report(
            state=IndexState.CURRENT,
            head=self.head,
            files=view.files,
            chunks=view.chunks,
            overlay_files=view.overlay_files,
            changed_files=self.changed,
            bytes=self.contents.bytes,
            unreadable=len(self.views.unreadable(view.id)),
            ms=0.0,
            look_ms=self.look_ms,
            rebuilt=self.rebuilt,
            reason=reason,
            note=view.note,
        )
