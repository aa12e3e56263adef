"""mccomd.postprocess: what the editor inserts of what the model wrote."""

from __future__ import annotations

import inspect
import io
import json.decoder
import shlex
import textwrap
import time
import tokenize
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mccomd.postprocess import clean
from mccomd.statement import scan_prefix, scan_text
from mccomd_index import LANGUAGES


def check(
    prefix: str, text: str, suffix: str, expected: str, language: str = "python", eol: str = "\n"
) -> None:
    once = clean(text, prefix=prefix, suffix=suffix, language=language, eol=eol)
    assert once.text == expected
    assert bool(once.reasons) == (text.replace("\n", eol) != expected)
    assert clean(once.text, prefix=prefix, suffix=suffix, language=language, eol=eol).text == expected


@pytest.mark.parametrize(
    ("prefix", "text", "suffix", "expected"),
    [
        ("foo(", "x)", ")", "x"),
        ("foo(bar(", "x))", ")", "x)"),  # only what is surplus goes
        ("foo(bar(", "x))", "))", "x"),
        ("foo(bar(", "x)", "))", "x"),
        ("foo(bar(", "x)", ")", "x)"),
        ("foo(", "bar(x)", ")", "bar(x)"),
        ("foo(", "x)", "", "x)"),
        ("foo(", "x", ")", "x"),
        ("foo(", "x)", "  )", "x"),
        ("foo(", ")", ")", ""),
        ('print("', 'hello")', '")', "hello"),
        ('print("', 'hello"', '")', "hello"),
        ("print('", "it\\'s')", "')", "it\\'s"),
        ('print("', "(", '")', "("),
        ("x = [", "1, 2]", "]", "1, 2"),
        ("x = [", "1, 2], [3", "]", "1, 2], [3"),
        ("x = {", "'a': [1]}", "}", "'a': [1]"),
        ("def f(", "a, b):", "):", "a, b"),
        ("def f(", "a, b)", "):", "a, b"),
        ("if x", " == 1:", ":", " == 1"),
        ("foo(", "x) + 1", ")", "x"),  # the editor's bracket cannot be moved
        ("foo(", "x).strip()", ")", "x).strip("),
        ("foo(", 'a, "b)', ")", 'a, "b)'),
        ('foo("', 'abc"', ")", 'abc"'),
        ('foo("', 'abc")', ")", 'abc"'),
        ("foo(", "\n    a,\n    b,\n)", ")\n", "\n    a,\n    b,\n"),
        ("", "x", ")", "x"),  # what is unbalanced without the text is left alone
        ("if len(", "a) == 4 and b not in 'xX':", ")", "a"),
        ("foo(", '"not finish', ")", '"not finish'),
    ],
)
def test_closers_that_stand_there_already(prefix: str, text: str, suffix: str, expected: str) -> None:
    check(prefix, text, suffix, expected)


@pytest.mark.parametrize(
    ("language", "prefix", "text", "suffix", "expected"),
    [
        ("c", "foo(", "x);", ");", "x"),
        ("c", "foo(", "x);", ")", "x"),
        ("c", "foo(x)", ";", ";", ""),
        ("javascript", "foo(", "a, b);", ");\n", "a, b"),
        ("javascript", "foo(", "() => {\n  a();\n});", ");\n", "() => {\n  a();\n}"),
        ("javascript", "x = `", "a`", "`", "a"),
        ("rust", "fn f<'a>(", "x: &'a str)", ") {\n", "x: &'a str"),
        ("", "see (", "this)", ")", "this"),
        ("markdown", "see [", "this](a.md)", "]", "this"),
    ],
)
def test_closers_in_other_languages(
    language: str, prefix: str, text: str, suffix: str, expected: str
) -> None:
    check(prefix, text, suffix, expected, language)


