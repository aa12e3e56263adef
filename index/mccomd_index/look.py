"""Where names are defined, in one state of a view: by name, by likeness, and what a file defines.

The state is a committed one, and over it the unsaved texts of editors. Neither files nor grammars are read
for it, but where a text is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from .buffers import Unsaved
from .definitions import Definition
from .facts import MOST, Facts
from .fields import PARTS
from .packed import Outline
from .store import Reader
from .types import Defining
from .views import HEAD, OVERLAY, Held, Views

MAX_ABOUT = 40  # words of a question for definitions that are like them; see RANKING.md

TextAt = Callable[[Held], str | None]
OutlineOf = Callable[[Views, int], Outline]  # of a content


class Look:
    """Good within `Snapshot.looking`."""

    def __init__(
        self,
        views: Views,
        facts: Facts,
        reader: Reader,
        text_at: TextAt,
        outline_of: OutlineOf,
        unsaved: Unsaved,
    ) -> None:
        self._views = views
        self._facts = facts
        self._reader = reader
        self._text_at = text_at
        self._outline_of = outline_of
        self._unsaved = unsaved
        self._hidden = unsaved.paths

    @property
    def commit(self) -> str:
        """HEAD; "" unborn."""
        return self._facts.view.head or ""

    def defined(self, names: Iterable[str], most: int = MOST) -> dict[str, list[Defining]]:
        """Where each of the names is defined, by path.

        most: a name with more definitions is left out; 24 at most.
        """
        most, wanted = min(most, MOST), set(names)
        named = self._facts.named(self._views, wanted)
        found = {}
        for name in wanted:
            met, places = named[name]
            here = [*places] if met <= most else []
            if self._hidden:
                here = [one for one in here if one.path not in self._hidden]
                here += self._unsaved.defining(name)
            if here:
                found[name] = here
        return found

    def about(self, words: Mapping[str, float], limit: int) -> list[Defining]:
        """The chunks that define names with these words in them, weighted; best first.

        Of more than forty words those count whose weight times rareness is greatest.
        """
        found = self._reader.match(PARTS, words, limit, MAX_ABOUT)
        held = self._facts.held(self._views, {one.content for one in found})
        here = [
            Defining(path, one.start_line, one.end_line, one.score)
            for one in found
            if held[one.content] and (path := held[one.content][0].path) not in self._hidden
        ]
        if self._hidden:
            here += self._unsaved.about(words, self._reader.frequency, self._reader.chunks)
        return sorted(here, key=lambda place: (-place.score, place.path, place.start_line))[:limit]

    def rareness(self, words: Iterable[str]) -> dict[str, float]:
        """How much a word in a defined name says: ln(1 + chunks / (1 + chunks that have it))."""
        chunks, frequency, log = self._reader.chunks, self._reader.frequency, math.log
        return {word: log(1 + chunks / (1 + frequency(PARTS, word))) for word in words}

    def read(self, path: str) -> str | None:
        """The text of a file, line ends as \\n; None where the view has none that may be shown."""
        text = self._unsaved.text(path)
        if text is None:
            held = self._facts.now(self._views, path)
            text = None if held is None else self._text_at(held)
        return text.replace("\r\n", "\n") if text and "\r" in text else text

    def paths(self) -> list[str]:
        """All files of the view that hold anything, by name, but for texts of editors that it lacks."""
        view, views = self._facts.view.id, self._views
        now = {place.path: place.content for layer in (HEAD, OVERLAY) for place in views.layer(view, layer)}
        return sorted(path for path, content in now.items() if content is not None)

    def outline(self, path: str) -> Outline:
        """What a file defines, by start line; nothing where the view has no such file."""
        if path in self._hidden:
            return self._unsaved.outline(path)
        held = self._facts.now(self._views, path)
        return Outline() if held is None else self._outline_of(self._views, held.content)

    def members(self, path: str, line: int) -> list[Definition]:
        """What the class whose name stands at a line of a file has; nothing where there is none."""
        return self.outline(path).members(line)

    def within(self, path: str, first: int, last: int) -> list[Definition]:
        """What is defined in these lines of a file."""
        return self.outline(path).within(first, last)
