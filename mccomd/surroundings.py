"""What stands around the cursor, as the rules of postprocess.py look at it. Pure; knows no rule."""

from __future__ import annotations

from dataclasses import dataclass

from mccomd.languages import CLOSING, Language, language
from mccomd.statement import Scan, scan_prefix

__all__ = ["NEAR_LINES", "Surroundings", "columns_of", "lead_of", "surroundings"]

NEAR_LINES = 200  # so many lines above and below are looked at
NEAR_CHARS = 16_384
MOST_REST_CHARS = 400  # of the cursor's line, right of it


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The text around the cursor, its line breaks "\\n"."""

    language: Language
    head: str  # the cursor's line, left of it
    rest: str  # the cursor's line, right of it, without trailing white space
    above: tuple[str, ...]  # nearest last, without blank ones, trailing white space and tabs
    below: tuple[str, ...]  # nearest first, the same way
    opened: Scan  # brackets and strings open at the cursor
    tabs: bool | None  # how the file indents; None when it does not
    unit: int  # columns of one level

    @property
    def only_closers_right(self) -> bool:
        return all(char in CLOSING for char in self.rest)

    @property
    def wanted_columns(self) -> int | None:
        """The indentation of a line in the block that the line above opens; None when it opens none."""
        if not self.above:
            return None
        line = self.above[-1]
        opens = line.endswith((":", "(", "[", "{") if self.language.by_indentation else ("(", "[", "{"))
        return columns_of(lead_of(line), self.unit) + self.unit if opens else None

    def plain(self, line: str) -> str:
        """A line as those of above and below are."""
        return line.rstrip().expandtabs(self.unit)


def surroundings(prefix: str, suffix: str, name: str) -> Surroundings:
    entry = language(name)
    lines_above = prefix[-NEAR_CHARS:].split("\n")[-NEAR_LINES:]
    lines_below = suffix[:NEAR_CHARS].split("\n")[:NEAR_LINES]
    tabs, unit = _indentation([*lines_above, *lines_below[1:]])
    return Surroundings(
        language=entry,
        head=lines_above[-1],
        rest=lines_below[0][:MOST_REST_CHARS].rstrip(),
        above=_comparable(lines_above[:-1], unit),
        below=_comparable(lines_below[1:], unit),
        opened=scan_prefix(prefix, entry.name),
        tabs=tabs,
        unit=unit,
    )


def _comparable(lines: list[str], unit: int) -> tuple[str, ...]:
    return tuple(line.rstrip().expandtabs(unit) for line in lines if line.strip())


def _indentation(lines: list[str]) -> tuple[bool | None, int]:
    """(whether by tabs, None when nothing is indented or both are at home; columns of one level)"""
    tabs = sum(line.startswith("\t") for line in lines)
    widths = [len(lead_of(line)) for line in lines if line.startswith("  ") and line.strip()]
    if min(tabs, len(widths)) * 5 >= tabs + len(widths):  # less than a fifth may be exceptions
        return None, 4
    halves = sum(width % 4 == 2 for width in widths)
    return tabs > len(widths), 2 if halves * 5 > len(widths) else 4


def lead_of(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def columns_of(lead: str, unit: int) -> int:
    return len(lead.expandtabs(unit))
