"""What stands around the cursor, as the rules of postprocess.py look at it. Pure; knows no rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from mccomd.languages import CLOSING, Language, language
from mccomd.statement import Scan, scan_prefix

__all__ = [
    "NEAR_LINES",
    "Surroundings",
    "columns_of",
    "indentation",
    "lead_of",
    "lines_above",
    "surroundings",
]

NEAR_LINES = 200  # so many lines above and below are looked at
NEAR_CHARS = 16_384
MOST_REST_CHARS = 400  # of the cursor's line, right of it
PYTHON_BRACKET = 4  # columns by which lines in a bracket are deeper, in files indented by 2, too
_HEADER_ENDS = (":", "{")  # not "(" and "[": many indent by two levels behind them


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
        """The indentation of a line in what the line above opens; None when it opens nothing."""
        line = self.above[-1] if self.above else ""
        if line.endswith(("(", "[", "{")):
            deeper = PYTHON_BRACKET if self.language.name == "python" else self.unit
        elif line.endswith(":") and self.language.by_indentation:
            deeper = self.unit
        else:
            return None
        return columns_of(lead_of(line), self.unit) + deeper

    def plain(self, line: str) -> str:
        """A line as those of above and below are."""
        return line.rstrip().expandtabs(self.unit)


def surroundings(prefix: str, suffix: str, name: str) -> Surroundings:
    entry = language(name)
    above = lines_above(prefix)
    below = suffix[:NEAR_CHARS].split("\n")[:NEAR_LINES]
    tabs, unit = indentation(above, below[1:])
    return Surroundings(
        language=entry,
        head=above[-1],
        rest=below[0][:MOST_REST_CHARS].rstrip(),
        above=_comparable(above[:-1], unit),
        below=_comparable(below[1:], unit),
        opened=scan_prefix(prefix, entry.name),
        tabs=tabs,
        unit=unit,
    )


def lines_above(prefix: str) -> list[str]:
    """Those that are looked at, nearest last; the last is the cursor's line, left of it."""
    return prefix[-NEAR_CHARS:].split("\n")[-NEAR_LINES:]


def _comparable(lines: list[str], unit: int) -> tuple[str, ...]:
    return tuple(line.rstrip().expandtabs(unit) for line in lines if line.strip())


def indentation(above: Sequence[str], below: Sequence[str]) -> tuple[bool | None, int]:
    """(whether by tabs, None when nothing is indented or both are at home; columns of one level, 2 or 4)

    above, below: the lines around the cursor. Between them a line may be missing, so no level is seen there.
    """
    lines = [*above, *below]
    tabs = sum(line.startswith("\t") for line in lines)
    widths = [len(lead_of(line)) for line in lines if line.startswith("  ") and line.strip()]
    if min(tabs, len(widths)) * 5 >= tabs + len(widths):  # less than a fifth may be exceptions
        return None, 4
    return tabs > len(widths), _unit([*_steps(above), *_steps(below)], widths)


def _unit(steps: list[int], widths: list[int]) -> int:
    """By how much most blocks are deeper than their headers; without any, by all indented lines.

    At 2,196 places of a project indented by 2 this was wrong at 1.5 %; by the widths alone, at 18 %.
    """
    twos, fours = steps.count(2), steps.count(4)
    if twos != fours:
        return 2 if twos > fours else 4
    return 2 if sum(width % 4 == 2 for width in widths) * 5 > len(widths) else 4


def _steps(lines: Sequence[str]) -> list[int]:
    """How much deeper than each block's header its first line is."""
    full = [line.rstrip() for line in lines if line.strip()]
    return [
        len(lead_of(first)) - len(lead_of(header))
        for header, first in pairwise(full)
        if header.endswith(_HEADER_ENDS)
    ]


def lead_of(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def columns_of(lead: str, unit: int) -> int:
    return len(lead.expandtabs(unit))