@pytest.mark.parametrize(
    ("language", "prefix", "text", "expected"),
    [
        (
            "javascript",
            "",
            "app.path = path.join(__dirname, 'public'))",
            "app.path = path.join(__dirname, 'public')",
        ),
        ("typescript", "  warn(\n    `a`,\n  )\n  ", ")", ""),
        ("typescript", "  warn(\n    `a`,\n  ", ")", ")"),
        (
            "typescript",
            "Promise.all([\n  import('./a'),\n  import('./b'),\n",
            "])",
            "])",
        ),  # import(..) is a value
        ("python", "x = ", "f(a))", "f(a)"),
        ("javascript", "a = b.replace(/\\{(", "[^}]+)\\}/g, c)", "[^}]+)\\}/g, c)"),
        ("go", "\t\ta()\n", "\t}\n}", "\t}\n}"),  # blocks may begin where nobody looks
        ("shell", 'case "$1" in\n  ', "start)", "start)"),
        ("markdown", "1", ") first", ") first"),
    ],
)
def test_closers_that_close_nothing(language: str, prefix: str, text: str, expected: str) -> None:
    check(prefix, text, "\n", expected, language)


@pytest.mark.parametrize(
    ("prefix", "text", "suffix", "expected"),
    [
        ("x = ", "a + b", " + b", "a"),
        ("x = ", "a + b", "+ b", "a "),
        ("x = ", "a + b + c", " + b + c\n", "a"),
        ("x = ", "a + bar", " + bar + c\n", "a"),
        ("x = ", "a + b", " or b", "a + b"),
        ("x = ", "self.foo", "foo", "self."),
        ("x = ", "a", " if b else c", "a"),
        ("foo(", "x)", ") + b", "x"),
        ("foo(", "x) + b", ") + b", "x"),
        ("x = ", "a + ", "b", "a + "),  # white space before a word is kept
        ("x = ", "a +  ", " b", "a +"),
    ],
)
def test_text_that_stands_there_already(prefix: str, text: str, suffix: str, expected: str) -> None:
    check(prefix, text, suffix, expected)


@pytest.mark.parametrize(
    ("language", "prefix", "text", "suffix", "expected"),
    [
        ("python", "def f(a):\n    ", "x = 1\n    return a", "\n    return a\n", "x = 1"),
        ("python", "def f(a):\n    ", "x = 1\n    return a", "\n\n    return a\n", "x = 1"),
        ("python", "def f(a):\n    ", "x = 1\n    return a", "\n    return b\n", "x = 1\n    return a"),
        (
            "python",
            "def f(a):\n    ",
            "if a:\n        return 1",
            "\n    return 1\n",
            "if a:\n        return 1",
        ),
        ("javascript", "function f() {\n  ", "return 1;\n}", "\n}\n", "return 1;"),
        ("javascript", "function f() {\n  if (a) {\n    ", "b();\n  }", "\n}\n", "b();\n  }"),
        ("python", "", "foo(\n    a\n)", "\n)\n", "foo(\n    a\n)"),
        ("python", "bar(\n", "    a\n)", "\n)\n", "    a"),
        ("python", "\t", "a(\n\tb", "\n\tb\n", "a("),
        # another line that closes what the next one closes
        ("typescript", "function f(\n  ", "b: string,\n): B {", "\n): C {\n", "b: string,"),
        ("javascript", "if (a) {\n", "  b()\n} else {\n  c()", "\n}\n", "  b()"),
        (
            "rust",
            "    f(&[\n        a,\n",
            "        b,\n        c,\n    ]);",
            "\n        d,\n    ]);\n",
            "        b,\n        c,",
        ),
        ("rust", "    f(&[\n        a,\n", "        b,\n    ]);", "\n    g();\n", "        b,\n    ]);"),
        ("javascript", "if (a) {\n", "  b(\n    c,\n  );\n  d()", "\n  )\n", "  b(\n    c,\n  );\n  d()"),
        # as a whole
        ("python", "    y\n    ", "return x", "\n    return x\n", ""),
        ("python", "    y\n    retu", "rn x", "\n    return x\n", ""),
        ("python", "    return x\n    ", "return x", "", ""),
        ("python", "    a(x)\n    b(x)\n    ", "a(x)\n    b(x)", "", ""),
        ("python", "    return x", "\n    return x", "", ""),
        ("python", "    a", "\n    return x", "\n    return x", ""),
        ("python", "    x = foo(1)\n    x = foo(", "1)", "", "1)"),  # the user is writing the line again
        ("javascript", "  }\n", "  }", "", "  }"),
        ("ruby", "  if a\n    b\n", "  end", "\nend\n", "  end"),
        ("c", "#endif\n", "#endif", "", "#endif"),  # one word proves nothing
    ],
)
def test_lines_that_stand_there_already(
    language: str, prefix: str, text: str, suffix: str, expected: str
) -> None:
    check(prefix, text, suffix, expected, language)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("f(a, f(a, f(a, f(a, f(a, f(a, f(a, ", "f(a,"),
        ("abcdefghij klmabcdefghij klmabcdefghij klmabcdefghij klm", "abcdefghij klm"),
        ("[0, 0, 0, 0, 0, 0, 0, 0]", "[0, 0, 0, 0, 0, 0, 0, 0]"),
        ("# ---------------------------------------", "# ---------------------------------------"),
        ("a = 1\nb = 2\nb = 2\nb = 2", "a = 1\nb = 2"),
        ("a = 1\na = 1", "a = 1\na = 1"),
        ("a = 1\nb = 2\na = 1\nb = 2\na = 1\nb = 2\na =", "a = 1\nb = 2"),
        ("1111111111111111111111", "111"),
        ("x" * 10_000, "xxx"),
    ],
)
def test_loops(text: str, expected: str) -> None:
    check("", text, "", expected)


