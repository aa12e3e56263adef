"""Is there a more probable answer than the one made of the most probable ids?

Greedy decoding takes the best id at each place and cannot take it back: a first word that was just ahead may
lead to a rest that nothing speaks for. The second choices are therefore tried, the most probable
first. The product of the probabilities only falls, so an attempt ends as soon as it is below that
of the best answer so far, and most are over before they begin: the product up to the id itself is too small.
"""

from __future__ import annotations

from collections.abc import Callable

from mccomd.engine.output import Other, Output
from mccomd.types import Finish

__all__ = ["Attempt", "most_probable"]

Attempt = Callable[[Other, float], tuple[Output, Finish]]
"""Decodes the answer through an id, as long as its chance stays above the given one."""


def most_probable(
    first: Output, finish: Finish, tries: int, least: float, attempt: Attempt
) -> tuple[Output, Finish, int]:
    """(the most probable whole answer found, why it ended, how many were tried).

    first: the greedy one, which ended by `finish`. least: the chance below which an answer does not count.
    One that was given up (UNSURE) is beaten by any whole answer above that.
    """
    best, floor, tried = first, least if finish is Finish.UNSURE else max(least, first.chance), 0
    for other in sorted(first.others(), key=lambda other: -other.chance)[:tries]:
        if other.chance <= floor:
            break
        tried += 1
        answer, end = attempt(other, floor)
        if end is Finish.CANCELLED:
            return best, end, tried
        if end is Finish.DEADLINE:
            break
        if end is Finish.STOP and answer.chance > floor:
            best, finish, floor = answer, end, answer.chance
    return best, finish, tried
