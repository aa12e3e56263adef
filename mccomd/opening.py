"""Which brackets must the answer leave open, by what stands below the cursor?

Where a block is what stands in brackets, lines below that are indented deeper than the bracket that closes
them need a line that opens it. Of 240 lines hidden in JavaScript, Go, Rust and TypeScript files 62 were such
headers, 60 of which this tells, with no other; 26 of the answers opened something else. Knows nothing of
tokens and models.
"""

from __future__ import annotations

import re
from functools import lru_cache

from mccomd.languages import language
from mccomd.statement import Scan, scan_prefix, scan_text
from mccomd.surroundings import columns_of, lead_of

__all__ = ["left_open", "misses", "wanted_open"]

NEAR_CHARS = 8_192  # so much of the text below is looked at
NEAR_LINES = 100
TAB = 4  # columns; only lines that are indented the same way are compared
_OPENER = {")": "(", "]": "[", "}": "{"}
_BLOCK_BELOW = frozenset(["c", "cpp", "go", "java", "javascript", "rust", "typescript"])  # not: "{ |x|"
_KEPT = ("//", "/*", "\\")  # what may stand behind the '{'
_CLOSERS = re.compile(r"[ \t]*([)\]}]+)")
_MODIFIERS = (
    r"(?:(?:export|default|pub(?:\([^)]*\))?|public|private|protected|internal|static|async|abstract|final|const"
    r"|unsafe|extern|open|override|virtual|inline|sealed|data)\s+)*"
)
_HEADER = re.compile(  # a line that a block may follow; an assignment or a call gets no bracket
    rf"\s*(?:\}}\s*)?{_MODIFIERS}(?:if|else|for|foreach|while|switch|match|loop|do|try|catch|finally|func|fn|fun"
    r"|function|impl|struct|enum|union|trait|class|interface|namespace|module|mod|record|extension|protocol|unsafe"
    r"|type \w+.* (?:struct|interface)$)\b|.*=>$"
)
_PYTHON_END = re.compile(r"(?:\s*->\s*None)?(?<!:):$")
_HEADER_END = re.compile(r"(?<!\w)(?<!=> )(?<!= )(?<!: )\d+$|[A-Za-z_]\w*$|[)\]>]$")  # "if a > 3", not "a: 3"


@lru_cache(maxsize=4)
def wanted_open(prefix: str, suffix: str, language_name: str) -> str:
    """The brackets that the answer opens and the text below closes, in order; "" where there are none.

    ("", "\\n  a();\\n});", "javascript") -> "({"; ("foo(", "\\n  a();\\n});", "javascript") -> "{".
    """
    entry = language(language_name)
    right, _, below = suffix[:NEAR_CHARS].partition("\n")
    if not entry.line_comment or entry.line_only or entry.by_indentation or right.strip():
        return ""
    lines = [line.rstrip() for line in below.split("\n", NEAR_LINES)[:NEAR_LINES] if line.strip()]
    head = prefix[prefix.rfind("\n") + 1 :]
    closing = _closing(lines, entry.name)
    if closing is None:
        return ""
    wanted, columns = "".join(_OPENER[char] for char in reversed(closing[0])), closing[1]
    at = scan_prefix(prefix, entry.name)
    if at.string_end or at.comment or _columns(head) > columns or (head.strip() and _columns(head) < columns):
        return ""
    here = "".join(char for char, line in at.brackets if line == at.line)
    if not wanted.startswith(here):
        return ""
    outer = [line for _, line in at.brackets if line < at.line]
    if outer and _columns(_line_above(prefix, at.line - outer[-1])) >= columns:
        return ""
    return wanted[len(here) :]


def left_open(text: str, wanted: str, prefix: str, language_name: str, *, ended: bool) -> str:
    """text up to where it leaves open what is wanted; with a '{' more where that is all that is missing.

    ended: whether the model was done with it.
    ("write!(f, x)", "(", ..) -> "write!("; ("if x", "{", ..) -> "if x {"; ("if x:", "{", ..) -> "if x {".
    """
    found = _opened(text, prefix, language_name) if wanted else None
    body = text.rstrip()
    if found is None:
        return text
    if found[-1:] == wanted[-1]:  # as wanted, or one more of them, closed on a line of its own
        return _up_to_block(body, found, prefix, language_name) or text
    for end in range(len(body), 0, -1):
        if body[end - 1] == wanted[-1] and _opened(body[:end], prefix, language_name) == wanted:
            return body[:end]
    header = _PYTHON_END.sub("", body).rstrip()
    line = prefix[prefix.rfind("\n") + 1 :] + header if header == header.lstrip("\n") else header
    if ended and found + "{" == wanted and _HEADER_END.search(header) and _HEADER.match(line.lstrip("\n")):
        return header + " {"
    return text


def _up_to_block(body: str, found: str, prefix: str, language_name: str) -> str:
    """body up to the '{' that it leaves open: what the block holds stands below. "" where that is not so."""
    if found[-1] != "{" or language(language_name).name not in _BLOCK_BELOW:
        return ""
    for end in range(len(body), 0, -1):
        if body[end - 1] == "{" and _opened(body[:end], prefix, language_name) == found:
            return "" if body[end:].lstrip().startswith(_KEPT) or end == len(body) else body[:end]
    return ""


def misses(text: str, wanted: str, prefix: str, language_name: str) -> bool:
    """Whether the bracket that a whole line opens last is another one than wanted, or there is none."""
    found = _opened(text, prefix, language_name) if wanted else None
    return found is not None and found[-1:] != wanted[-1]


def _opened(text: str, prefix: str, language_name: str) -> str | None:
    """The brackets that text leaves open; None where it is more than a line, or not all of it is read."""
    if "\n" in text.strip() or not text.strip():
        return None
    name = language(language_name).name
    at = scan_prefix(prefix, name)
    after = scan_text(text, at, name)
    if after.string_end or after.brackets[: len(at.brackets)] != at.brackets:
        return None
    return "".join(char for char, _ in after.brackets[len(at.brackets) :])


def _closing(lines: list[str], name: str) -> tuple[str, int] | None:
    """What the first line closes that is less deep than the first of all, and its columns."""
    for index, line in enumerate(lines):
        if _columns(line) >= _columns(lines[0]):
            continue
        found = _CLOSERS.match(line)
        inside = scan_text("\n".join(lines[:index]) + "\n", Scan(), name)
        if found is None or inside.surplus or inside.brackets or inside.string_end:
            return None
        return found[1], _columns(line)
    return None


def _columns(line: str) -> int:
    return columns_of(lead_of(line), TAB)


def _line_above(prefix: str, up: int) -> str:
    """The line that stands `up` lines above the cursor's."""
    end = len(prefix)
    for _ in range(up):
        end = prefix.rfind("\n", 0, end)
        if end < 0:
            return ""
    return prefix[prefix.rfind("\n", 0, end) + 1 : end]
