"""What was looked up in one state of a view, kept for as long as that state is the latest.

Rounds of one user ask almost the same from key to key: the names of one file. One for each
snapshot, for use from several threads: what two of them look up at once is looked up twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .database import Moment
from .packed import KINDS
from .types import Defining
from .views import Held, View, Views

MOST = 24  # definitions of a name that are looked at; what has more is a word
MAX_NAMES = 20_000
MAX_CONTENTS = 20_000

_KIND_OF = {letter: kind for kind, letter in KINDS.items()}


class Named(NamedTuple):
    """What a name stands for."""

    met: int  # definitions in all contents of the store, whether the view has them or not; MOST + 1: more
    places: tuple[Defining, ...]  # those of the view, by path


class Facts:
    """Of one view at one moment."""

    def __init__(self, moment: Moment, view: View) -> None:
        self.moment = moment
        self.view = view
        self._named: dict[str, Named] = {}
        self._held: dict[int, Sequence[Held]] = {}
        self._now: dict[str, tuple[str, Held | None]] = {}

    def named(self, views: Views, names: Iterable[str]) -> dict[str, Named]:
        """Where names are defined, of every name asked for."""
        if len(self._named) > MAX_NAMES:
            self._named = {}
        known = self._named
        unknown = {name for name in names if name not in known}
        if not unknown:
            return known
        rows = {name: views.defining(name, MOST + 1) for name in unknown}
        held = self.held(views, {row[0] for found in rows.values() if len(found) <= MOST for row in found})
        for name, found in rows.items():
            places = [
                Defining(held[content][0].path, first, last, 1.0, line, _KIND_OF[kind])
                for content, line, first, last, kind in (found if len(found) <= MOST else ())
                if held[content]
            ]
            known[name] = Named(len(found), tuple(sorted(places)))
        return known

    def held(self, views: Views, contents: Iterable[int]) -> dict[int, Sequence[Held]]:
        """Which paths hold contents now, of every content asked for; by path."""
        if len(self._held) > MAX_CONTENTS:
            self._held = {}
        known = self._held
        unknown = [content for content in contents if content not in known]
        if unknown:
            known.update(views.holding(self.view.id, unknown))
        return known

    def now(self, views: Views, path: str) -> Held | None:
        """What a path holds; None where nothing of it can be found."""
        return self._at(views, path)[1]

    def blob(self, views: Views, path: str) -> str:
        """The blob that a path holds, whether it can be found or not; "" of none."""
        return self._at(views, path)[0]

    def _at(self, views: Views, path: str) -> tuple[str, Held | None]:
        found = self._now.get(path)
        if found is None:
            row = views.now(self.view.id, path)
            held = None
            if row is not None and row[1].content is not None and row[1].chunks > 0:
                held = Held(row[0], path, row[1].content, row[1].blob, row[1].chunks)
            found = "" if row is None else row[1].blob, held
            if len(self._now) > MAX_CONTENTS:
                self._now.clear()
            self._now[path] = found
        return found
