"""What in the repository is like the text around the cursor? BM25 over its git index.

The query is the lines just above and below the cursor, the nearer the heavier; the index itself picks the
words that tell most. What else was tried: index/RANKING.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from mccomd.hooks import PluginContext, hookimpl
from mccomd.types import Query, Snippet

__all__ = ["Bm25Retriever", "query_lines", "query_text"]

LEFT_LINES = 10
RIGHT_LINES = 4
FADING = 0.25  # a line's weight falls to 1 / (1 + 0.25 n), n lines away
BELOW = 0.6  # lines below the cursor count less
REACH = 8_000  # characters before and behind the cursor in which they are looked for
TEXT_LINES = 20, 5  # above and below, of a query without weights


def query_lines(prefix: str, suffix: str) -> list[tuple[str, float]]:
    """The lines around the cursor, the cursor's own first, each with how much its words count."""
    left = prefix[-REACH:].splitlines()[-LEFT_LINES:]
    right = suffix[:REACH].splitlines()[:RIGHT_LINES]
    above = [(line, 1 / (1 + FADING * away)) for away, line in enumerate(reversed(left))]
    return above + [(line, BELOW / (1 + FADING * away)) for away, line in enumerate(right)]


def query_text(prefix: str, suffix: str) -> str:
    """The same as one text, without weights: the cursor's line first, then upwards, then down."""
    left = prefix.splitlines()[-TEXT_LINES[0] :]
    right = suffix.splitlines()[: TEXT_LINES[1]]
    return "\n".join([*reversed(left), *right])


class Bm25Retriever:
    """Searches the index of the document's repository."""

    name = "bm25"

    def __init__(self, context: PluginContext) -> None:
        self._search = context.search

    def retrieve(self, query: Query) -> Sequence[Snippet]:
        if query.repository is None:
            return ()
        lines = query_lines(query.prefix, query.suffix)
        # The edited file's own text is in the prompt already, and newer there than in the index.
        return self._search(query.repository, lines, query.limit, without=query.relative_path)


@hookimpl
def mccomd_retrievers(context: PluginContext) -> list[Bm25Retriever]:
    return [Bm25Retriever(context)]
