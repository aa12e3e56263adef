"""The definitions of files, remembered: a file is read once, however many rounds ask for it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from mccomd_index import Definition, definitions, language_of

__all__ = ["Outlines"]

MAX_FILES = 500  # 10 MB or so
WHOLE = 60_000  # characters: of longer files only a part from the wanted line on is read
ROUND = 40_000  # characters read anew in one round: some 2 ms; the next round reads the rest


class Outlines:
    """For one thread."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, int], tuple[int, list[Definition]]] = OrderedDict()
        self._room = ROUND

    def begin(self) -> None:
        """A new round: so many characters may be read."""
        self._room = ROUND

    def of(self, path: str, text: str | None, line: int) -> Sequence[Definition]:
        """The definitions of a text, of a long one those near a line; none once enough was read."""
        if text is None:
            return ()
        key = (path, 0) if len(text) <= WHOLE else (path, line)
        known = self._known.get(key)
        if known is not None and known[0] == hash(text):
            self._known.move_to_end(key)
            return known[1]
        if self._room <= 0:
            return ()
        found = _read(text, key[1], language_of(path))
        self._room -= min(len(text), WHOLE)
        self._known[key] = hash(text), found
        if len(self._known) > MAX_FILES:
            self._known.popitem(last=False)
        return found


def _read(text: str, line: int, language: str) -> list[Definition]:
    """All definitions, or of a long text those from a line on; line 0: all."""
    if not line:
        return definitions(text, language)
    start, skipped = 0, 0
    while skipped < line - 1:
        start = text.find("\n", start) + 1
        skipped += 1
    part = text[start : start + WHOLE]
    return [
        one._replace(
            start_line=one.start_line + skipped, line=one.line + skipped, end_line=one.end_line + skipped
        )
        for one in definitions(part, language)
    ]
