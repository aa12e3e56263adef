"""Which part of a draft would the large model have written itself? From the scores of one prefill. Pure.

Greedy, so the answer is that of the large model alone. "Greedy" is not the same across a server's cache
states: near-ties fork. `margin` says how far below the best a token may lie and still count as agreed; 0 is
strict. Source: Leviathan et al. 2023 at temperature 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Branch", "Row", "Scores", "Settled", "accept", "best_branch", "settle"]


@dataclass(frozen=True, slots=True)
class Row:
    """What the large model says at one token of the draft."""

    text: str  # the draft's token
    logprob: float
    best: str  # the model's own choice there; "" where it would have ended
    best_logprob: float
    second: str = ""  # the best token that is not the draft's, where the endpoint tells
    second_logprob: float = float("-inf")
    ends: bool = False  # the model's own choice is to end
    chosen: bool | None = None  # the draft's token is the model's own choice; None: their texts tell


@dataclass(frozen=True, slots=True)
class Scores:
    """A draft's rows, and what the model wrote behind the whole of it."""

    rows: tuple[Row, ...]
    continuation: str = ""
    finished: bool = False  # the continuation ended by itself, not for lack of tokens


@dataclass(frozen=True, slots=True)
class Settled:
    """What may be shown now, and how to go on."""

    text: str
    accepted: int  # rows
    finished: bool  # nothing more is to be asked


@dataclass(frozen=True, slots=True)
class Branch:
    """Another way to begin: draft[:rows] and then this token."""

    text: str
    rows: int


def accept(rows: Sequence[Row], margin: float = 0.0) -> int:
    """How many of the draft's tokens the model would have chosen itself.

    Rows with tokens a b c where the model prefers a b x -> 2.
    """
    for number, row in enumerate(rows):
        near = margin > 0 and row.best_logprob - row.logprob <= margin
        same = row.best == row.text if row.chosen is None else row.chosen
        if row.ends or not (same or near):
            return number
    return len(rows)


def settle(scores: Scores, margin: float = 0.0) -> Settled:
    """The text that the large model stands behind after one call."""
    count = accept(scores.rows, margin)
    agreed = "".join(row.text for row in scores.rows[:count])
    if count == len(scores.rows):
        return Settled(agreed + scores.continuation, count, scores.finished)
    row = scores.rows[count]
    if row.ends:
        return Settled(agreed, count, True)
    return Settled(agreed + row.best, count, False)


def best_branch(rows: Sequence[Row]) -> Branch | None:
    """Where the model was least sure of a draft that it agrees with; None where no alternative is known."""
    known = [(row.second_logprob - row.logprob, i) for i, row in enumerate(rows) if row.second.strip()]
    if not known:
        return None
    _, place = max(known)
    return Branch("".join(row.text for row in rows[:place]) + rows[place].second, place)
