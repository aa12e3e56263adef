"""How right is one answer? The definitions that published work uses, so that figures can stand beside theirs.

Pure text; knows no daemon and no statistics. All values are 0..1.

exact, similarity  RepoCoder (Zhang et al. 2023): blank lines dropped, each line stripped, the answer cut to
                   the truth's number of lines; equal lists of lines; 1 - Levenshtein / length of the longer.
identifier_f1      CrossCodeEval (Ding et al. 2023): comments removed, F1 over the sets of identifiers.

An answer to a statement is cut where the statement ends first (`first_statement`): models write on.
"""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass

__all__ = [
    "Score",
    "exact",
    "first_statement",
    "identifier_f1",
    "identifiers",
    "levenshtein",
    "score",
    "similarity",
]


@dataclass(frozen=True, slots=True)
class Score:
    """One answer against its truth."""

    exact: bool
    similarity: float
    identifier_f1: float


def score(truth: str, answer: str, prefix: str, *, statement: bool) -> Score:
    """statement: whether the answer counts up to the end of the statement at the end of `prefix`."""
    said = first_statement(prefix, answer) if statement else answer
    kept = "\n".join(_lines(said)[: len(_lines(truth))])
    return Score(exact(truth, said), similarity(truth, said), identifier_f1(truth, kept))


def exact(truth: str, answer: str) -> bool:
    """'a = 1' and 'a = 1\\nb = 2' -> True; 'a = 1' and 'a=1' -> False."""
    wanted = _lines(truth)
    return wanted == _lines(answer)[: len(wanted)]


def similarity(truth: str, answer: str) -> float:
    """'abc' and 'abd' -> 2/3."""
    wanted = _lines(truth)
    left, right = "\n".join(wanted), "\n".join(_lines(answer)[: len(wanted)])
    longer = max(len(left), len(right))
    return 1 - levenshtein(left, right) / longer if longer else 1.0


def levenshtein(left: str, right: str) -> int:
    """The least number of characters to insert, delete or replace. 'kitten', 'sitting' -> 3."""
    if left == right:
        return 0
    if len(left) < len(right):
        left, right = right, left
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        above, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (a != b))
    return row[-1]


_COMMENT = re.compile(r"(?:#|//).*")
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|\'[^\'\\]*(?:\\.[^\'\\]*)*\'')
_WORD = re.compile(r"[^\W\d]\w*")


def identifiers(code: str) -> set[str]:
    """Names in code, without keywords of Python and what stands in strings and comments."""
    bare = _STRING.sub("", _COMMENT.sub("", code))
    return {
        word for word in re.findall(r"\w+", bare) if _WORD.fullmatch(word) and not keyword.iskeyword(word)
    }


def identifier_f1(truth: str, answer: str) -> float:
    """1.0 where neither has a name."""
    wanted, found = identifiers(truth), identifiers(answer)
    together = len(wanted) + len(found)
    return 2 * len(wanted & found) / together if together else 1.0


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


@dataclass(slots=True)
class _Reader:
    """What is open at a place of a Python text: brackets and a string."""

    depth: int = 0
    quote: str = ""

    def step(self, text: str, at: int) -> int:
        """Past the character or string mark at `at`; where it goes on."""
        character = text[at]
        if self.quote:
            return self._in_string(text, at, character)
        if character == "#":
            end = text.find("\n", at)
            return len(text) if end < 0 else end
        if character in "\"'":
            self.quote = character * 3 if text.startswith(character * 3, at) else character
            return at + len(self.quote)
        if character in "([{":
            self.depth += 1
        elif character in ")]}":
            self.depth = max(0, self.depth - 1)
        return at + 1

    def _in_string(self, text: str, at: int, character: str) -> int:
        if character == "\\":
            return at + 2
        if text.startswith(self.quote, at):
            end, self.quote = at + len(self.quote), ""
            return end
        if character == "\n" and len(self.quote) == 1:
            self.quote = ""
        return at + 1


def first_statement(prefix: str, answer: str) -> str:
    """The answer up to the first line break outside brackets and strings, behind something written.

    CrossCodeEval cuts at the first line break where prefix and answer parse; on code that parses it is the
    same. 'x = f(' and 'a,\\n  b)\\nreturn' -> 'a,\\n  b)'.
    """
    reader = _Reader()
    at = 0
    while at < len(prefix):
        at = reader.step(prefix, at)
    at = 0
    while at < len(answer):
        if answer[at] == "\n" and not reader.depth and len(reader.quote) < 3:
            before = answer[:at]
            if before.strip() and not before.endswith("\\"):
                return before.rstrip()
        at = reader.step(answer, at)
    return answer
