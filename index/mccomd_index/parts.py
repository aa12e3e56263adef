"""What is kept of a content, whoever takes it apart: plain values, ready for the store and for a pipe.

Pure: bytes and a language in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from . import filters
from .chunk import decode, split_lines
from .definitions import Definition
from .fields import Taken, taken
from .packed import KINDS, packed

Chunk = tuple[int, int, tuple[str, ...]]  # as `fields.ChunkFields`
Row = tuple[str, int, int, int, int, str]  # as `views.Row`


class Part(NamedTuple):
    """A content as it is kept."""

    content: int
    size: int  # bytes of its text
    chunks: list[Chunk]  # none: empty, binary, minified, generated
    outline: str  # packed
    rows: list[Row]  # its definitions, as they are found by name


def part_of(content: int, language: str, data: bytes) -> Part:
    """Take a content apart."""
    chunks, outline = taken_of(data, language)
    if not chunks:
        return Part(content, len(data), [], "", [])
    rows = [
        (name, content, line, first, last, KINDS[kind]) for name, kind, _, first, line, last in apart(outline)
    ]
    plain = [(start, end, words) for start, end, words in chunks]  # a pipe takes no named tuples
    return Part(content, len(data), plain, packed(outline), rows)


def apart(outline: Iterable[Definition]) -> Iterator[Definition]:
    """Definitions without those that go on with the one before: overloads, a property's setter."""
    before = "", ""
    for one in outline:
        now = one.name, one.container
        if now != before:
            yield one
        before = now


def taken_of(data: bytes, language: str) -> Taken:
    """What is kept of a file's bytes; nothing where they are no text that people wrote."""
    if filters.refuse_bytes(data):
        return Taken([], [])
    text = decode(data)
    lines = split_lines(text)
    longest = max(map(len, lines))
    if filters.refuse_text(text, lines, longest):
        return Taken([], [])
    return taken("\n".join(lines) if "\r" in text else text, lines, language, longest)
