"""The searchable fields of a chunk, in one place: add one here, fill it in `taken`, raise FORMAT.

Pure. A chunk's fields follow from the file's text and its language and from nothing else: chunks are
shared by every path, branch and worktree that holds the same blob. What depends on a path (how near it is,
the words in its name) is known when a query is answered, and belongs to the ranking of hits.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from operator import attrgetter
from typing import NamedTuple

from .chunk import chunk
from .definitions import Definition, definitions
from .tokens import words_of_names, words_of_spans


class Field(NamedTuple):
    """A field of words; a match in it counts `weight` times its BM25 score."""

    name: str
    weight: float


WORDS = Field("words", 1.0)  # whole identifiers and their subwords
PARTS = Field("parts", 1.0)  # the same of the names that the chunk defines
FIELDS = (WORDS, PARTS)


class ChunkFields(NamedTuple):
    """One chunk as it is indexed."""

    start_line: int  # 1-based
    end_line: int  # inclusive
    words: tuple[str, ...]  # of each field of FIELDS, in that order; words with spaces between


class Taken(NamedTuple):
    """What is kept of a text."""

    chunks: list[ChunkFields]
    outline: list[Definition]  # by start line


def taken(text: str, lines: list[str], language: str, longest: int) -> Taken:
    """The chunks of a file with the words of each field, and what it defines.

    text: its lines, joined by \\n.  longest: characters of a line.
    """
    outline = definitions(text, language)
    defined = sorted(outline, key=attrgetter("line"))
    places = [one.line for one in defined]
    chunks = chunk(lines, language, defined, longest)
    words = words_of_spans(text, lines, [(start - 1, end) for start, end in chunks])
    found = []
    for (start, end), spoken in zip(chunks, words, strict=True):
        here = defined[bisect_left(places, start) : bisect_right(places, end)]
        parts = words_of_names([one.name for one in here]) if here else ""
        found.append(ChunkFields(start, end, (spoken, parts)))
    return Taken(found, outline)
