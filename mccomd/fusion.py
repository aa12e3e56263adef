"""Two rounds of retrieval -> one ranking.

Round 1 asked with the text around the cursor. Round 2 asks with an answer that the user would not have: wrong
as an answer, it still names what the code is about (iterative retrieval, arXiv 2603.05974). How much round 2
counts follows from how sure the model was of that answer. Pure; knows no retriever.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from mccomd.types import Snippet

__all__ = ["fuse", "normalised", "weight_of"]

MOST = 0.5
"""Round 2 never counts for more than round 1: its query was rejected."""
TOKENS = 4
"""About so many an answer has: a confidence is the chance that all of them are right."""


def weight_of(confidence: float) -> float:
    """The weight of round 2, 0..0.5; that of round 1 is the rest.  0.41 -> 0.4: a token of it has 0.8.

    An answer the model was sure of is near to what belongs here even where it is wrong in a name; one that
    was a guess is a query of random words.
    """
    return MOST * float(min(1.0, max(0.0, confidence)) ** (1 / TOKENS))


def fuse(first: Sequence[Snippet], second: Sequence[Snippet], confidence: float, limit: int) -> list[Snippet]:
    """The best `limit` snippets of both rounds, best first; `score` is the fused one, 0..1.

    Scores are comparable only within one retriever and one round, so each is divided by the best of its own
    first. What both rounds found counts twice. Of two that overlap, the better one stays. Ties keep the order
    of round 1.
    """
    weight = weight_of(confidence)
    scores: dict[tuple[str, str, int, int], float] = {}
    by_key: dict[tuple[str, str, int, int], Snippet] = {}
    for found, share in ((first, 1.0 - weight), (second, weight)):
        for snippet in normalised(found):
            key = (snippet.source, snippet.path, snippet.start_line, snippet.end_line)
            scores[key] = scores.get(key, 0.0) + share * snippet.score
            by_key.setdefault(key, snippet)
    ranked = sorted(by_key, key=lambda key: -scores[key])
    return _apart((replace(by_key[key], score=scores[key]) for key in ranked), limit)


def normalised(found: Sequence[Snippet]) -> list[Snippet]:
    """The same with scores of 0..1: divided by the best of their retriever; 1.0 where none is above 0."""
    best: dict[str, float] = {}
    for snippet in found:
        best[snippet.source] = max(best.get(snippet.source, 0.0), snippet.score)
    return [
        replace(s, score=max(0.0, s.score) / best[s.source] if best[s.source] > 0 else 1.0) for s in found
    ]


def _apart(ranked: Iterable[Snippet], limit: int) -> list[Snippet]:
    """The first `limit` that share no line with a better one."""
    kept: list[Snippet] = []
    for snippet in ranked:
        if len(kept) == limit:
            break
        if not any(_overlap(snippet, other) for other in kept):
            kept.append(snippet)
    return kept


def _overlap(a: Snippet, b: Snippet) -> bool:
    same = a.path == b.path and a.commit == b.commit
    return same and a.start_line <= b.end_line and b.start_line <= a.end_line
