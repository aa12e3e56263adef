"""Which id comes next: the most probable one, among those that the text to come allows.

Knows the model's rows of logits, what is mixed with them, and the bytes of ids; nothing of passes, limits
and keys kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mccomd.engine.mixture import Mixing
from mccomd.engine.session import FloatArray
from mccomd.engine.spelling import Spelling

__all__ = ["Output"]


class Output:
    """The ids chosen so far, and what the next ones are bound to."""

    def __init__(
        self, spelling: Spelling, heal: bytes, begins: Sequence[bytes] = (), mixing: Mixing | None = None
    ) -> None:
        """heal: the text begins with it; begins: and goes on with one of these, if there are any."""
        self.spelling = spelling
        self.ids: list[int] = []
        self.probabilities: list[float] = []  # of ids[healed:]
        self.seconds: list[tuple[int, float]] = []  # for each probability the second choice and its own
        self.chance = 1.0  # that all of them are right: the product of the probabilities
        self.healed = 0  # how many of ids lie wholly within heal
        self._healing = len(heal)  # bytes of heal that are not written yet
        self._mixing = mixing
        self._bound = tuple(heal + begin for begin in begins) or ((heal,) if heal else ())

    def choose(self, logits: FloatArray) -> int:
        """Append the most probable id of float32 (vocab) that may come here, and return it."""
        if not self._bound:
            return self._append(*self.best_two(logits))
        allowed = self.spelling.allowed_by_any(self._bound)
        if not len(allowed):  # cannot come for text that the spelling can spell
            self._bound, self._healing = (), 0
            return self.choose(logits)
        masked = np.full_like(logits, -np.inf)
        masked[allowed] = logits[allowed]
        best = self.best_two(masked)
        chosen = best[0]
        piece = self.spelling.bytes_of(chosen)
        self._bound = _left(self._bound, piece)
        self._healing, within = max(0, self._healing - len(piece)), len(piece) <= self._healing
        if within:
            self.healed += 1
            self.ids.append(chosen)
            return chosen
        return self._append(*best)

    def fits(self, ids: Sequence[int]) -> bool:
        """Whether guessed ids may come next."""
        return not self._bound or any(self.spelling.agrees(ids, bound) for bound in self._bound)

    def drop_last(self) -> None:
        self.ids.pop()
        self.probabilities.pop()
        self.seconds.pop()

    def best_two(self, logits: FloatArray) -> tuple[int, float, int, float]:
        """The most probable id and the next one, each with its probability (0 where there is no other)."""
        if self._mixing is None:
            best = int(logits.argmax())
            parts = np.exp(logits - logits[best])
            total, parts[best] = parts.sum(), -1.0
            other = int(parts.argmax())
            return best, float(1 / total), other, max(0.0, float(parts[other] / total))
        ids, odds = self._mixing.odds(logits, self.ids)
        first = int(odds.argmax())
        most, odds[first] = float(odds[first]), 0.0
        second = int(odds.argmax())
        return int(ids[first]), most, int(ids[second]), float(odds[second])

    def _append(self, chosen: int, probability: float, other: int, its: float) -> int:
        self.ids.append(chosen)
        self.probabilities.append(probability)
        self.seconds.append((other, its))
        self.chance *= probability
        return chosen


def _left(bound: Sequence[bytes], piece: bytes) -> tuple[bytes, ...]:
    """What the next ids are bound to after those of piece; () when one of the texts is written."""
    if any(piece.startswith(text) for text in bound):
        return ()
    return tuple(text[len(piece) :] for text in bound if text.startswith(piece))
