"""Text -> chunks: the spans of lines that are indexed and shown as one piece.

Pure: text in, line numbers out. Knows no file, no git, no index. Never fails: broken code, any
indentation and any line end give some chunks, and every line that is not blank is in at least one.
A line ends at \\n and nowhere else, as in git and in editors; form feeds and lone \\r stand inside lines.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from .definitions import Definition

WINDOW = 24  # lines of a window
OVERLAP_STEP = 12  # windows of plain text overlap by half
DEFINITION_STEP = 16  # windows of a long definition overlap by a third
LONGEST_DEFINITION = 40  # lines that stay one chunk
HEAD = 4  # a piece of so few lines never stands alone before another
MAX_CHARS = 6_000  # prose has a paragraph per line: a chunk is halved until it fits

BLOCKS = 4_096, 256  # characters whose lines are counted at once

_COMMENTS = ("//", "/*", "*", "#[", "@")  # and attributes and annotations: lines that belong to the one below


class Chunk(NamedTuple):
    """Lines of a file, 1-based, both ends inclusive."""

    start_line: int
    end_line: int


def decode(data: bytes) -> str:
    """Bytes of a file as text: UTF-8, or Latin-1 where most of what is not ASCII is no UTF-8. Never fails."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    special = len(text) - len(text.encode("ascii", "ignore"))
    return data.decode("latin-1") if broken * 2 > special else text


def split_lines(text: str, count: int = -1) -> list[str]:
    """The lines of a text without their ends; line n of an editor is element n - 1.

    count: what comes after that many lines may be left in one piece.
    """
    lines = text.split("\n", count)
    if "\r" in text:
        lines = [line.removesuffix("\r") for line in lines]
    return lines


def lines_between(text: str, first: int, last: int) -> list[str]:
    """Lines of a text, 1-based and inclusive, as `split_lines` gives them; fewer where it ends before."""
    return Lines(text).between(first, last)


class Lines:
    """Lines of a text that are asked for by number, taken without splitting the others.

    Cheapest in order: what was counted is not counted again.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at, self._before = 0, 0  # a place, and how many line ends stand before it

    def between(self, first: int, last: int) -> list[str]:
        """1-based and inclusive, as `split_lines` gives them; fewer where the text ends before."""
        text, at, before = self._text, self._at, self._before
        if first - 1 <= before:
            at = before = 0
        for block in BLOCKS:
            while at < len(text) and before + (inside := text.count("\n", at, at + block)) < first - 1:
                at, before = at + block, before + inside
        self._at, self._before = at, before
        skipped = first - 1 - before
        count = left = skipped + last - first + 1
        end, block = at, BLOCKS[-1]
        while end < len(text) and (inside := text.count("\n", end, end + block)) < left:
            end, left = end + block, left - inside
        return split_lines(text[at : end + block], count)[skipped:count]


def chunk(
    lines: list[str], language: str, defined: Sequence[Definition] = (), longest: int | None = None
) -> list[Chunk]:
    """The chunks of a file, by start line.

    They follow definitions, where the language has any: long ones are cut into windows, short neighbours
    are joined. Everything else has overlapping windows.

    defined: what the lines define.  longest: characters of a line, if known.
    """
    if defined or language == "python":
        spans = _joined(lines, _edges(lines, defined, ("#",) if language == "python" else _COMMENTS))
    else:
        spans = _trimmed_windows(lines, 0, len(lines), OVERLAP_STEP)
    longest = max(map(len, lines), default=0) if longest is None else longest
    if longest * LONGEST_DEFINITION > MAX_CHARS:
        spans = (part for span in spans for part in _fitting(lines, *span))
    return [Chunk(start + 1, end) for start, end in spans]


def _trimmed_windows(lines: list[str], start: int, end: int, step: int) -> Iterator[tuple[int, int]]:
    whole = _trim(lines, start, end)
    for window in _windows(*whole, step) if whole else ():
        span = _trim(lines, *window)
        if span is not None:
            yield span


def _windows(start: int, end: int, step: int) -> Iterator[tuple[int, int]]:
    while start + WINDOW < end:
        yield start, start + WINDOW
        start += step
    if start < end:
        yield start, end


def _edges(lines: list[str], defined: Sequence[Definition], comments: tuple[str, ...]) -> list[int]:
    """Where functions and classes begin, with the comment above them, and where those at the margin end."""
    edges = set()
    for one in defined:
        if one.kind != "value":
            edges.add(_below_comment(lines, one.start_line - 1, comments))
            if not one.container:
                end = min(one.end_line, len(lines))
                while end > one.line and lines[end - 1].startswith(comments):  # about what comes next
                    end -= 1
                edges.add(end)
    return sorted(edges)


def _below_comment(lines: list[str], number: int, comments: tuple[str, ...]) -> int:
    while number > 0 and lines[number - 1].lstrip().startswith(comments):
        number -= 1
    return number


def _joined(lines: list[str], edges: Iterable[int]) -> Iterator[tuple[int, int]]:
    held: tuple[int, int] | None = None
    for start, end in _pieces(lines, edges):
        if held is not None and _belong_together(held, end):
            start = held[0]
        elif held is not None:
            yield held
        held = start, end
        if end - start > LONGEST_DEFINITION:
            yield from _trimmed_windows(lines, start, end, DEFINITION_STEP)
            held = None
    if held is not None:
        yield held


def _belong_together(held: tuple[int, int], end: int) -> bool:
    """Short neighbours, and the head of a class with its first method, however long."""
    return end - held[0] <= WINDOW or held[1] - held[0] <= HEAD


def _pieces(lines: list[str], edges: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The spans between edges, without blank lines at their ends."""
    for start, end in itertools.pairwise([0, *edges, len(lines)]):
        piece = _trim(lines, start, end)
        if piece is not None:
            yield piece


def _trim(lines: list[str], start: int, end: int) -> tuple[int, int] | None:
    """The span without blank lines at its ends; None when all are blank."""
    while start < end and (not lines[start] or lines[start].isspace()):
        start += 1
    while start < end and (not lines[end - 1] or lines[end - 1].isspace()):
        end -= 1
    return (start, end) if start < end else None


def _fitting(lines: list[str], start: int, end: int) -> Iterator[tuple[int, int]]:
    if end - start <= 1 or sum(map(len, lines[start:end])) <= MAX_CHARS:
        yield start, end
        return
    middle = (start + end) // 2
    for half in (_trim(lines, start, middle), _trim(lines, middle, end)):
        if half is not None:
            yield from _fitting(lines, *half)
