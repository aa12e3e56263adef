"""Answers that need no model: the user types what was shown, or comes back to where it was.

Keyed by the text around the cursor, so undo and redo find what stood there. Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from mccomd.types import Snippet

__all__ = ["Answer", "Place", "Remembered"]

TAIL = 2000  # characters left of the cursor that decide whether a place is the same
HEAD = 500  # and right of it
MAX_ANSWERS = 200
NEWEST = 16  # only these are tried for typing through


@dataclass(frozen=True, slots=True)
class Place:
    """Where a cursor is, by the text around it."""

    offset: int  # characters left of the cursor
    tail: str  # the last of them
    head: str  # the first characters right of it
    rest: int  # characters right of it

    @classmethod
    def of(cls, prefix: str, suffix: str) -> Place:
        return cls(len(prefix), prefix[-TAIL:], suffix[:HEAD], len(suffix))


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished answer; `text` may be "", with the reason why."""

    text: str
    reason: str
    confidence: float
    finish: str
    route: str
    snippets: tuple[Snippet, ...]
    made_with: object  # compared for equality: the options in force; other options, other answers


class Remembered:
    """The newest answers in one document."""

    def __init__(self) -> None:
        self._answers: OrderedDict[Place, Answer] = OrderedDict()

    def keep(self, place: Place, answer: Answer) -> None:
        self._answers.pop(place, None)
        self._answers[place] = answer
        if len(self._answers) > MAX_ANSWERS:
            self._answers.popitem(last=False)

    def at(self, place: Place, made_with: object) -> tuple[Answer, str] | None:
        """The newest answer that fits and what is left of its text; None when the model must work."""
        for answer, left in self._candidates(place):
            if answer.made_with == made_with:
                return answer, left
        return None

    def _candidates(self, place: Place) -> Iterator[tuple[Answer, str]]:
        for _, (was, answer) in zip(range(NEWEST), reversed(self._answers.items()), strict=False):
            typed = place.offset - was.offset
            if 0 < typed < len(answer.text) and _typed_through(was, answer.text[:typed], place):
                yield answer, answer.text[typed:]
        if place in self._answers:
            answer = self._answers[place]
            self._answers.move_to_end(place)
            yield answer, answer.text


def _typed_through(was: Place, typed: str, now: Place) -> bool:
    """Whether `now` is `was` after exactly `typed` was inserted."""
    if now.rest != was.rest or now.head != was.head or not now.tail.endswith(typed):
        return False
    before = now.tail[: len(now.tail) - len(typed)]
    return was.tail.endswith(before) if len(before) < len(was.tail) else before.endswith(was.tail)
