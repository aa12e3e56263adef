"""What will probably come next, guessed without the model, and how much guessing pays.

Code repeats itself: where the last ids stood earlier in the same sequence, what followed then is guessed
again and checked in one pass. A pass over several ids costs more than one over one id, so how many are
guessed follows from what passes took lately and from how many guesses were right lately. Knows
ids and times; nothing of the model and of text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mccomd.engine.kv_cache import common_prefix

__all__ = ["Drafter", "Guess", "Odds", "Pace"]

GRAM = 3  # ids that must agree before anything is guessed
LONGEST_MATCH = 32  # compared no further back
CANDIDATES = 16  # earlier places looked at, the most recent ones
MOST_TIMED = 16  # ids of a pass that is timed
MEMORY = 0.1  # weight of the newest observation
WORTH = 0.15  # of a plain pass, that a guess must be expected to save: estimates are noisy


@dataclass(frozen=True, slots=True)
class Guess:
    ids: tuple[int, ...]
    matched: int  # how many ids before it agreed


class Drafter:
    """An index of the places where each three ids stood, that follows a sequence as it grows and changes."""

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._after: dict[tuple[int, ...], list[int]] = {}  # a gram -> where its followers stand, ascending

    def follow(self, ids: Sequence[int]) -> None:
        """Make this the sequence; costs what differs from the last one."""
        self._cut(common_prefix(self._ids, ids))
        for i in ids[len(self._ids) :]:
            self.append(i)

    def append(self, token_id: int) -> None:
        self._ids.append(token_id)
        if len(self._ids) >= GRAM:
            self._after.setdefault(self._gram(len(self._ids)), []).append(len(self._ids))

    def guess(self, most: int, fits: Callable[[Sequence[int]], bool]) -> Guess | None:
        """What followed the longest earlier match that `fits`, the most recent of equals; 1..most ids."""
        end = len(self._ids)
        best, matched = 0, 0
        for at in reversed(self._after.get(self._gram(end), [])[-CANDIDATES - 1 :]):
            if at < end and fits(self._ids[at : at + most]):
                length = self._match(at, end)
                if length > matched:
                    best, matched = at, length
        return Guess(tuple(self._ids[best : best + most]), matched) if matched else None

    def _match(self, at: int, end: int) -> int:
        length = GRAM
        while length < min(at, LONGEST_MATCH) and self._ids[at - length - 1] == self._ids[end - length - 1]:
            length += 1
        return length

    def _gram(self, end: int) -> tuple[int, ...]:
        return tuple(self._ids[end - GRAM : end]) if end >= GRAM else ()

    def _cut(self, count: int) -> None:
        for end in range(len(self._ids), max(count, GRAM - 1), -1):
            places = self._after[self._gram(end)]
            places.pop()
            if not places:
                del self._after[self._gram(end)]
        del self._ids[count:]


class Pace:
    """What a pass over n ids costs, in passes over one; starts from 8 bits on 2 AVX2 cores (2026-11-23)."""

    def __init__(self) -> None:
        self._unit_s = 0.0
        self._cost = [1.0 + 0.26 * (n - 1) for n in range(1, MOST_TIMED + 1)]

    def saw(self, count: int, seconds: float) -> None:
        if count == 1:
            self._unit_s += (seconds - self._unit_s) * (MEMORY if self._unit_s else 1.0)
        elif count <= MOST_TIMED and self._unit_s:
            ratio = min(max(seconds / self._unit_s, 1.0), float(count) + 1)
            self._cost[count - 1] += (ratio - self._cost[count - 1]) * MEMORY

    def cost(self, count: int) -> float:
        return self._cost[count - 1] if count <= MOST_TIMED else self._cost[-1] * count / MOST_TIMED


class Odds:
    """How probable it is that the next guessed id is right, by the length of the match."""

    def __init__(self) -> None:
        self._right = [0.5, 0.65, 0.8]

    def saw(self, matched: int, right: int, wrong: int) -> None:
        """So many ids of a guess were right, then one was wrong, or (wrong 0) none was any more."""
        level = _level(matched)
        for outcome in [1.0] * right + [0.0] * wrong:
            self._right[level] += (outcome - self._right[level]) * MEMORY

    def how_many(self, guess: Guess, running: int, pace: Pace) -> int:
        """How many ids of the guess to check in a pass that runs `running` ids anyway; 0: not worth it."""
        right = self._right[_level(guess.matched)]
        best, most, saved, chance = 0, WORTH, 0.0, 1.0
        for count in range(1, len(guess.ids) + 1):
            chance *= right
            saved += chance
            gain = saved - (pace.cost(running + count) - pace.cost(running))
            if gain > most:
                best, most = count, gain
        return best


def _level(matched: int) -> int:
    return 0 if matched < 5 else 1 if matched < 12 else 2