@pytest.mark.parametrize(
    ("prefix", "text", "expected"),
    [
        ("    ", "    return x", "return x"),
        ("def f():\n    ", "    return x", "return x"),
        ("def f():\n", "    return x", "    return x"),
        ("def f():\n  ", "  return x", "  return x"),  # two of four blanks typed
        ("if a:\n  b\n  if c:\n  ", "  d", "  d"),  # by two
        ("if a:\n  b(\n  ", "    c", "    c"),  # by two, and by four behind brackets
        ("x = ", " 1", "1"),
        ("x = ", "\t1", "1"),
        ("x =", " 1", " 1"),
        ("x = f(a, ", "  b)", "b)"),
        ("    ", "\n    return x", "return x"),
        ("    ", "\nreturn x", "\nreturn x"),
        ("x = 1", "\ny = 2", "\ny = 2"),
    ],
)
def test_white_space_at_the_cursor(prefix: str, text: str, expected: str) -> None:
    check(prefix, text, "", expected)


TABS = "def f():\n\ta\n\tb\n\t"
FOURS = "def f():\n    if a:\n        b\n    "
TWOS = "if (a) {\n  b;\n  if (c) {\n    d;\n  "


@pytest.mark.parametrize(
    ("prefix", "text", "expected"),
    [
        (TABS, "if a:\n        b", "if a:\n\t\tb"),
        (TABS, "if a:\n\t\tb", "if a:\n\t\tb"),
        (TABS, "f(\n  a,\n    b)", "f(\n\ta,\n\t\tb)"),
        (TABS, "f(a,\n\t  b)", "f(a,\n\t  b)"),
        (TABS, "f(a,\n   b)", "f(a,\n   b)"),
        (FOURS, "if c:\n\t\td", "if c:\n        d"),
        (FOURS, "if c:\n      d", "if c:\n      d"),
        (TWOS, "f(\n\t\ta)", "f(\n    a)"),
        ("", "if a:\n\tb", "if a:\n\tb"),  # no evidence
        ("a(\n\tb,\n    c)\nx = ", "f(\n\ta,\n    b)", "f(\n\ta,\n    b)"),  # both at home
        ("", "if a:\n  b", "if a:\n  b"),
        ("def f():\n\ta\n", "    b", "\tb"),
        ("/*\n * a\n", " * b", " * b"),
    ],
)
def test_indentation_of_the_file(prefix: str, text: str, expected: str) -> None:
    check(prefix, text, "", expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a \u202e\u2066b\u200b", "a b"),
        ("a\x00\x1b[31mb", "a[31mb"),
        ("a\ufeff\ud800b", "ab"),
        ("über = 'ß 漢'", "über = 'ß 漢'"),
        ("\u200b", ""),
    ],
)
def test_hidden_characters(text: str, expected: str) -> None:
    check("", text, "", expected)


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("", "python", ""),
        (" \n\t\n", "python", ""),
        ("#", "python", ""),
        ("# ", "python", ""),
        ("//", "go", ""),
        ("*/", "c", ""),
        ("///", "rust", ""),
        ("//!", "rust", ""),
        ("/// a", "rust", "/// a"),
        ("# a", "python", "# a"),
        ("a  ", "python", "a"),
        ("a  \nb\t\n\n", "python", "a\nb"),
        ("a  \nb", "markdown", "a  \nb"),
    ],
)
def test_nothing_and_white_space(text: str, language: str, expected: str) -> None:
    check("", text, "", expected, language)


