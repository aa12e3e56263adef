"""Where names are defined, in one committed state of a view: by name, by likeness, and the file itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from .fields import NAMES, PARTS
from .store import Found, Reader
from .tokens import name_word
from .types import Defining
from .views import HEAD, OVERLAY, View, Views

MAX_DEFINING = 24  # chunks; what more of them define is a word, not a name
PLACES = 8  # of a name

TextAt = Callable[[int, str, str], str | None]  # layer, path, blob


class Look:
    """Good within `Snapshot.looking`."""

    def __init__(self, views: Views, view: View, reader: Reader, text_at: TextAt) -> None:
        self._views = views
        self._view = view
        self._reader = reader
        self._text_at = text_at
        self._paths: dict[int, list[str]] = {}

    @property
    def commit(self) -> str:
        """HEAD; "" unborn."""
        return self._view.head or ""

    def defined(self, names: Iterable[str]) -> dict[str, list[Defining]]:
        """Where each of the names is defined, at most eight places a name; none for one that very many are.

        Upper and lower case are one.
        """
        found = {}
        for name in names:
            word = name_word(name)
            if 0 < self._reader.frequency(NAMES, word) <= MAX_DEFINING:
                places = self._places(self._reader.match(NAMES, {word: 1.0}, MAX_DEFINING))
                if places:
                    found[name] = places[:PLACES]
        return found

    def about(self, words: Mapping[str, float], limit: int) -> list[Defining]:
        """The chunks that define names with these words in them, weighted; best first."""
        return self._places(self._reader.match(PARTS, words, limit))

    def rareness(self, words: Iterable[str]) -> dict[str, float]:
        """How much a word in a defined name says: ln(1 + chunks / (1 + chunks that have it))."""
        chunks, frequency = self._reader.chunks, self._reader.frequency
        return {word: math.log(1 + chunks / (1 + frequency(PARTS, word))) for word in words}

    def read(self, path: str) -> str | None:
        """The text of a file, line ends as \\n; None where the view has none that may be shown."""
        for layer in (OVERLAY, HEAD):
            place = self._views.at(self._view.id, layer, path)
            if place is not None:
                text = self._text_at(layer, path, place.blob) if place.chunks > 0 else None
                return text.replace("\r\n", "\n") if text and "\r" in text else text
        return None

    def _places(self, found: Iterable[Found]) -> list[Defining]:
        """Of what is found, what the view has: the first path of each content; equal scores by path."""
        places = [
            Defining(path, one.start_line, one.end_line, one.score)
            for one in found
            for path in self._paths_of(one.content)[:1]
        ]
        return sorted(places, key=lambda place: (-place.score, place.path, place.start_line))

    def _paths_of(self, content: int) -> list[str]:
        if content not in self._paths:
            self._paths[content] = [place.path for _, place in self._views.seen(self._view.id, content)]
        return self._paths[content]
