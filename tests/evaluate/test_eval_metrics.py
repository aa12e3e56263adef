"""Scores of one answer, against values worked out by hand from the published definitions."""

from __future__ import annotations

import pytest

from mccomd.evaluate.metrics import (
    exact,
    first_statement,
    identifier_f1,
    identifiers,
    levenshtein,
    score,
    similarity,
)


@pytest.mark.parametrize(
    ("truth", "answer", "expected"),
    [
        ("  a = 1\n", "a = 1\nb = 2", True),  # RepoCoder: stripped, cut to the truth's lines
        ("a=1", "a = 1", False),  # blanks inside count
        ("a = 1\nb = 2", "a = 1", False),
        ("a = 1\n\n b = 2", "\na = 1\nb = 2\nc = 3", True),  # blank lines do not
        ("a", "", False),
    ],
)
def test_exact_match(truth: str, answer: str, expected: bool) -> None:
    assert exact(truth, answer) is expected


@pytest.mark.parametrize(
    ("truth", "answer", "expected"),
    [("abc", "abd", 2 / 3), ("abc", "", 0.0), ("a\nb", "a\nb\nc", 1.0), ("", "", 1.0), ("abcd", "ab", 0.5)],
)
def test_edit_similarity(truth: str, answer: str, expected: float) -> None:
    assert similarity(truth, answer) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [("kitten", "sitting", 3), ("", "abc", 3), ("flaw", "lawn", 2), ("same", "same", 0), ("ab", "ba", 2)],
)
def test_levenshtein(left: str, right: str, expected: int) -> None:
    assert levenshtein(left, right) == levenshtein(right, left) == expected


@pytest.mark.parametrize(
    ("prefix", "answer", "expected"),
    [
        ("def f():\n    x = foo(", "a,\n        b)\n    return x", "a,\n        b)"),
        ("x = ", "'''a\nb'''\ny = 1", "'''a\nb'''"),
        ("    ", "if a:\n        b", "if a:"),
        ("x = ", "1 + \\\n  2\ny", "1 + \\\n  2"),
        ("x = [  # not a (\n", "1,\n]\ny", "1,\n]"),
        ("s = 'it\n", "x = 1\ny", "x = 1"),  # a string that was never closed ends with its line
        ("", "\n\nx = 1\ny", "\n\nx = 1"),  # breaks before the first word end nothing
        ("f(')', ", "a)\nb", "a)"),
        ("x = ", "1", "1"),
    ],
)
def test_the_answer_is_cut_where_the_statement_ends(prefix: str, answer: str, expected: str) -> None:
    assert first_statement(prefix, answer) == expected


def test_identifiers_leave_out_keywords_strings_and_comments() -> None:
    code = "return self.parse('name', b=2)  # comment here"
    assert identifiers(code) == {"self", "parse", "b"}
    assert identifier_f1("a.b(c)", "a.b(d)") == pytest.approx(2 * 2 / 6)
    assert identifier_f1("1 + 2", "3") == 1.0
    assert identifier_f1("a", "1") == 0.0


def test_a_statement_is_scored_to_its_end_and_a_line_by_lines() -> None:
    prefix, truth, answer = "x = f(", "a,\n  b)", "a,\n  b)\ny = 2"
    assert score(truth, answer, prefix, statement=True).exact
    assert score("a", "a\nb", "x = ", statement=False).exact
    # the answer ends a statement early: what comes after does not rescue it
    assert not score("a\nb", "a\nb", "x = ", statement=True).exact
