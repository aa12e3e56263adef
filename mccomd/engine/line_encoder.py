"""Tokenises only what is new: lines seen before are remembered.

Tokenizers cut text by a regular expression first, and never join what it cuts apart. GPT-2's cuts before a
line break that follows something visible, Qwen's behind every line break: a text taken apart there gives the
same ids piece by piece. Which of the two holds is tried once. What is remembered belongs to one tokenizer; it
holds text for as long as the model is loaded, and no longer.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from itertools import chain
from typing import Protocol

__all__ = ["LineEncoder", "TextEncoder"]

BEFORE_BREAK = re.compile(r"(?<=\S)(?=\n)")
BEHIND_BREAK = re.compile(r"(?<=\n)(?=[^\r\n])")
PROBE = "def f(a):\n    x = {1: 'b',\n\n}  \n\treturn x;\n\n\n    # c\r\n\ty = [\n]"
MAX_PIECES = 20_000  # about as many lines of code, 4 MB
MAX_PIECE_CHARS = 2_000  # longer ones would fill the memory; they are rare


class TextEncoder(Protocol):
    """A tokenizer."""

    def encode(self, text: str) -> list[int]: ...
    def token_id(self, name: str) -> int: ...


class LineEncoder:
    """A tokenizer that remembers lines. For one thread."""

    def __init__(self, inner: TextEncoder) -> None:
        self._inner = inner
        whole = inner.encode(PROBE)
        exact = (cut for cut in (BEFORE_BREAK, BEHIND_BREAK) if _encode_by(inner, cut) == whole)
        self._cut = next(exact, None)
        self._known: OrderedDict[str, tuple[int, ...]] = OrderedDict()

    def encode(self, text: str) -> list[int]:
        """The same ids as the tokenizer's own."""
        return list(chain.from_iterable(map(self.encode_piece, self.pieces_of(text))))

    def pieces_of(self, text: str) -> list[str]:
        """A text cut where its tokens never join: "a\\n\\nb" -> ["a", "\\n\\nb"]; one piece if nowhere."""
        return self._cut.split(text) if self._cut else [text]

    def token_id(self, name: str) -> int:
        return self._inner.token_id(name)

    def encode_piece(self, piece: str) -> tuple[int, ...]:
        """The ids of one piece of `pieces_of`."""
        known = self._known.get(piece)
        if known is not None:
            self._known.move_to_end(piece)
            return known
        ids = tuple(self._inner.encode(piece))
        if len(piece) <= MAX_PIECE_CHARS:
            self._known[piece] = ids
            if len(self._known) > MAX_PIECES:
                self._known.popitem(last=False)
        return ids


def _encode_by(inner: TextEncoder, cut: re.Pattern[str]) -> list[int]:
    return [i for piece in cut.split(PROBE) for i in inner.encode(piece)]