@pytest.mark.parametrize(
    ("text", "eol", "expected"),
    [
        ("a(\n  b)", "\r\n", "a(\r\n  b)"),
        ("a(\r\n  b)", "\r\n", "a(\r\n  b)"),
        ("a(\r\n  b)", "\n", "a(\n  b)"),
        ("a(\r  b)", "\n", "a(\n  b)"),
    ],
)
def test_line_ends(text: str, eol: str, expected: str) -> None:
    assert clean(text, prefix="x\r\ny = ", suffix="\r\nz", language="python", eol=eol).text == expected


def test_the_end_of_a_comment_is_something() -> None:
    check("/* see this", " */", "", " */", "c")


def test_windows_file_repeats_are_seen() -> None:
    check("    y\r\n    ", "return x", "\r\n    return x\r\n", "", eol="\r\n")
    check("foo(", "x)", ")\r\n", "x", eol="\r\n")


# --- for any text -----------------------------------------------------------------------------------------

CODE = st.text(alphabet="ab1 \t()[]{}\"'`,;:=+#/\\\n\r", max_size=60)
ANY = st.one_of(CODE, st.text(max_size=60))
LANGUAGES = st.sampled_from([*sorted(LANGUAGES), ""])
EOL = st.sampled_from(["\n", "\r\n"])


@settings(max_examples=400)
@given(ANY, ANY, ANY, LANGUAGES, EOL)
def test_cleaning_twice_is_cleaning_once(
    text: str, prefix: str, suffix: str, language: str, eol: str
) -> None:
    once = clean(text, prefix=prefix, suffix=suffix, language=language, eol=eol)
    twice = clean(once.text, prefix=prefix, suffix=suffix, language=language, eol=eol)
    assert twice.text == once.text
    assert twice.reasons == ()


@settings(max_examples=200)
@given(ANY, ANY, ANY, LANGUAGES, EOL)
def test_line_ends_are_uniform(text: str, prefix: str, suffix: str, language: str, eol: str) -> None:
    found = clean(text, prefix=prefix, suffix=suffix, language=language, eol=eol).text
    assert "\r" not in found.replace(eol, "")
    assert "\n" not in found.replace(eol, "")


@settings(max_examples=200)
@given(CODE, CODE, st.text(alphabet="ab+(= ", min_size=1, max_size=12), LANGUAGES)
def test_never_ends_with_the_rest_of_the_line(prefix: str, text: str, rest: str, language: str) -> None:
    found = clean(text + rest, prefix=prefix, suffix=rest + "\n", language=language, eol="\n").text
    assert not (rest.strip() and found.endswith(rest.strip()))


