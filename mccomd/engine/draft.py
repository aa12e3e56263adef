"""What will probably come next, guessed without the model, and how much guessing pays.

Code repeats itself, and so does the model from one keystroke to the next: where the last ids stood earlier in
the same sequence, or in one of the latest answers, what followed then is guessed again and checked in one
pass. A pass over several ids costs more than one over one id, so how many are guessed follows from what
passes took lately and from how many guesses were right lately. Knows ids and times; nothing of the model and
of text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mccomd.engine.kv_cache import common_prefix

__all__ = ["Drafter", "Guess", "Odds", "Pace"]

GRAM = 2  # ids that must agree before anything is guessed
LONGEST_MATCH = 32  # compared no further back
CANDIDATES = 16  # earlier places looked at, the most recent ones
LEAD = 12  # ids of its prompt that are remembered before an answer
PAST_IDS = 4096  # of answers that are remembered; some 150 answers
MOST_TIMED = 16  # ids of a pass that is timed
LEVELS = (3, 5, 12)  # ids matched, from which on a guess is trusted more
MEMORY = 0.1  # weight of the newest observation
WORTH = 0.15  # of a plain pass, that a guess must be expected to save: estimates are noisy
_END = -1  # between two answers: no id


@dataclass(frozen=True, slots=True)
class Guess:
    ids: tuple[int, ...]
    matched: int  # how many ids before it agreed
    past: bool = False  # from an earlier answer, not from the sequence itself


class Drafter:
    """Guesses from the sequence as it grows and changes, and from the answers before it."""

    def __init__(self) -> None:
        self._now = _Places()
        self._past = _Places()

    def follow(self, ids: Sequence[int]) -> None:
        """Make this the sequence; costs what differs from the last one."""
        self._now.cut(common_prefix(self._now.ids, ids))
        for i in ids[len(self._now.ids) :]:
            self._now.append(i)

    def append(self, token_id: int) -> None:
        self._now.append(token_id)

    def remember(self, prompt: Sequence[int], answer: Sequence[int]) -> None:
        """Keep an answer: the next keystroke's is often the same from some id on."""
        if len(answer) <= 1:
            return
        if len(self._past.ids) > 2 * PAST_IDS:
            kept = self._past.ids[-PAST_IDS:]
            self._past = _Places()
            self._past.extend(kept)
        self._past.extend([_END, *prompt[-LEAD:], *answer])

    def guess(self, most: int, fits: Callable[[Sequence[int]], bool]) -> Guess | None:
        """What followed the longest earlier match that `fits`, of equals the latest answer's; 1..most ids."""
        best: Guess | None = None
        for places, is_past in ((self._past, True), (self._now, False)):
            for at in places.after(self._now.ids):
                ids = places.from_(at, most)
                if ids and fits(ids):
                    matched = _match(places.ids, at, self._now.ids)
                    if best is None or matched > best.matched:
                        best = Guess(ids, matched, is_past)
        return best


class _Places:
    """A list of ids, and where in it each few ids stand."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self._after: dict[tuple[int, ...], list[int]] = {}  # a gram -> where its followers stand, ascending

    def append(self, token_id: int) -> None:
        self.ids.append(token_id)
        if len(self.ids) >= GRAM:
            self._after.setdefault(self._gram(len(self.ids)), []).append(len(self.ids))

    def extend(self, ids: Sequence[int]) -> None:
        for token_id in ids:
            self.append(token_id)

    def cut(self, count: int) -> None:
        """Forget all ids from `count` on."""
        for end in range(len(self.ids), max(count, GRAM - 1), -1):
            places = self._after[self._gram(end)]
            places.pop()
            if not places:
                del self._after[self._gram(end)]
        del self.ids[count:]

    def after(self, ids: Sequence[int]) -> Iterator[int]:
        """Where the last GRAM of these ids stand, something following them; the latest first."""
        places = self._after.get(tuple(ids[-GRAM:]), [])[-CANDIDATES - 1 :]
        return (at for at in reversed(places) if at < len(self.ids))

    def from_(self, at: int, most: int) -> tuple[int, ...]:
        ids = self.ids[at : at + most]
        return tuple(ids[: ids.index(_END)] if _END in ids else ids)

    def _gram(self, end: int) -> tuple[int, ...]:
        return tuple(self.ids[end - GRAM : end])


def _match(earlier: Sequence[int], at: int, ids: Sequence[int]) -> int:
    """How many ids before earlier[at] are the last ones of `ids`, GRAM of which are known to be."""
    length = GRAM
    most = min(at, len(ids), LONGEST_MATCH)
    while length < most and earlier[at - length - 1] == ids[-length - 1]:
        length += 1
    return length


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
    """How probable it is that the next guessed id is right: by where it is from and how long it matched."""

    def __init__(self) -> None:
        self._right = {False: [0.3, 0.5, 0.65, 0.8], True: [0.4, 0.6, 0.75, 0.85]}

    def saw(self, guess: Guess, right: int, wrong: int) -> None:
        """So many ids of a guess were right, then one was wrong, or (wrong 0) none was any more."""
        known, level = self._right[guess.past], _level(guess.matched)
        for outcome in [1.0] * right + [0.0] * wrong:
            known[level] += (outcome - known[level]) * MEMORY

    def how_many(self, guess: Guess, running: int, pace: Pace) -> int:
        """How many ids of the guess to check in a pass that runs `running` ids anyway; 0: not worth it."""
        right = self._right[guess.past][_level(guess.matched)]
        best, most, saved, chance = 0, WORTH, 0.0, 1.0
        for count in range(1, len(guess.ids) + 1):
            chance *= right
            saved += chance
            gain = saved - (pace.cost(running + count) - pace.cost(running))
            if gain > most:
                best, most = count, gain
        return best


def _level(matched: int) -> int:
    return sum(matched >= least for least in LEVELS)
