"""Which texts are nearly the same? MinHash over runs of five words, in bands. Pure.

Source: Broder 1997; the banding of Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, chapter 3.
"""

from __future__ import annotations

import re
import zlib

import numpy as np
from numpy.typing import NDArray

__all__ = ["NearDuplicates"]

RUN = 5  # words
BANDS, ROWS = 16, 8  # of 128 hashes; two texts whose runs agree in 71 % are compared with even odds
SIMILAR = 0.8  # share of equal hashes from which on a text is a near-duplicate
_WORD = re.compile(r"\w+|[^\w\s]")
_PRIME = np.uint64((1 << 61) - 1)
_SEED = 20261126


class NearDuplicates:
    """The texts seen so far."""

    def __init__(self) -> None:
        rng = np.random.default_rng(_SEED)
        self._factors = rng.integers(1, 1 << 29, BANDS * ROWS, dtype=np.uint64)[:, None]
        self._addends = rng.integers(0, 1 << 60, BANDS * ROWS, dtype=np.uint64)[:, None]
        self._signatures: list[NDArray[np.uint64]] = []
        self._bands: dict[tuple[int, bytes], list[int]] = {}

    def add(self, text: str) -> bool:
        """False, and the text is forgotten, when one like it was added before."""
        signature = self._signature(text)
        keys = [(band, signature[band * ROWS : (band + 1) * ROWS].tobytes()) for band in range(BANDS)]
        candidates = {index for key in keys for index in self._bands.get(key, ())}
        if any((self._signatures[index] == signature).mean() >= SIMILAR for index in candidates):
            return False
        for key in keys:
            self._bands.setdefault(key, []).append(len(self._signatures))
        self._signatures.append(signature)
        return True

    def _signature(self, text: str) -> NDArray[np.uint64]:
        """The least of each hash over all runs."""
        words = np.array([zlib.crc32(word.encode()) for word in _WORD.findall(text)] or [0], np.uint64)
        runs = words[: max(1, len(words) - RUN + 1)].copy()
        for offset in range(1, min(RUN, len(words))):
            runs = runs * np.uint64(1_000_003) + words[offset : offset + len(runs)]
        runs = np.unique(runs >> np.uint64(32))  # 32 bits, so that a product with 29 bits stays whole
        found: NDArray[np.uint64] = np.full(BANDS * ROWS, _PRIME)
        for start in range(0, len(runs), 4096):
            part = (runs[start : start + 4096] * self._factors + self._addends) % _PRIME
            found = np.minimum(found, part.min(axis=1))
        return found
