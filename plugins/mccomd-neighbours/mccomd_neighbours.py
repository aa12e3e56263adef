"""Which region of the other open documents is most like the text before the cursor?

Jaccard similarity of word sets over sliding windows, one region a document. Sees unsaved text, and
nothing that is not open.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from mccomd.hooks import PluginContext, hookimpl
from mccomd.types import Document, Query, Snippet

__all__ = ["NeighboursRetriever", "jaccard"]

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]+")
MAX_DOCUMENTS = 20  # the most recently changed ones


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """Shared words over all words, 0..1; 0 of two empty sets."""
    union = len(a | b)
    return len(a & b) / union if union else 0.0


class NeighboursRetriever:
    """The best window of each open document, above a least similarity."""

    name = "neighbours"

    def __init__(self, window_lines: int = 20, min_similarity: float = 0.15) -> None:
        if window_lines < 2:
            raise ValueError(f"window_lines is {window_lines}, at least 2 is expected")
        self._window_lines = window_lines
        self._min_similarity = min_similarity

    def retrieve(self, query: Query) -> Sequence[Snippet]:
        wanted = _words(query.prefix.splitlines()[-self._window_lines :])
        found = [self._best(document, query, wanted) for document in query.documents[:MAX_DOCUMENTS]]
        kept = [snippet for snippet in found if snippet.score >= self._min_similarity]
        return sorted(kept, key=lambda snippet: -snippet.score)[: query.limit]

    def _best(self, document: Document, query: Query, wanted: frozenset[str]) -> Snippet:
        windows = self._windows(document.text.splitlines())
        score, start, lines = max(
            ((jaccard(wanted, _words(lines)), start, lines) for start, lines in windows), key=lambda w: w[0]
        )
        path = document.path
        if query.repository and path.startswith(query.repository + os.sep):
            path = os.path.relpath(path, query.repository)
        return Snippet(path, start + 1, start + len(lines), "\n".join(lines), score, "", self.name)

    def _windows(self, lines: list[str]) -> Iterator[tuple[int, list[str]]]:
        step = self._window_lines // 2
        for start in range(0, max(1, len(lines) - step), step):
            yield start, lines[start : start + self._window_lines]


def _words(lines: Sequence[str]) -> frozenset[str]:
    return frozenset(word for line in lines for word in _WORD.findall(line))


@hookimpl
def mccomd_retrievers(context: PluginContext) -> list[NeighboursRetriever]:
    options = context.options
    return [
        NeighboursRetriever(int(options.get("window_lines", 20)), float(options.get("min_similarity", 0.15)))
    ]
