"""The searchable fields of a chunk, in one place: add one here, fill it in `chunk_fields`, raise FORMAT.

Pure. A chunk's fields follow from the file's text and its language and from nothing else: chunks are
shared by every path, branch and worktree that holds the same blob. What depends on a path (how near it is,
the words in its name) is known when a query is answered, and belongs to the ranking of hits.
"""

from __future__ import annotations

from typing import NamedTuple

from .chunk import chunk
from .tokens import index_text


class Field(NamedTuple):
    """A field of words; a match in it counts `weight` times its BM25 score."""

    name: str
    weight: float


FIELDS = (Field("words", 1.0),)


class ChunkFields(NamedTuple):
    """One chunk as it is indexed."""

    start_line: int  # 1-based
    end_line: int  # inclusive
    words: tuple[str, ...]  # of each field of FIELDS, in that order; words with spaces between


def chunk_fields(lines: list[str], language: str) -> list[ChunkFields]:
    """The chunks of a file's lines with the words of each field."""
    return [
        ChunkFields(start, end, (index_text("\n".join(lines[start - 1 : end])),))
        for start, end in chunk(lines, language)
    ]
