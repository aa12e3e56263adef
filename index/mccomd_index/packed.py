"""The outline of a content, what it defines, as one short text, and back.

Kept beside the store when a content is taken in, so that a retrieval round reads neither files nor grammars.
Pure.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property, partial
from itertools import accumulate, pairwise

from .definitions import Definition
from .errors import CorruptError

__all__ = ["KINDS", "Outline", "packed", "unpacked"]

KINDS = {"function": "f", "class": "c", "value": "v"}
_definition = partial(tuple.__new__, Definition)  # `_make` is the same in Python, five times slower
_LETTERS = {letter: kind for kind, letter in KINDS.items()}


class Outline(tuple[Definition, ...]):
    """What a content defines, by start line, and what follows from it, found once."""

    @cached_property
    def _members(self) -> dict[int, list[Definition]]:
        return {}

    def members(self, line: int) -> list[Definition]:
        """What the class whose name stands at a line has; nothing where there is none."""
        found = self._members.get(line)
        if found is None:
            owner = next((one for one in self if one.line == line and one.kind == "class"), None)
            found = self._members[line] = [] if owner is None else self._of(owner)
        return found

    def _of(self, owner: Definition) -> list[Definition]:
        name, first, last = owner.name, owner.line, owner.end_line
        return [one for one in self if one.container == name and first <= one.line <= last]

    def within(self, first: int, last: int) -> list[Definition]:
        """Those whose name stands in these lines."""
        return [one for one in self if first <= one.line <= last]


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
        at = [first + more for first, more in zip(firsts, lines, strict=True)]
        lasts = [line + more for line, more in zip(at, ends, strict=True)]
        columns = (
            names.split(" "),
            map(_LETTERS.__getitem__, kinds),
            map(owners.__getitem__, owned),
            firsts,
            at,
            lasts,
        )
        return Outline(map(_definition, zip(*columns, strict=True)))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise CorruptError(f"an outline is damaged: {text[:80]!r}") from error
