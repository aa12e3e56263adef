"""Where names are defined, in one state of a view: by name, by likeness, and what a file defines.

The state is a committed one, and over it the unsaved texts of editors. Neither files nor grammars are read
for it, but where a text is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from .buffers import Unsaved
from .definitions import Definition
from .fields import NAMES, PARTS
from .store import Found, Reader
from .tokens import name_word
from .types import Defining
from .views import Place, View, Views

MAX_DEFINING = 24  # chunks; what more of them define is a word, not a name
PLACES = 8  # of a name

TextAt = Callable[[int, str, str], str | None]  # layer, path, blob
OutlineOf = Callable[[Views, int], Sequence[Definition]]  # of a content


class Look:
    """Good within `Snapshot.looking`."""

    def __init__(
        self,
        views: Views,
        view: View,
        reader: Reader,
        text_at: TextAt,
        outline_of: OutlineOf,
        unsaved: Unsaved,
    ) -> None:
        self._views = views
        self._view = view
        self._reader = reader
        self._text_at = text_at
        self._outline_of = outline_of
        self._unsaved = unsaved
        self._paths: dict[int, str] = {}  # content -> path; "" the view has none
        self._places: dict[str, tuple[int, Place] | None] = {}

    @property
    def commit(self) -> str:
        """HEAD; "" unborn."""
        return self._view.head or ""

    def defined(self, names: Iterable[str], most: int = MAX_DEFINING) -> dict[str, list[Defining]]:
        """Where each of the names is defined, at most eight places a name.

        most: a name that more chunks define is left out; of 24 at most they are looked at.
        Upper and lower case are one.
        """
        most, frequency = min(most, MAX_DEFINING), self._reader.frequency
        words = {name: name_word(name) for name in names}
        known = [word for word in set(words.values()) if 0 < frequency(NAMES, word) <= most]
        found = self._reader.match_each(NAMES, known, MAX_DEFINING)
        self._find_paths(one.content for places in found.values() for one in places)
        seen = {}
        for name, word in words.items():
            here = [*self._seen(found.get(word, ())), *self._unsaved.defining(word)]
            if here:
                seen[name] = self._sorted(here)[:PLACES]
        return seen

    def about(self, words: Mapping[str, float], limit: int) -> list[Defining]:
        """The chunks that define names with these words in them, weighted; best first."""
        found = self._reader.match(PARTS, words, limit)
        self._find_paths(one.content for one in found)
        buffered = self._unsaved.about(words, self._reader.frequency, self._reader.chunks)
        return self._sorted([*self._seen(found), *buffered])[:limit]

    def rareness(self, words: Iterable[str]) -> dict[str, float]:
        """How much a word in a defined name says: ln(1 + chunks / (1 + chunks that have it))."""
        chunks, frequency = self._reader.chunks, self._reader.frequency
        return {word: math.log(1 + chunks / (1 + frequency(PARTS, word))) for word in words}

    def read(self, path: str) -> str | None:
        """The text of a file, line ends as \\n; None where the view has none that may be shown."""
        text = self._unsaved.text(path)
        if text is None:
            found = self._place(path)
            if found is None or found[1].chunks <= 0:
                return None
            text = self._text_at(found[0], path, found[1].blob)
        return text.replace("\r\n", "\n") if text and "\r" in text else text

    def outline(self, path: str) -> Sequence[Definition]:
        """What a file defines, by start line; nothing where the view has no such file."""
        if path in self._unsaved.paths:
            return self._unsaved.outline(path)
        found = self._place(path)
        if found is None or found[1].content is None or found[1].chunks <= 0:
            return ()
        return self._outline_of(self._views, found[1].content)

    def _place(self, path: str) -> tuple[int, Place] | None:
        if path not in self._places:
            self._places[path] = self._views.now(self._view.id, path)
        return self._places[path]

    def _find_paths(self, contents: Iterable[int]) -> None:
        """The first path of each content, all in one question."""
        unknown = {content for content in contents if content not in self._paths}
        if unknown:
            self._paths.update(dict.fromkeys(unknown, ""))
            self._paths.update(self._views.paths_of(self._view.id, unknown))

    def _seen(self, found: Iterable[Found]) -> list[Defining]:
        """Of what is found, what the view has and no editor has otherwise."""
        return [
            Defining(path, one.start_line, one.end_line, one.score)
            for one in found
            if (path := self._paths[one.content]) and path not in self._unsaved.paths
        ]

    def _sorted(self, found: list[Defining]) -> list[Defining]:
        """Best first; equal scores by path."""
        return sorted(found, key=lambda place: (-place.score, place.path, place.start_line))
