"""What the daemon's retriever would have found: BM25 over a repository's chunks, in memory.

Chunks, words and query are the index's and the built-in retriever's own; only the search is done here, so
that hundreds of thousands of samples need no index on disk.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mccomd.types import Snippet
from mccomd_index.chunk import chunk, split_lines
from mccomd_index.tokens import index_text, query_terms
from mccomd_models.training.sources import Source
from mccomd_plugins.bm25 import query_text

__all__ = ["Bm25"]

K1, B = 1.2, 0.75
MAX_TERMS = 60  # of a query, the nearest to the cursor first


class Bm25:
    """The chunks of one repository's files."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._chunks: list[tuple[Source, int, int]] = []  # start and end line, 1-based, inclusive
        postings: dict[str, list[tuple[int, int]]] = defaultdict(list)
        lengths: list[int] = []
        self._files: dict[str, slice] = {}  # a path's chunks
        for source in sources:
            first = len(lengths)
            lines = split_lines(source.text)
            for start, end in chunk(lines, "python"):
                words = index_text("\n".join(lines[start - 1 : end])).split()
                for word, count in Counter(words).items():
                    postings[word].append((len(lengths), count))
                self._chunks.append((source, start, end))
                lengths.append(len(words))
            self._files[source.path] = slice(first, len(lengths))
        sizes = np.array(lengths, np.float32)
        self._saturation = K1 * (1 - B + B * sizes / max(1.0, float(sizes.mean()) if lengths else 1.0))
        self._postings = {word: np.array(found, np.int32) for word, found in postings.items()}

    def search(self, prefix: str, suffix: str, path: str, limit: int) -> list[Snippet]:
        """The best chunks of other files than `path`, best first."""
        scores = self._scores(query_terms(query_text(prefix, suffix))[:MAX_TERMS])
        if path in self._files:
            scores[self._files[path]] = 0
        best = np.argsort(-scores, kind="stable")[:limit]
        return [self._snippet(int(index), float(scores[index])) for index in best if scores[index] > 0]

    def _snippet(self, index: int, score: float) -> Snippet:
        source, start, end = self._chunks[index]
        text = "\n".join(split_lines(source.text)[start - 1 : end])
        return Snippet(source.path, start, end, text, score, "", "bm25")

    def _scores(self, terms: Sequence[str]) -> NDArray[np.float32]:
        count = len(self._chunks)
        scores = np.zeros(count, np.float32)
        for term in terms:
            found = self._postings.get(term)
            if found is None:
                continue
            rarity = math.log(1 + (count - len(found) + 0.5) / (len(found) + 0.5))
            chunks, counts = found[:, 0], found[:, 1]
            scores[chunks] += rarity * counts * (K1 + 1) / (counts + self._saturation[chunks])
        return scores
