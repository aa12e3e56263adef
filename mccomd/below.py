"""What must the answer begin with, by what stands below the cursor?

Where a block is what is indented deeper, a line whose next line is indented deeper begins one, or the file
does not parse: the answer is bound to a word that begins blocks. Of 150 statements hidden in Python files
63 were such headers, and 27 answers to them were none. Knows nothing of tokens and models.
"""

from __future__ import annotations

from itertools import islice

from mccomd.languages import language
from mccomd.statement import Scan, scan_prefix, scan_text
from mccomd.surroundings import indentation, lead_of, lines_above

__all__ = ["beginnings"]

NEAR_CHARS = 8_192  # so much of the text below is looked at
NEAR_LINES = 100
MOST_LEVELS = 6


def beginnings(prefix: str, suffix: str, language_name: str) -> tuple[str, ...]:
    """The texts with one of which the answer behind prefix begins; () when it may begin with anything.

    ("def f():\\n    wi", "\\n        pass\\n", "python") -> ("th ", "th(").
    """
    entry = language(language_name)
    head = prefix[prefix.rfind("\n") + 1 :]
    lead = lead_of(head)
    typed = head[len(lead) :]
    right, _, below = suffix[:NEAR_CHARS].partition("\n")
    if not entry.block_words or right.strip() or (typed and not typed.isalpha()):
        return ()
    words = tuple(word[len(typed) :] for word in entry.block_words if word.startswith(typed))
    lines = [line.rstrip() for line in islice(below.split("\n"), NEAR_LINES)]
    deeper = _deeper(lead, lines, entry.line_comment)
    if (
        not words
        or not deeper
        or _open(scan_prefix(prefix, entry.name))
        or not _is_block(lines, len(lead), entry.name)
    ):
        return ()
    if typed:
        return words
    # Behind a bare line break the answer chooses its level: that of the block, or one between with a header.
    levels = _levels(deeper, indentation(lines_above(prefix), lines)[1])
    return (*(level + word for level in levels for word in words), deeper)


def _deeper(lead: str, lines: list[str], comment: str) -> str:
    """By what the next line is indented deeper than lead, "" if it is not."""
    for line in lines:
        its = lead_of(line)
        text = line[len(its) :]
        if text and not text.startswith(comment):
            return its[len(lead) :] if its.startswith(lead) else ""
    return ""


def _levels(deeper: str, unit: int) -> list[str]:
    """The white space of all levels from the cursor to above that of the block; unit: columns of one."""
    if "\t" in deeper:
        return [deeper[:size] for size in range(len(deeper))]
    return [" " * size for size in range(0, len(deeper), unit)][:MOST_LEVELS]


def _open(at: Scan) -> bool:
    return bool(at.brackets or at.string_end or at.comment)


def _is_block(lines: list[str], indent: int, name: str) -> bool:
    """Whether what is indented deeper is code of its own, not the rest of a bracket or of a string.

    It is read up to the line behind it, where a bracket would be closed.
    """
    block: list[str] = []
    for line in lines:
        block.append(line)
        if line.strip() and len(lead_of(line)) <= indent:
            break
    after = scan_text("\n".join(block) + "\n", Scan(), name)
    return not after.surplus and not after.string_end
