"""Which files are worth learning from: `fault` names what is wrong with one. Pure."""

from __future__ import annotations

import ast
import re
import warnings

__all__ = ["fault", "parse"]

VENDORED = re.compile(
    r"(^|/)(_?vendor(ed)?|third_?party|_?extern(al)?s?|site-packages|node_modules|migrations|_pb2|locale|snapshots?"
    r"|cassettes|fixtures?|testdata|test_data|_generated|generated|gen)(/|$)|_pb2(_grpc)?\.py$|(^|/)versioneer\.py$"
)
GENERATED = re.compile(r"(?i)\b(auto-?\s?generated|generated (by|from|file)|do not (edit|modify))\b")
HEAD_CHARS = 1_500  # where a generated file says so
MIN_CHARS, MAX_CHARS = 300, 150_000
MAX_LINE = 400
MIN_DISTINCT_LINES = 0.5
MAX_DIGITS = 0.2
MIN_LETTERS = 0.4


def fault(path: str, text: str) -> str | None:
    """Why a file is left out; None: it is good."""
    if VENDORED.search(path):
        return "vendored, generated or data, by its path"
    if not MIN_CHARS <= len(text) <= MAX_CHARS:
        return "too short or too long"
    if GENERATED.search(text[:HEAD_CHARS]):
        return "says that it is generated"
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if max(map(len, lines)) > MAX_LINE:
        return "long lines"
    if len(lines) > 30 and len(set(lines)) < MIN_DISTINCT_LINES * len(lines):
        return "repeats itself"
    return _fault_of_characters(text)


def _fault_of_characters(text: str) -> str | None:
    visible = [character for character in text if not character.isspace()]
    if sum(map(str.isdigit, visible)) > MAX_DIGITS * len(visible):
        return "mostly numbers"
    if sum(map(str.isalpha, visible)) < MIN_LETTERS * len(visible):
        return "few letters"
    if not text.isascii() and sum(c > "\u024f" for c in visible) > 0.1 * len(visible):
        return "mostly another script"
    return None


def parse(text: str) -> ast.Module | None:
    """The syntax tree; None for what this Python cannot parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
