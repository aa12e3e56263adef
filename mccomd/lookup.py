"""A repository's definitions, as plugins ask for them: by name, by likeness, by file.

What must not be shown is refused where texts are read; that a name is defined somewhere is no secret.
Knows the index through indexing.py only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from mccomd.hooks import Definitions
from mccomd.indexing import Indexing, Refused
from mccomd.types import Defined, Place
from mccomd_index import Look, Snapshot

__all__ = ["IndexLookup"]

T = TypeVar("T")


class IndexLookup:
    """hooks.Lookup over the indexes of this daemon."""

    def __init__(self, indexing: Indexing) -> None:
        self._indexing = indexing

    def __call__(
        self, repository: str, question: Callable[[Definitions], T], /, *, without: str = ""
    ) -> T | None:
        def ask(snapshot: Snapshot, refused: Refused) -> T | None:
            with snapshot.looking(self._indexing.buffers(repository, without)) as look:
                return None if look is None else question(_Shown(look, refused))

        return self._indexing.ask(repository, ask)


class _Shown:
    """hooks.Definitions: what may be shown of a view."""

    def __init__(self, look: Look, refused: Refused) -> None:
        self._look = look
        self._refused = refused
        self.commit = look.commit

    def defined(self, names: Iterable[str], /, *, most: int = 24) -> Mapping[str, Sequence[Place]]:
        return self._look.defined(names, most)

    def about(self, words: Mapping[str, float], limit: int, /) -> Sequence[Place]:
        return self._look.about(words, limit)

    def rareness(self, words: Iterable[str], /) -> Mapping[str, float]:
        return self._look.rareness(words)

    def outline(self, path: str, /) -> Sequence[Defined]:
        return self._look.outline(path)

    def members(self, path: str, line: int, /) -> Sequence[Defined]:
        return self._look.members(path, line)

    def within(self, path: str, first: int, last: int, /) -> Sequence[Defined]:
        return self._look.within(path, first, last)

    def read(self, path: str, /) -> str | None:
        return None if self._refused(path) else self._look.read(path)
