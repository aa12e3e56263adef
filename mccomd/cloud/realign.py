"""A draft that was offered some keys ago -> what of it may follow the cursor now. Pure.

The user typed on, differently: what was typed stands against the beginning of the draft, and what is left of
the draft behind the best match is still a good guess ("self.height * 2", typed "self.w" -> " * 2").
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Aligned", "common_beginning", "realign"]

MIN_SIMILAR = 0.4
"""Less of what was typed is in the draft: they have nothing to do with each other."""
MAX_TYPED = 200


@dataclass(frozen=True, slots=True)
class Aligned:
    """What is left of a draft."""

    text: str
    at_cursor: bool  # it follows the cursor immediately; else the word at the cursor stands between
    typed_as_drafted: bool  # what was typed is the beginning of the draft: the rest is what was offered


NOTHING = Aligned("", False, False)


def realign(draft: str, typed: str) -> Aligned:
    """What of the draft may come after `typed`, which ends at the cursor.

    >>> realign("foo(a, b)", "foo(").text, realign("foo(a, b)", "bar").text
    ('a, b)', '(a, b)')
    """
    if draft.startswith(typed):
        rest = draft[len(typed) :]
        return Aligned(rest, bool(rest), True)
    if not draft or len(typed) > MAX_TYPED:
        return NOTHING
    end, distance = _best_prefix(draft, typed)
    if distance > (1 - MIN_SIMILAR) * max(len(typed), end) and not _same_shape(draft, typed):
        return NOTHING
    return _whole_words(draft, typed, end)


def common_beginning(left: str, right: str) -> str:
    for i, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return left[:i]
    return left[: len(right)]


def _same_shape(draft: str, typed: str) -> bool:
    """A name instead of a name: 'bar' for 'foo(a)' may go on with '(a)'."""
    return typed.isidentifier() and draft[:1].isidentifier()


def _best_prefix(draft: str, typed: str) -> tuple[int, int]:
    """(n, edits) of the beginning draft[:n] that is nearest to what was typed; of equals the longest.

    One that ends with the same punctuation comes before all others.
    """
    row = list(range(len(draft) + 1))
    for i, char in enumerate(typed, 1):
        above, row = row, [i]
        for j, other in enumerate(draft, 1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (char != other)))
    mark = typed[len(typed.rstrip(" \t\n.,;:()[]{}<>=+-*/%&|^!\"'")) :]
    alike = [j for j in range(len(row)) if mark and draft[:j].endswith(mark)] or range(len(row))
    least = min(row[j] for j in alike)
    return max(j for j in alike if row[j] == least), least


def _whole_words(draft: str, typed: str, end: int) -> Aligned:
    """The cut at `end` moved to where the draft's word ends, unless the word typed is the draft's own."""
    if not _in_word(typed[-1:]):
        return Aligned(draft[end:], True, False) if end < len(draft) else NOTHING
    start = end
    while start and _in_word(draft[start - 1]):
        start -= 1
    begun = len(typed)
    while begun and _in_word(typed[begun - 1]):
        begun -= 1
    word = typed[begun:]
    stop = start
    while stop < len(draft) and _in_word(draft[stop]):
        stop += 1
    if draft[start:stop].startswith(word):
        rest = draft[start + len(word) :]
        return Aligned(rest, bool(rest), False)
    return Aligned(draft[stop:], False, False) if stop < len(draft) else NOTHING


def _in_word(char: str) -> bool:
    return char.isalnum() or char == "_"
