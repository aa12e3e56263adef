"""The life of a commit: make the view of this work tree what HEAD and the disk say.

One comparison of the view with HEAD decides (`state.assess`). A view that is behind takes the tree diff;
where that cannot be had it is derived from all of HEAD. Either way only contents that the store lacks are
read: a branch switched back, a second work tree, a renamed file are changes of rows. Contents go to Tantivy
first, then the rows are committed: a crash in between leaves contents that no view names yet, which the
next refresh finds. Damage, or more dead contents than live ones, is an explained full rebuild into a new
generation, while readers keep the old one.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from .contents import Contents
from .disk import DiskJob
from .errors import CorruptError, RepositoryError
from .git import Change, Git
from .head import HeadJob
from .job import OnProgress
from .languages import language_of
from .stamp import new_generation, remove_other_generations, writer_lock
from .state import Assessment, short
from .types import IndexOptions, IndexState, Report, Repository
from .views import HEAD, View

# Dead contents weigh on BM25's statistics and use hits up: past as many as there are live ones they go.
MIN_DEAD = 2_000  # chunks; below this a rebuild is not worth it
LEAVING = "contents of files that became secret or ignored"


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


class _Job(HeadJob, DiskJob):
    """The order of one refresh."""

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
