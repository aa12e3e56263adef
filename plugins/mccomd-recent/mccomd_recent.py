"""Which regions did the user edit or look at last, in any document?

Each query brings the texts of all open documents; what differs from the texts of the query before was edited,
and where the cursor is was looked at. Regions move with the lines above them. Kept in memory, bounded; asked
in one thread. Knows no index and no disk.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mccomd.hooks import PluginContext, hookimpl
from mccomd.types import Query, Snippet

__all__ = ["RecentRetriever", "changed_lines"]

MAX_DOCUMENTS = 20
MAX_CHARS = 2_000_000
"""A longer text is not followed."""
AROUND = 3
"""Lines that are shown above and below an edit."""
OWN_REACH = 40
"""Regions so near to the cursor, in its own document, are in the prompt already."""
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]+")


@dataclass
class _Region:
    """Lines start..end of a document, from 0, end left out."""

    path: str
    start: int
    end: int
    at: float
    edited: bool


def changed_lines(before: Sequence[str], after: Sequence[str]) -> tuple[int, int, int] | None:
    """(start, end before, end after) of the lines that differ; None where none do.

    One span from the first to the last difference: an editor changes one place between two keystrokes.
    """
    shortest = min(len(before), len(after))
    start = 0
    while start < shortest and before[start] == after[start]:
        start += 1
    same = 0
    while same < shortest - start and before[-1 - same] == after[-1 - same]:
        same += 1
    if start == len(before) == len(after):
        return None
    return start, len(before) - same, len(after) - same


class RecentRetriever:
    """The freshest regions first, those that share words with the text at the cursor before others."""

    name = "recent"

    def __init__(
        self,
        window_lines: int = 20,
        remember: int = 32,
        half_life_s: float = 300.0,
        viewed_weight: float = 0.4,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        if window_lines < 3:
            raise ValueError(f"window_lines is {window_lines}, at least 3 is expected")
        if remember < 1:
            raise ValueError(f"remember is {remember}, at least 1 is expected")
        if not half_life_s > 0:
            raise ValueError(f"half_life_s is {half_life_s}, more than 0 is expected")
        if not 0 <= viewed_weight <= 1:
            raise ValueError(f"viewed_weight is {viewed_weight}, 0 to 1 is expected")
        self._window = window_lines
        self._remember = remember
        self._half_life_s = half_life_s
        self._viewed_weight = viewed_weight
        self._now = now
        self._texts: OrderedDict[str, str] = OrderedDict()  # the least recently used first
        self._lines: dict[str, list[str]] = {}
        self._regions: list[_Region] = []  # the oldest first

    def retrieve(self, query: Query) -> Sequence[Snippet]:
        now = self._now()
        for document in reversed(query.documents[: MAX_DOCUMENTS - 1]):
            self._follow(document.path, document.text, now)
        self._follow(query.path, query.prefix + query.suffix, now)
        cursor = query.prefix.count("\n")
        found = self._best(query, cursor, now)
        self._look_at(query.path, cursor, now)
        return found

    # --- what happened ------------------------------------------------------------------------------

    def _follow(self, path: str, text: str, now: float) -> None:
        """Compare a document with what it was, and remember where it changed."""
        before = self._texts.get(path)
        if before == text:
            self._texts.move_to_end(path)
            return
        if len(text) > MAX_CHARS:
            self._forget(path)
            return
        lines = text.split("\n")
        if before is not None and (change := changed_lines(self._lines[path], lines)):
            self._move(path, *change)
            start, _, end = change
            self._add(_Region(path, max(0, start - AROUND), min(len(lines), end + AROUND), now, True))
        self._texts[path] = text
        self._texts.move_to_end(path)
        self._lines[path] = lines
        while len(self._texts) > MAX_DOCUMENTS:
            self._forget(next(iter(self._texts)))

    def _look_at(self, path: str, line: int, now: float) -> None:
        if path in self._lines:
            half = self._window // 2
            last = len(self._lines[path])
            self._add(_Region(path, max(0, line - half), min(last, line + half), now, False))

    def _move(self, path: str, start: int, end_before: int, end_after: int) -> None:
        """Regions below a change move with it; one that it touches loses or gains its lines."""
        by = end_after - end_before
        for region in self._regions:
            if region.path != path or region.end <= start:
                continue
            if region.start >= end_before:
                region.start += by
            elif region.start > start:
                region.start = start
            region.end = max(region.end + by, region.start)
        self._regions = [region for region in self._regions if region.end > region.start]

    def _add(self, new: _Region) -> None:
        """Regions of one kind that overlap become one, as long as it is no larger than the window."""
        kept: list[_Region] = []
        for old in self._regions:
            overlaps = old.path == new.path and old.start < new.end and new.start < old.end
            if not overlaps or old.edited != new.edited:
                kept.append(old)
            elif max(old.end, new.end) - min(old.start, new.start) <= self._window:
                new.start, new.end = min(old.start, new.start), max(old.end, new.end)
        if new.end - new.start > self._window:  # a large paste: its end is where the user went on
            new.start = new.end - self._window
        self._regions = [*kept, new][-self._remember :]

    def _forget(self, path: str) -> None:
        self._texts.pop(path, None)
        self._lines.pop(path, None)
        self._regions = [region for region in self._regions if region.path != path]

    # --- what helps here ----------------------------------------------------------------------------

    def _best(self, query: Query, cursor: int, now: float) -> list[Snippet]:
        wanted = _words(query.prefix[-2_000:])
        ranked: list[tuple[float, _Region, str]] = []
        for region in self._regions:
            near = region.path == query.path and region.start - OWN_REACH <= cursor < region.end + OWN_REACH
            text = "\n".join(self._lines[region.path][region.start : region.end])
            if not near and text.strip():
                ranked.append((self._score(region, text, wanted, now), region, text))
        ranked.sort(key=lambda entry: -entry[0])
        found: list[Snippet] = []
        for score, region, text in ranked:
            if len(found) == query.limit:
                break
            snippet = self._snippet(query, score, region, text)
            if not any(_overlap(snippet, other) for other in found):
                found.append(snippet)
        return found

    def _score(self, region: _Region, text: str, wanted: frozenset[str], now: float) -> float:
        """0..1: freshness, doubled at most by shared words."""
        fresh = math.exp2((region.at - now) / self._half_life_s)
        words = _words(text)
        union = len(words | wanted)
        alike = len(words & wanted) / union if union else 0.0
        return fresh * (1.0 if region.edited else self._viewed_weight) * (0.5 + 0.5 * alike)

    def _snippet(self, query: Query, score: float, region: _Region, text: str) -> Snippet:
        path = region.path
        if query.repository and path.startswith(query.repository + os.sep):
            path = os.path.relpath(path, query.repository)
        return Snippet(path, region.start + 1, region.end, text, score, "", self.name)


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text))


def _overlap(a: Snippet, b: Snippet) -> bool:
    return a.path == b.path and a.start_line <= b.end_line and b.start_line <= a.end_line


@hookimpl
def mccomd_retrievers(context: PluginContext) -> list[RecentRetriever]:
    options = context.options
    return [
        RecentRetriever(
            int(options.get("window_lines", 20)),
            int(options.get("remember", 32)),
            float(options.get("half_life_s", 300.0)),
            float(options.get("viewed_weight", 0.4)),
        )
    ]
