"""The unsaved texts of editors, searched beside the store: BM25 in memory, with the store's own statistics.

A text is cut and split when it is first searched after it changed, and kept until it
changes again. Knows no editor, no git and no disk.
"""

from __future__ import annotations

import math
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .chunk import split_lines
from .definitions import Definition
from .fields import FIELDS, PARTS, Field
from .git import blob_id
from .languages import language_of
from .packed import Outline
from .parts import apart, taken_of
from .types import Defining

MAX_BUFFERS = 32  # the ones given first
MAX_CHARS = 400_000  # of one text; a longer one stays what it is on disk
K1, B = 1.2, 0.75  # as in Tantivy
AVERAGE_WORDS = 120  # of a chunk; Tantivy does not tell its own
AVERAGE_PARTS = 6  # the same of the words in defined names
_AT = {one: number for number, one in enumerate(FIELDS)}

Frequency = Callable[[Field, str], int]  # field, word -> chunks of the store that have it


class Scored(NamedTuple):
    """A chunk found in a buffer."""

    score: float
    path: str
    start_line: int
    end_line: int
    text: str


@dataclass
class _Buffer:
    """One text, and its words."""

    path: str
    text: str
    blobs: frozenset[str]  # ids its file may have in git if it is saved: editors differ in how they end lines
    spans: list[tuple[int, int]] = field(default_factory=list)
    counts: list[list[Counter[str]]] = field(default_factory=list)  # of each chunk, of each field
    outline: Outline = field(default_factory=Outline)
    names: dict[str, list[Definition]] = field(default_factory=dict)

    @classmethod
    def of(cls, path: str, text: str) -> _Buffer:
        data = text.encode("utf-8", "surrogatepass")
        made = cls(path, text, frozenset(map(blob_id, _as_saved(data))))
        chunks, outline = taken_of(data, language_of(path))
        made.outline = Outline.of(outline)
        for one in apart(outline):
            made.names.setdefault(one.name, []).append(one)
        for start, end, words in chunks:
            made.spans.append((start, end))
            made.counts.append([Counter(one.split()) for one in words])
        return made


class Buffers:
    """The unsaved texts of one work tree. For use from several threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Buffer] = OrderedDict()
        self._lock = threading.Lock()

    def update(self, texts: Iterable[tuple[str, str]]) -> None:
        """These are the texts now, by path within the work tree, the latest changed first."""
        now: OrderedDict[str, _Buffer] = OrderedDict()
        with self._lock:
            for path, text in texts:
                if len(now) >= MAX_BUFFERS:
                    break
                if len(text) > MAX_CHARS or path in now:
                    continue
                kept = self._kept.get(path)
                now[path] = kept if kept and kept.text == text else _Buffer.of(path, text)
            self._kept = now

    def differing(self, blob_at: Callable[[str], str]) -> Unsaved:
        """Those that differ from what the index has.  blob_at: the blob it has at a path, "" none."""
        with self._lock:
            kept = list(self._kept.values())
        return Unsaved([buffer for buffer in kept if blob_at(buffer.path) not in buffer.blobs])


class Unsaved:
    """Buffers that win over what the index has at their paths."""

    def __init__(self, buffers: Sequence[_Buffer] = ()) -> None:
        self._buffers = buffers
        self._by_path = {buffer.path: buffer for buffer in buffers}
        self.paths = frozenset(self._by_path)

    def text(self, path: str) -> str | None:
        buffer = self._by_path.get(path)
        return None if buffer is None else buffer.text

    def outline(self, path: str) -> Outline:
        buffer = self._by_path.get(path)
        return Outline() if buffer is None else buffer.outline

    def defining(self, name: str) -> Iterator[Defining]:
        """Where a name is defined."""
        for buffer in self._buffers:
            for one in buffer.names.get(name, ()):
                yield Defining(buffer.path, one.start_line, one.end_line, 1.0, one.line, one.kind)

    def about(self, words: Mapping[str, float], frequency: Frequency, chunks: int) -> Iterator[Defining]:
        """The chunks that define names with any of these words in them, scored as the store does."""
        weights = {word: weight * _idf(frequency(PARTS, word), chunks) for word, weight in words.items()}
        for buffer in self._buffers:
            for (start, end), counts in zip(buffer.spans, buffer.counts, strict=True):
                score = _score([counts[_AT[PARTS]]], [weights], AVERAGE_PARTS)
                if score > 0:
                    yield Defining(buffer.path, start, end, score)

    def search(self, words: Mapping[str, float], frequency: Frequency, chunks: int) -> list[Scored]:
        """Chunks that have any of the words, best first. chunks: how many the store has.

        words: each with how much it counts.
        """
        found = []
        weights = self._weights(words, frequency, chunks)
        for buffer in self._buffers:
            lines: list[str] = []
            for (start, end), counts in zip(buffer.spans, buffer.counts, strict=True):
                score = _score(counts, weights)
                if score > 0:
                    lines = lines or split_lines(buffer.text)
                    text = "\n".join(lines[start - 1 : end])
                    found.append(Scored(score, buffer.path, start, end, text))
        return sorted(found, key=lambda one: (-one.score, one.path, one.start_line))

    def _weights(
        self, words: Mapping[str, float], frequency: Frequency, chunks: int
    ) -> list[dict[str, float]]:
        """Of each field, the words that the buffers have, with BM25's weight of a match."""
        held = {
            word for buffer in self._buffers for counts in buffer.counts for one in counts for word in one
        }
        known = [word for word in words if word in held]
        weights = []
        for one in FIELDS:
            of_words = {}
            for word in known:
                of_words[word] = words[word] * one.weight * _idf(frequency(one, word), chunks)
            weights.append(of_words)
        return weights


def _as_saved(data: bytes) -> Iterator[bytes]:
    for text in (data, data + b"\n"):
        yield text
        if b"\r" not in text:
            yield text.replace(b"\n", b"\r\n")


def _idf(n: int, chunks: int) -> float:
    """What a match of a word counts that n chunks have, with BM25's constant."""
    n = max(n, 1)
    return math.log(1 + (max(chunks, n) - n + 0.5) / (n + 0.5)) * (K1 + 1)


def _score(
    counts: list[Counter[str]], weights: list[dict[str, float]], average: float = AVERAGE_WORDS
) -> float:
    score = 0.0
    for count, of_words in zip(counts, weights, strict=True):
        norm = K1 * (1 - B + B * count.total() / average)
        for word in of_words.keys() & count.keys():
            times = count[word]
            score += of_words[word] * times / (times + norm)
    return score
