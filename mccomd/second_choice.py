"""Where could the answer have gone another way?

When nothing of the text would be shown (it is the line below once more, or what the user has rejected here),
or its choices were close, another text begins as it did and differs in one choice. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mccomd.engine import Generation

__all__ = ["Fork", "after", "forks"]

MOST = 2
"""Forks worth a generation each."""
LEAST_CHANCE = 0.05
"""A less probable one is not worth showing."""


@dataclass(frozen=True, slots=True)
class Fork:
    """One choice made otherwise."""

    text: str  # of the answer up to and with the other choice
    chance: float  # 0..1, of all these choices
    probabilities: tuple[float, ...]  # of each of them

    def left(self, begins: Sequence[str]) -> tuple[str, ...]:
        """What of the texts with one of which the answer must begin is still to come behind this one's."""
        if any(self.text.startswith(begin) for begin in begins):
            return ()
        return tuple(begin[len(self.text) :] for begin in begins if begin.startswith(self.text))

    def joined(self, first: Generation, second: Generation) -> Generation:
        """What both runs of the model gave, as one: the second's text is bound to begin with the fork's."""
        probabilities = (*self.probabilities, *second.probabilities)
        return replace(after(first, second), probabilities=probabilities, seconds=(), healed=first.healed)


def after(first: Generation, second: Generation) -> Generation:
    """What the second run of the model gave, and what both took."""
    return replace(
        second,
        prefilled=first.prefilled,
        reused=first.reused,
        prefill_ms=first.prefill_ms,
        decode_ms=first.decode_ms + second.prefill_ms + second.decode_ms,
        drafted=first.drafted + second.drafted,
        accepted=first.accepted + second.accepted,
        passes=first.passes + second.passes,
    )


def forks(generation: Generation, bytes_of: Callable[[int], bytes], most: int = MOST) -> list[Fork]:
    """The most probable ways out of a generation, the best first.

    bytes_of: the text of an id, b"" of one that ends an answer. A choice that begins as the first one does is
    no way out: bound to it, the model would take the same way again.
    """
    found: list[Fork] = []
    chance, taken = 1.0, generation.probabilities
    for at, ((second, probability), first) in enumerate(
        zip(generation.seconds, generation.ids[generation.healed :], strict=True)
    ):
        text = _text(generation.ids[: generation.healed + at], second, bytes_of)
        likely = chance * probability >= LEAST_CHANCE
        if likely and text and not bytes_of(first).startswith(bytes_of(second)):
            found.append(Fork(text, chance * probability, (*taken[:at], probability)))
        chance *= taken[at]
    return sorted(found, key=lambda fork: -fork.chance)[:most]


def _text(ids: Sequence[int], second: int, bytes_of: Callable[[int], bytes]) -> str:
    """The text of ids and second, "" where second ends the answer or a character is cut."""
    last = bytes_of(second)
    try:
        return (b"".join(map(bytes_of, ids)) + last).decode() if last else ""
    except UnicodeDecodeError:
        return ""
