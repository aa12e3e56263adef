"""mccomd.statement: where a completion ends."""

from __future__ import annotations

import csv
import inspect
import io
import json.decoder
import shlex
import textwrap
import time
import tokenize
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mccomd.statement import LEADING_BREAKS, MAX_LINES, StatementRule, scan_prefix, single_line_wanted
from mccomd_index import LANGUAGES


def check(
    prefix: str, text: str, expected: str | None, *, language: str = "python", single_line: bool = False
) -> None:
    """expected: what is left of text; None when it may go on."""
    end = StatementRule(prefix, "", language, single_line).end_of(text)
    assert (None if end is None else text[:end]) == expected


@pytest.mark.parametrize(
    ("prefix", "text", "expected"),
    [
        # may go on
        ("x = ", "", None),
        ("x = ", "1", None),
        ("x = foo(", "a,\n    b", None),
        ("x = ", "'''a\nb", None),
        ("x = ", "a + \\\n", None),
        ("x = 1", "\n", None),
        ("x = 1", "\n    ", None),
        # one line
        ("x = ", "1\n", "1"),
        ("x = ", "1  \ny", "1"),
        ("x = ", "1  # one (\ny", "1  # one ("),
        ("x = ", "1\r\ny", "1"),
        ("    ", "if a:\n        b", "if a:"),
        ("x = ", "')'\ny", "')'"),
        ("x = ", "'it\\'s ('\ny", "'it\\'s ('"),
        ("x = ", "'never closed (\ny", "'never closed ("),
        # brackets and long strings
        ("def f():\n    x = foo(", "a,\n        b)\n    return x", "a,\n        b)"),
        ("x = foo(bar[", "0],\n 1)\ny", "0],\n 1)"),
        ("x = ", "{\n  'a': 1,\n}\ny", "{\n  'a': 1,\n}"),
        ("x = ", "[')',\n 1]\ny", "[')',\n 1]"),
        ("x = (  # )", "", None),
        ("x = ", "'''a\nb'''\ny = 1", "'''a\nb'''"),
        ("x = f'''{", "a}\nb'''\ny = 1", "a}\nb'''"),
        ("x = ", 'r"\\"\ny', 'r"\\"'),
        ("x = ", "a + \\\n    b\ny", "a + \\\n    b"),
        ("x = ", "a + \\\r\n    b\r\ny", "a + \\\r\n    b"),
        # a string begun left of the cursor
        ("x = 'a (", "b'\ny", "b'"),
        ('x = """a\n', 'b\nc"""\nd', "b"),  # inside a docstring a line is all
        ('x = """', 'a\nb"""\nc', 'a\nb"""'),  # one that begins at the cursor is written to its end
        ('"""doc (\nstring"""\nx = ', "1\ny", "1"),
        ('"""it\'s\n"""\nx = ', "1\ny", "1"),
        # a comment
        ("# see (", "a, [\nb", "a, ["),
        ("foo(  # see ", "a\nb)\nc", "a"),
        # behind a complete line the text begins on the next
        ("x = 1", "\ny = 2\nz", "\ny = 2"),
        ("x = 1", "\n\n\ndef f(\n  a):\n    b", "\n\n\ndef f(\n  a):"),
        ("x = 1", "\n\n\n\ny", ""),
        ("x = 1", "\n" * (LEADING_BREAKS + 1), ""),
    ],
)
def test_python(prefix: str, text: str, expected: str | None) -> None:
    check(prefix, text, expected)


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("foo(\n\ndef f():\n    x = ", "1"),  # a definition cannot stand inside a call
        ("foo(bar[\n    return x\nx = ", "1"),
        ("x)]}\ny = ", "1"),
        ("x = [\n" + "    1,\n" * 30, "1"),  # the unit of a long table is the entry
        ("x = [\n" + "    1,\n" * 3, None),
        ('"' + "\nx = ", "1"),
        ("x = '''\n" + "text (\n" * 300 + "'''\ny = ", "1"),
        ("x = 'a\\\nb'\ny = ", "1"),
    ],
)
def test_unbalanced_code_above(prefix: str, expected: str | None) -> None:
    check(prefix, "1\n2", expected)