@settings(max_examples=200)
@given(ANY, ANY, ANY, LANGUAGES)
def test_only_white_space_is_ever_added(text: str, prefix: str, suffix: str, language: str) -> None:
    """Without white space the result is a piece of the text without hidden characters."""
    found = clean(text, prefix=prefix, suffix=suffix, language=language, eol="\n").text
    visible = "".join(char for char in text if not char.isspace())
    written = iter(visible)
    assert all(char in written for char in found if not char.isspace())


@pytest.mark.parametrize("unit", ["(", ")", '"', "ab", "a\n", " ", "x)\n", "```", "\t", "\n"])
def test_hostile_text_takes_bounded_time(unit: str) -> None:
    hostile = unit * 50_000
    start = time.thread_time()
    clean(hostile, prefix=hostile, suffix=")" + hostile, language="python", eol="\n")
    assert time.thread_time() - start < 3  # takes 0.3 s at most; the bound only tells linear from quadratic


@pytest.mark.parametrize("unit", ["}\n", "  }\n", ")]\n", "if (", "export ", "=> ", "a:\n"])
@pytest.mark.parametrize("language", ["javascript", "go", "rust"])
def test_hostile_text_in_braces_takes_bounded_time(unit: str, language: str) -> None:
    hostile = unit * 50_000
    start = time.thread_time()
    clean(hostile, prefix="f(\n", suffix="\n}\n" + hostile, language=language, eol="\n")
    assert time.thread_time() - start < 3


# --- on real code -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [json.decoder, shlex, textwrap])
def test_the_right_answer_is_never_touched(module: ModuleType) -> None:
    """The rest of each statement of real code, as the model should write it, is inserted as it is."""
    source = inspect.getsource(module)
    checked = 0
    for cursor, end in _cursors(source):
        text = source[cursor:end]
        found = clean(text, prefix=source[:cursor], suffix=source[end:], language="python", eol="\n")
        assert found.text == text, (source[cursor - 40 : cursor], text, found)
        checked += 1
    assert checked > 100


@pytest.mark.parametrize("module", [json.decoder, shlex, textwrap])
def test_the_right_answer_before_the_editors_closers(module: ModuleType) -> None:
    """Where the editor has closed a call, the right answer becomes a beginning of itself, never broken."""
    source = inspect.getsource(module)
    checked = 0
    for cursor, end in _cursors(source):
        text = source[cursor:end]
        if source[cursor - 1] != "(" or text.startswith(")"):
            continue
        found = clean(
            text, prefix=source[:cursor], suffix=")" + source[end:], language="python", eol="\n"
        ).text
        assert text.startswith(found.rstrip("\n "))
        opened = scan_prefix(source[:cursor], "python")
        assert scan_text(found + ")", opened, "python").surplus == 0
        assert scan_text(found + ")", opened, "python").string_end == ""
        checked += 1
    assert checked > 10


def _cursors(source: str) -> list[tuple[int, int]]:
    """(cursor, end of its logical line) at the second, fourth ... token of lines without comments."""
    offsets = [0]
    for line in source.splitlines(keepends=True):
        offsets.append(offsets[-1] + len(line))
    found: list[tuple[int, int]] = []
    starts: list[int] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        place = offsets[token.start[0] - 1] + token.start[1] if token.type != tokenize.ENDMARKER else 0
        if token.type == tokenize.NEWLINE:
            found += [(start, place) for start in starts[1::2] if "#" not in source[start:place]]
            starts = []
        elif token.type in (tokenize.NAME, tokenize.OP, tokenize.NUMBER, tokenize.STRING):
            starts.append(place)
    return [(start, end) for start, end in found if source[start:end].count("\n") < 8]
