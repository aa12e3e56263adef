"""Which ids may come next when the text to come is partly known already?

The cursor often stands inside a word. The tokens of half a word hardly ever stood there in training, so the
prompt ends before the word and the continuation is made to begin with what was typed of it. Knows the bytes
of every id and nothing of the model.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["Spelling"]

_CACHED = 64  # texts; an entry holds up to some 20,000 ids


class Spelling:
    """An index over the bytes of a vocabulary."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        """pieces: the bytes of each id; b"" for those that stand for no text."""
        self._pieces = pieces
        order = sorted((i for i, piece in enumerate(pieces) if piece), key=pieces.__getitem__)
        self._sorted = [pieces[i] for i in order]
        self._ids = np.array(order, np.int64)
        self._allowed = lru_cache(_CACHED)(self._find)
        self._any = lru_cache(_CACHED)(self._find_any)

    def bytes_of(self, token_id: int) -> bytes:
        return self._pieces[token_id]

    def can_spell(self, text: bytes) -> bool:
        """Whether each byte is a token, so that no choice of tokens ends in a corner."""
        return all(bool(self._exactly(bytes([byte]))) for byte in set(text))

    def allowed(self, text: bytes) -> NDArray[np.int64]:
        """The ids whose bytes begin `text` or begin with it; text must not be empty.

        "ret" -> those of "r", "re", "ret", "return", "retry", ...
        """
        return self._allowed(text)

    def allowed_by_any(self, texts: tuple[bytes, ...]) -> NDArray[np.int64]:
        """The ids that one of the texts allows, each once."""
        return self._allowed(texts[0]) if len(texts) == 1 else self._any(texts)

    def agrees(self, ids: Sequence[int], text: bytes) -> bool:
        """Whether the text of ids begins `text` or begins with it."""
        for i in ids:
            piece = self._pieces[i]
            if not text or not piece:
                break
            if not (piece.startswith(text) or text.startswith(piece)):
                return False
            text = text[len(piece) :]
        return True

    def _find(self, text: bytes) -> NDArray[np.int64]:
        shorter = [i for end in range(1, len(text)) for i in self._exactly(text[:end])]
        low, high = self._range(text)
        return np.concatenate([np.array(shorter, np.int64), self._ids[low:high]])

    def _find_any(self, texts: tuple[bytes, ...]) -> NDArray[np.int64]:
        return np.unique(np.concatenate([self._find(text) for text in texts]))

    def _range(self, text: bytes) -> tuple[int, int]:
        """Where the pieces that begin with text stand."""
        above = text.rstrip(b"\xff")  # the next text in order that does not begin with this one
        after = above[:-1] + bytes([above[-1] + 1]) if above else None
        low = bisect_left(self._sorted, text)
        return low, len(self._sorted) if after is None else bisect_left(self._sorted, after)

    def _exactly(self, text: bytes) -> list[int]:
        found = []
        at = bisect_left(self._sorted, text)
        while at < len(self._sorted) and self._sorted[at] == text:
            found.append(int(self._ids[at]))
            at += 1
        return found
