"""What of the model's text does the editor insert?

A list of small rules, applied until none changes anything, so that cleaning twice is cleaning once.  A rule
only cuts, or changes white space: no word is inserted that the model did not write.  The cut at the end of
the statement has been made before (statement.py).  Knows nothing of models and of editors' positions.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from mccomd.known import is_known
from mccomd.languages import CLOSERS, CLOSING, MOST_CLOSERS
from mccomd.python_words import without_python
from mccomd.redact import visible
from mccomd.statement import scan_text
from mccomd.surroundings import NEAR_LINES, Surroundings, columns_of, lead_of, surroundings

__all__ = ["Cleaned", "clean"]

MAX_CHARS = 2000  # a completion is some lines; whatever is longer is cut before anything looks at it
PASSES = 12
SHORTEST_OVERLAP = 4  # characters of the suffix that a completion's end must repeat to be taken for a repeat
MOST_LOOP_LINES, LONGEST_LOOP = 200, 20  # lines in which loops of lines are looked for; in one round
MOST_CUTS = 16  # places tried for a cut before a surplus bracket

_DOC_COMMENTS = {"///", "//!", "/**", "/*!"}
_ONE_WORD = re.compile(r"\s*#?\w+;?")  # "end", "#endif", "pass": blocks often end alike


@dataclass(frozen=True, slots=True)
class Cleaned:
    """text to insert at the cursor, "" for none; reasons: what was done to it, in order, each once."""

    text: str
    reasons: tuple[str, ...]


def clean(text: str, *, prefix: str, suffix: str, language: str, eol: str) -> Cleaned:
    """What of text is inserted between prefix and suffix; pure, and clean(clean(x)) is clean(x).

    eol: the document's line end, "\\n" or "\\r\\n"; all line ends of the result are this one.
    """
    place = surroundings(_with_line_feeds(prefix), _with_line_feeds(suffix), language)
    text = _with_line_feeds(text[:MAX_CHARS])
    reasons: list[str] = []
    for _ in range(PASSES):
        before = text
        for reason, rule in _RULES:
            after = rule(text, place)
            if after != text and reason not in reasons:
                reasons.append(reason)
            text = after
        if text == before:
            break
    else:
        text = ""  # rules that undo each other; no text is better than an unstable one
    return Cleaned(text.replace("\n", "\r\n") if eol == "\r\n" else text, tuple(reasons))


# --- rules: (text, place) -> text -----------------------------------------------------------------------


def _strip_hidden(text: str, place: Surroundings) -> str:
    """Characters that a reader cannot see have no place in a suggestion (Trojan Source, CVE-2021-42574)."""
    return visible(text).replace("\f", "")


def _cut_loop(text: str, place: Surroundings) -> str:
    """A text that goes round in circles keeps one round: "a b, a b, a b, a b, a" -> "a b,".

    Six rounds of 3 characters or more, four of 10 or more (the numbers are Tabby's), three of whole lines.
    Lines of dashes and the like are no loops.
    """
    body = text.rstrip()
    for period in range(3, min(len(body) // 3, NEAR_LINES) + 1):
        unit = body[-period:]
        rounds = 4 if period >= 10 else 6
        if len(body) < period * rounds or not body.endswith(unit * rounds) or not _has_word(unit):
            continue
        start = len(body) - period * rounds
        while start > 0 and body[start - 1] == body[start - 1 + period]:
            start -= 1
        return body[: start + period]
    return _cut_line_loop(text)


def _cut_line_loop(text: str) -> str:
    lines = text.split("\n", MOST_LOOP_LINES)
    for period in range(1, min(len(lines) // 3, LONGEST_LOOP) + 1):
        for start in range(len(lines) - 3 * period + 1):
            unit = lines[start : start + period]
            if lines[start : start + 3 * period] == unit * 3 and any(_has_word(line) for line in unit):
                return "\n".join(lines[: start + period])
    return text


def _fit_first_line(text: str, place: Surroundings) -> str:
    """White space that the cursor's line already has is not written again."""
    head = place.head
    if not head or head[-1] not in " \t":
        return text
    body = text.lstrip(" \t")
    if head.strip():
        return body
    if body.startswith("\n"):  # the cursor stands on a blank line: its line is the one to fill
        line = body.lstrip("\n")
        return line[len(head) :] if line.startswith(head) and line[len(head) :].strip() else text
    columns = columns_of(head + text[: len(text) - len(body)], place.unit)
    wanted = place.wanted_columns
    return text if wanted is not None and columns == wanted else body


def _fit_indentation(text: str, place: Surroundings) -> str:
    """Lines are indented with what the file indents with; relative indentation stays."""
    if place.tabs is None:
        return text
    lines = text.split("\n")
    first = 1 if place.head else 0
    leads = [lead_of(line) for line in lines[first:] if line.strip()]
    unit = _unit_of([len(lead) for lead in leads if lead and "\t" not in lead])
    fit = (lambda lead: _to_tabs(lead, unit)) if place.tabs else (lambda lead: lead.expandtabs(place.unit))
    fitted = [fit(lead_of(line)) + line[len(lead_of(line)) :] for line in lines[first:]]
    return "\n".join(lines[:first] + fitted)


def _drop_rest_of_line(text: str, place: Surroundings) -> str:
    """What stands right of the cursor is not written again.

    All of it, or a good part; of closing brackets and quotes, which editors put there, only what is surplus:
    "foo(bar(|)" + "x))" -> "x)".
    """
    rest = place.rest
    if not rest.strip():
        return text
    if not place.only_closers_right:
        return _drop_overlap(text, place)
    body = text.rstrip()
    best, best_cost = text, _cost(text, place)
    for part in dict.fromkeys((rest, rest.lstrip())):
        for size in range(1, min(len(part), len(body), MOST_CLOSERS) + 1):
            if not body.endswith(part[:size]):
                continue
            cost = _cost(body[:-size], place, strict=True)
            if cost < best_cost:
                best, best_cost = body[:-size], cost
    return _cut_before_surplus(best, place)


def _drop_overlap(text: str, place: Surroundings) -> str:
    """The end of text that is all of what follows, or at least SHORTEST_OVERLAP characters of it."""
    body = text.rstrip()
    for part in dict.fromkeys((place.rest, place.rest.lstrip())):
        for size in range(min(len(part), len(body)), 0, -1):
            whole = size == len(part)
            if not whole and len(part[:size].strip()) < SHORTEST_OVERLAP:
                break
            if body.endswith(part[:size]):
                return body[:-size]
    return _drop_surplus_closers(text, place)


def _drop_surplus_closers(text: str, place: Surroundings) -> str:
    """ "foo(|) + b" + "x)" -> "x": the closing bracket is there, with other text behind it."""
    body = text.rstrip()
    closers = re.match(r"""[)\]}"'`]+""", place.rest)
    for size in range(1, len(closers[0]) + 1 if closers else 0):
        kept = body[:-size]
        if body.endswith(place.rest[:size]) and _cost(kept, place, strict=True) < _cost(text, place):
            return kept
    return text


def _cut_before_surplus(text: str, place: Surroundings) -> str:
    """Cuts where text closes what the suffix closes: "foo(|)" + "x) + 1" -> "x"."""
    if not _surplus(text, place.rest, place):
        return text
    places = [index for index, char in enumerate(text) if char in CLOSERS]
    for index in reversed(places[-MOST_CUTS:]):
        if not _surplus(text[:index], place.rest, place, strict=True):
            return text[:index]
    return text


def _cut_before_stray(text: str, place: Surroundings) -> str:
    """Cuts before a ) or ] that closes nothing; a } may be that of a block whose beginning is not read.

    Nor are regular expressions read.
    """
    entry, line = place.language, place.head + text
    if entry.line_only or entry.name == "shell" or "[^" in line or "\\" in line:
        return text
    if not scan_text(text, place.opened, entry.name).surplus:
        return text
    for index in [index for index, char in enumerate(text) if char in ")]"][:MOST_CUTS]:
        before = scan_text(text[:index], place.opened, entry.name).surplus
        if scan_text(text[: index + 1], place.opened, entry.name).surplus > before:
            return text[:index]
    return text


def _drop_next_lines(text: str, place: Surroundings) -> str:
    """A later line that is the next line of the file, or closes what is closed below, ends the text."""
    lines = text.split("\n")
    if place.rest.strip() or not place.below:
        return text
    tail = "\n" + place.below[0]
    for index in range(1, len(lines)):
        kept = "\n".join(lines[:index])
        if _closes_the_same(place.plain(lines[index]), kept, place):
            return kept
        if place.plain(lines[index]) != place.below[0]:
            continue
        if _has_word(lines[index]) or _surplus(kept, tail, place) < _surplus(text, tail, place):
            return kept
    return text


def _closes_the_same(line: str, kept: str, place: Surroundings) -> bool:
    """Whether a line closes the bracket, open at the cursor, that a line of the file closes."""
    start = lead_of(line)
    closer = line[len(start) : len(start) + 1]
    if closer not in tuple(")]}"):
        return False
    below = next((other for other in place.below if len(lead_of(other)) <= len(start)), "")
    if not below.startswith(start + closer):
        return False
    return len(scan_text(kept, place.opened, place.language.name).brackets) <= len(place.opened.brackets)


def _drop_repeated(text: str, place: Surroundings) -> str:
    """Nothing is left of a text that as a whole is the lines above it, or the lines below it."""
    if place.rest.strip() or not _has_word(text):
        return text
    on_new_line = bool(place.head.strip()) and text.lstrip(" \t").startswith("\n")
    whole = text if on_new_line else place.head + text
    lines = tuple(line for line in (place.plain(line) for line in whole.split("\n")) if line)
    above = (*place.above, place.plain(place.head)) if on_new_line else place.above
    is_below = lines == place.below[: len(lines)]
    starts_line = on_new_line or not place.head.strip()
    is_above = starts_line and lines == above[-len(lines) :] and not all(map(_ONE_WORD.fullmatch, lines))
    return "" if is_below or is_above else text


def _drop_known(text: str, place: Surroundings) -> str:
    """An import or a definition that the file has already is never what is wanted."""
    if place.rest.strip():
        return text
    whole = text if text.lstrip(" \t").startswith("\n") else place.head + text
    first, _, more = whole.strip("\n").partition("\n")
    known = is_known(place.plain(first), bool(more.strip()), place.above, place.below, place.language.name)
    return "" if known else text


def _cut_python(text: str, place: Surroundings) -> str:
    """What is Python in a file of another language; a model may know that language best."""
    if place.opened.string_end or place.opened.comment:
        return text
    head = "" if text.lstrip(" \t").startswith("\n") else place.head
    return without_python(head, text, place.language.name)


def _trim(text: str, place: Surroundings) -> str:
    """No white space at the ends of lines; at the text's end only where other text follows at once."""
    body = text.rstrip()
    if not body:
        return ""
    end = text[len(body) :]
    if place.language.name != "markdown":
        body = "\n".join(line.rstrip() for line in body.split("\n"))
    if "\n" in end and body.startswith("\n") and place.rest.lstrip()[:1] in tuple(")]}"):
        return body + end[end.rindex("\n") :]  # brackets of their own lines, the last of which is there
    follows = place.rest[:1]
    return body + " " if end[:1] in (" ", "\t") and follows and follows not in CLOSING else body


def _drop_empty(text: str, place: Surroundings) -> str:
    """White space alone, or a comment of nothing, is no suggestion."""
    body = text.strip()
    line_comment, blocks = place.language.line_comment, place.language.block_comments
    marks = {line_comment, *(mark for block in blocks for mark in block)} - {place.opened.string_end}
    if line_comment == "//":
        marks |= _DOC_COMMENTS
    return "" if not body or body in marks else text


_RULES: tuple[tuple[str, Callable[[str, Surroundings], str]], ...] = (
    ("hidden characters", _strip_hidden),
    ("repetition", _cut_loop),
    ("first line", _fit_first_line),
    ("indentation", _fit_indentation),
    ("repeats suffix", _drop_rest_of_line),
    ("closes nothing", _cut_before_stray),
    ("repeats next line", _drop_next_lines),
    ("repeats lines around", _drop_repeated),
    ("is there already", _drop_known),
    ("Python", _cut_python),
    ("white space", _trim),
    ("empty", _drop_empty),
)


# --- what the rules ask ---------------------------------------------------------------------------------


def _with_line_feeds(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _unit_of(widths: list[int]) -> int:
    return 2 if widths and math.gcd(*widths) % 4 == 2 else 4


def _to_tabs(lead: str, unit: int) -> str:
    if not lead.startswith(" "):
        return lead  # tabs, and perhaps blanks that align
    columns = columns_of(lead, unit)
    return "\t" * (columns // unit) + " " * (columns % unit)


def _has_word(text: str) -> bool:
    return any(char.isalnum() for char in text)


def _surplus(text: str, tail: str, place: Surroundings, *, strict: bool = False) -> int:
    """How many closing brackets of text and tail close nothing, beyond those that do without text.

    A string that tail begins, and that without text it ends, counts as one; if strict any string that
    only text leaves open.
    """
    name = place.language.name
    without = scan_text(tail, place.opened, name)
    after = scan_text(text + tail, place.opened, name)
    leaves_open = bool(after.string_end) and not without.string_end
    begins_string = leaves_open and (strict or after.string_end in tail)
    return max(0, after.surplus - without.surplus) + begins_string


def _cost(text: str, place: Surroundings, *, strict: bool = False) -> tuple[int, bool]:
    """What is wrong with text before the rest of its line: surplus brackets, then ';;', ',,' or '::'."""
    last, following = text[-1:], place.rest.lstrip()[:1]
    return _surplus(text, place.rest, place, strict=strict), last == following and last in tuple(";,:")