@pytest.mark.parametrize(
    ("language", "prefix", "text", "expected"),
    [
        ("javascript", "const x = ", "foo(\n  a,\n  b\n)\ny", "foo(\n  a,\n  b\n)"),
        ("javascript", "", "if (a) {\n  b", "if (a) {"),
        ("javascript", "", "if (a) { return 1; }\nb", "if (a) { return 1; }"),
        ("javascript", "const x = ", "a +\n  b\nc", "a +\n  b"),
        ("javascript", "const x = ", "a ?? // or\n  b\nc", "a ?? // or\n  b"),
        ("javascript", "const x =", "\n  1\ny", "\n  1"),
        ("javascript", "const x = ", "`a\n(`\ny", "`a\n(`"),
        ("javascript", 'it("x", () => {\n', "  const a = 1\n  b", "  const a = 1"),
        ("javascript", "x = {\n", "  a: 1,\n  b: 2,\n", "  a: 1,"),
        ("javascript", "i", "++\nb", "++"),
        ("javascript", "foo(", "a);", "a);"),
        ("javascript", "for (", "let i = 0; i < 3; i++) {\n", "let i = 0; i < 3; i++) {"),
        ("javascript", "/* see (\n", "a\nb", "a"),
        ("javascript", "x = [\n  import('a'),\n  b, ", "c\n]\ny", "c\n]"),  # import(..) is a value
        ("typescript", "let a: ", "Map<string, Array<number>>\nb", "Map<string, Array<number>>"),
        ("go", "x := ", "foo(\n\ta,\n)\ny", "foo(\n\ta,\n)"),
        ("go", "x := ", "`\\`\ny", "`\\`"),
        ("go", "", "if err != nil {\n\treturn err", "if err != nil {"),
        ("rust", "fn f<'a>(x: &'a str) -> ", "&'a str {\n x", "&'a str {"),
        ("rust", "let c = ", "'(';", "'(';"),
        ("rust", "let s = ", '"a\nb";', '"a\nb";'),
        ("java", "String s = ", '"a" +\n  "b";', '"a" +\n  "b";'),
        ("c", "x = ", "'\\'' + '(';", "'\\'' + '(';"),
        ("c", "#define X \\\n", " 1 \\\n 2\ny", " 1 \\\n 2"),
        ("cpp", "std::cout", " <<\n  x;", " <<\n  x;"),
        ("c", "int a", ",\n  b;", ",\n  b;"),
        ("lua", "local x = ", "[[a\n(]]\ny", "[[a\n(]]"),
        ("lua", "local x = a ", "and\n  b\nc", "and\n  b"),
        ("lua", "--[[ see (\n", "a\nb", "a"),
        ("lua", "foo(function(a)\n", "  if a then\n    b()\n", "  if a then"),
        ("lua", "foo(function(a)\n  b()\nend, ", "c,\n  d)\ne", "c,"),
        ("lua", "foo(function(a)\n  b()\nend)\nfoo(", "c,\n  d)\ne", "c,\n  d)"),
        ("ruby", "foo(a.map do |b|\n", "  c\n  d", "  c"),
        ("ruby", "x = ", "foo.\n  bar\nbaz", "foo.\n  bar"),
        ("shell", "ls ", "|\n  wc\nx", "|\n  wc"),
        ("shell", "sleep 1 ", "&\nx", "&"),
        ("shell", "echo ", "${#x} # it's\ny", "${#x} # it's"),
        ("shell", "echo ", "'a\nb'\nc", "'a\nb'"),
        ("markdown", "See ", "(this\nand that)", "(this"),
        ("yaml", "key: ", "[a,\n b]", "[a,"),
        ("", "see ", "(a\nb)", "(a"),
        ("", "see", "\nnext (\nb)", "\nnext ("),
        ("no such language", "see ", "(a\nb)", "(a"),
    ],
)
def test_other_languages(language: str, prefix: str, text: str, expected: str) -> None:
    check(prefix, text, expected, language=language)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a", None), ("a\nb", "a"), ("a \r\nb", "a"), ("\na", ""), ("foo(\na)", "foo(")],
)
def test_single_line(text: str, expected: str | None) -> None:
    check("x = ", text, expected, single_line=True)


