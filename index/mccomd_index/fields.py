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
from .tokens import index_text, name_words


class Field(NamedTuple):
    """A field of words; a match in it counts `weight` times its BM25 score; 0: asked for by name only."""

    name: str
    weight: float


WORDS = Field("words", 1.0)  # whole identifiers and their subwords
NAMES = Field("names", 0.0)  # what the chunk defines, whole, in lower case
PARTS = Field("parts", 1.0)  # the same as words: whole and subwords
FIELDS = (WORDS, NAMES, PARTS)


class ChunkFields(NamedTuple):
    """One chunk as it is indexed."""

    start_line: int  # 1-based
    end_line: int  # inclusive
    words: tuple[str, ...]  # of each field of FIELDS, in that order; words with spaces between


class Taken(NamedTuple):
    """What is kept of a text."""

    chunks: list[ChunkFields]
    outline: list[Definition]  # by start line


def taken(lines: list[str], language: str) -> Taken:
    """The chunks of a file's lines with the words of each field, and what it defines."""
    outline = definitions("\n".join(lines), language)
    defined = sorted(outline, key=attrgetter("line"))
    places = [one.line for one in defined]
    found = []
    for start, end in chunk(lines, language, defined):
        here = defined[bisect_left(places, start) : bisect_right(places, end)]
        words = index_text("\n".join(lines[start - 1 : end]))
        names = " ".join([one.name for one in here])
        parts = index_text(names) if here else ""
        found.append(ChunkFields(start, end, (words, name_words(names), parts)))
    return Taken(found, outline)
