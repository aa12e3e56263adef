"""The outline of a content, what it defines, as one short text, and back.

Kept beside the store when a content is taken in, so that a retrieval round reads neither files nor grammars.
Pure.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate, pairwise
from operator import add, sub
from typing import overload

from .definitions import Definition
from .errors import CorruptError

__all__ = ["KINDS", "Outline", "packed", "unpacked"]

KINDS = {"function": "f", "class": "c", "value": "v"}
_definition = partial(tuple.__new__, Definition)  # `_make` is the same in Python, five times slower
_LETTERS = {letter: kind for kind, letter in KINDS.items()}


Columns = tuple[Sequence[str], str, Sequence[str], Sequence[int], Sequence[int], Sequence[int]]
"""Of definitions: name, letter of the kind, container, start line, line, end line."""
_NOTHING: Columns = ((), "", (), (), (), ())


class Outline(Sequence[Definition]):
    """What a content defines, by start line; each is made when it is asked for, as a round asks for few."""

    def __init__(self, columns: Columns = _NOTHING) -> None:
        self.columns = columns
        *_, self._starts, self._lines, _ = columns
        self._above = max(map(sub, self._lines, self._starts), default=0)  # lines of decorators
        self._members: dict[int, list[Definition]] = {}

    @classmethod
    def of(cls, found: Sequence[Definition]) -> Outline:
        """Of definitions by start line."""
        if not found:
            return cls()
        names, kinds, owners, starts, lines, ends = zip(*found, strict=True)
        return cls((names, "".join(map(KINDS.__getitem__, kinds)), owners, starts, lines, ends))

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[Definition]:
        return self._made(slice(None))

    @overload
    def __getitem__(self, at: int) -> Definition: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Definition]: ...
    def __getitem__(self, at: int | slice) -> Definition | Sequence[Definition]:
        if isinstance(at, slice):
            return [*self._made(at)]
        names, kinds, owners, starts, lines, ends = self.columns
        return Definition(names[at], _LETTERS[kinds[at]], owners[at], starts[at], lines[at], ends[at])

    def members(self, line: int) -> list[Definition]:
        """What the class whose name stands at a line has; nothing where there is none."""
        found = self._members.get(line)
        if found is None:
            owner = next((one for one in self.within(line, line) if one.kind == "class"), None)
            inside = [] if owner is None else self.within(owner.line, owner.end_line)
            found = [one for one in inside if owner is not None and one.container == owner.name]
            self._members[line] = found
        return found

    def within(self, first: int, last: int) -> list[Definition]:
        """Those whose name stands in these lines."""
        near = slice(bisect_left(self._starts, first - self._above), bisect_right(self._starts, last))
        return [one for one in self._made(near) if first <= one.line <= last]

    def _made(self, some: slice) -> Iterator[Definition]:
        names, kinds, owners, starts, lines, ends = self.columns
        whole = map(_LETTERS.__getitem__, kinds[some])
        rest = owners[some], starts[some], lines[some], ends[some]
        return map(_definition, zip(names[some], whole, *rest, strict=True))


def packed(found: Sequence[Definition]) -> str:
    """26 bytes or so a definition: columns, and lines as differences; "" of none.

    found: by start line, as `definitions` gives them.
    """
    if not found:
        return ""
    names = " ".join(one.name.replace(" ", "_") for one in found)
    kinds = "".join(KINDS[one.kind] for one in found)
    owners = {name: number for number, name in enumerate(dict.fromkeys(one.container for one in found))}
    starts = [after - before for before, after in pairwise([0, *(one.start_line for one in found)])]
    lines = [one.line - one.start_line for one in found]
    ends = [one.end_line - one.line for one in found]
    columns = [names, kinds, list(owners), [owners[one.container] for one in found], starts, lines, ends]
    return json.dumps(columns, separators=(",", ":"))


def unpacked(text: str) -> Outline:
    """What was packed. CorruptError: it was something else."""
    if not text:
        return Outline()
    try:
        names, kinds, owners, owned, starts, lines, ends = json.loads(text)
        firsts = list(accumulate(starts))
        at = list(map(add, firsts, lines))
        lasts = list(map(add, at, ends))
        found = Outline((names.split(" "), kinds, list(map(owners.__getitem__, owned)), firsts, at, lasts))
        whole = {len(column) for column in (*found.columns, lines, ends)} == {len(at)}
        if not (whole and set(kinds) <= _LETTERS.keys()):
            raise ValueError("columns")
        return found
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise CorruptError(f"an outline is damaged: {text[:80]!r}") from error
