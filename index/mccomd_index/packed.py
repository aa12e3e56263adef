"""The outline of a content, what it defines, as one short text, and back.

Kept beside the store when a content is taken in, so that a retrieval round reads neither files nor grammars.
Pure.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from itertools import accumulate, pairwise

from .definitions import Definition
from .errors import CorruptError

__all__ = ["packed", "unpacked"]

_KINDS = {"function": "f", "class": "c", "value": "v"}
_definition = partial(tuple.__new__, Definition)  # `_make` is the same in Python, five times slower
_LETTERS = {letter: kind for kind, letter in _KINDS.items()}


def packed(found: Sequence[Definition]) -> str:
    """26 bytes or so a definition: columns, and lines as differences; "" of none.

    found: by start line, as `definitions` gives them.
    """
    if not found:
        return ""
    names = " ".join(one.name.replace(" ", "_") for one in found)
    kinds = "".join(_KINDS[one.kind] for one in found)
    owners = {name: number for number, name in enumerate(dict.fromkeys(one.container for one in found))}
    starts = [after - before for before, after in pairwise([0, *(one.start_line for one in found)])]
    lines = [one.line - one.start_line for one in found]
    ends = [one.end_line - one.line for one in found]
    columns = [names, kinds, list(owners), [owners[one.container] for one in found], starts, lines, ends]
    return json.dumps(columns, separators=(",", ":"))


def unpacked(text: str) -> tuple[Definition, ...]:
    """What was packed. CorruptError: it was something else."""
    if not text:
        return ()
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
        return tuple(map(_definition, zip(*columns, strict=True)))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise CorruptError(f"an outline is damaged: {text[:80]!r}") from error