@pytest.mark.parametrize("language", ["python", "javascript", "text"])
def test_never_more_than_so_many_lines(language: str) -> None:
    text = "foo(\n" + "  a,\n" * 40
    end = StatementRule("", "", language, False).end_of(text)
    assert end is not None
    assert text[:end].count("\n") < MAX_LINES


@pytest.mark.parametrize(
    ("suffix", "expected"),
    [
        ("", False),
        ("\nnext", False),
        (")", False),
        ("  \t\nnext", False),
        (")]}\"'`;, \nnext", False),
        ("\r\nnext", False),
        (" + b\n", True),
        ("):\n", True),
        ("x", True),
        ("(", True),
    ],
)
def test_single_line_wanted(suffix: str, expected: bool) -> None:
    assert single_line_wanted("foo(", suffix) is expected


@pytest.mark.parametrize("module", [csv, json.decoder, shlex, textwrap])
def test_agrees_with_the_tokenizer_on_real_code(module: ModuleType) -> None:
    """At the start of each statement, the rest of the file ends where Python's tokenizer says."""
    source = inspect.getsource(module)
    checked = 0
    for start, end in _statements(source):
        statement = source[start:end]
        if statement.count("\n") >= MAX_LINES or _far_inside_table(source, start):
            continue
        found = StatementRule(source[:start], "", "python", False).end_of(source[start : start + 2000])
        assert found == len(statement.rstrip()), statement
        checked += 1
    assert checked > 100


def _statements(source: str) -> list[tuple[int, int]]:
    """(start, end) of each logical line, a comment behind it included."""
    offsets = [0]
    for line in source.splitlines(keepends=True):
        offsets.append(offsets[-1] + len(line))
    found, start = [], -1
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NEWLINE:
            found.append((start, offsets[token.start[0] - 1] + token.start[1]))
            start = -1
        elif start < 0 and token.type not in (
            tokenize.COMMENT,
            tokenize.NL,
            tokenize.INDENT,
            tokenize.DEDENT,
            tokenize.ENDMARKER,
        ):
            start = offsets[token.start[0] - 1] + token.start[1]
    return found


def _far_inside_table(source: str, start: int) -> bool:
    return bool(scan_prefix(source[:start], "python").brackets)


@given(
    st.text(alphabet="ab ()[]{}\"'`#\\\n\r;,:/*-=+<", max_size=80), st.sampled_from([*sorted(LANGUAGES), ""])
)
def test_an_end_once_found_stays(text: str, language: str) -> None:
    """Asked token by token, the first end is inside the text and no later text moves it to another place."""
    rule = StatementRule("x = ", "", language, False)
    for length in range(len(text) + 1):
        end = rule.end_of(text[:length])
        if end is not None:
            assert 0 <= end <= length
            assert rule.end_of(text) == end
            return


@given(st.text(max_size=200), st.text(max_size=200), st.sampled_from([*sorted(LANGUAGES), ""]), st.booleans())
def test_never_raises(prefix: str, text: str, language: str, single_line: bool) -> None:
    end = StatementRule(prefix, text, language, single_line).end_of(text)
    assert end is None or 0 <= end <= len(text)


@pytest.mark.parametrize(
    "hostile",
    ["(" * 400_000, '"""' * 100_000, "\\" * 300_000, "'\n" * 150_000, "a\n" * 200_000, "(}" * 200_000],
)
def test_hostile_prefix_is_read_in_bounded_time(hostile: str) -> None:
    start = time.thread_time()
    StatementRule(hostile, "", "python", False).end_of("x\n")
    assert time.thread_time() - start < 2  # takes 0.1 s; the bound only tells linear from quadratic
