"""What in the repository is like the text around the cursor? BM25 over its git index.

The query is the text just left and right of the cursor, the nearest lines first: the index itself caps
the number of terms.
"""

from __future__ import annotations

from collections.abc import Sequence

from mccomd.hooks import PluginContext, hookimpl
from mccomd.types import Query, Snippet

__all__ = ["Bm25Retriever", "query_text"]

LEFT_LINES = 20
RIGHT_LINES = 5


def query_text(prefix: str, suffix: str) -> str:
    """The lines around the cursor, the cursor's own first, then upwards, then down."""
    left = prefix.splitlines()[-LEFT_LINES:]
    right = suffix.splitlines()[:RIGHT_LINES]
    return "\n".join([*reversed(left), *right])


class Bm25Retriever:
    """Searches the index of the document's repository."""

    name = "bm25"

    def __init__(self, context: PluginContext) -> None:
        self._search = context.search

    def retrieve(self, query: Query) -> Sequence[Snippet]:
        if query.repository is None:
            return ()
        text = query_text(query.prefix, query.suffix)
        # The edited file's own text is in the prompt already, and newer there than in the index.
        return self._search(query.repository, text, query.limit, without=query.relative_path)


@hookimpl
def mccomd_retrievers(context: PluginContext) -> list[Bm25Retriever]:
    return [Bm25Retriever(context)]
