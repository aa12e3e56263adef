"""What the text below the cursor makes the answer leave open."""

from __future__ import annotations

import pytest

from mccomd.opening import left_open, misses, wanted_open


@pytest.mark.parametrize(
    ("language", "prefix", "suffix", "expected"),
    [
        ("go", "package a\n\n", "\n\treturn a\n}\n", "{"),
        ("go", "func (a A) Name()", "\n\treturn a\n}\n", "{"),
        ("go", "func f() {\n\t", "\n\t\treturn a\n\t}\n}\n", "{"),
        (
            "go",
            "func f() {\n",
            "\n\t\treturn a\n\t}\n}\n",
            "{",
        ),  # at the margin, but the block is one level in
        ("javascript", "", "\n  a();\n});\n", "({"),
        ("javascript", "app.get(", "\n  a();\n});\n", "{"),
        ("javascript", "", "\n  a();\n} else {\n  b();\n}\n", "{"),
        ("rust", "    x => {\n        ", "\n            f,\n            a,\n        )\n    }\n", "("),
        ("rust", "", "\r\n    a,\r\n}\r\n", "{"),
        # what closes below is open already
        ("go", "func f() {\n", "\n\treturn a\n}\n", ""),
        ("go", "func f() {", "\n\treturn a\n}\n", ""),
        ("javascript", "app.get('/', function(req, res) {\n", "\n  a();\n});\n", ""),
        ("javascript", "x = a(", "\n  b\n  ]\n", ""),
        # nothing deeper, text right of the cursor, nothing that closes, or none of the languages
        ("go", "func f() {\n\t", "\n\treturn a\n}\n", ""),
        ("go", "func f() {\n\t", "", ""),
        ("go", "", "x\n\treturn a\n}\n", ""),
        ("rust", "    let x =\n", "\n        .a()\n        .b();\n    y\n", ""),
        ("javascript", "", "\n  a(\n});\n", ""),
        ("javascript", "    ", "\n  a();\n}\n", ""),
        ("javascript", "x = `\n", "\n  a();\n}\n", ""),
        ("javascript", "// a", "\n  a();\n}\n", ""),
        ("python", "x = f(\n", "\n        a,\n    )\n", ""),
        ("json", "", '\n  "a": 1\n}\n', ""),
        ("", "", "\n  a\n}\n", ""),
    ],
)
def test_wanted(language: str, prefix: str, suffix: str, expected: str) -> None:
    assert wanted_open(prefix, suffix, language) == expected


LEAVES = (
    *("break;", "type Files", "Kind::A => 3", "error: 'none'", "Kind::"),
    *("a = b", "pub const A: B = c", "f(a)"),
)


@pytest.mark.parametrize(
    ("text", "wanted", "expected"),
    [
        ("write!(f, x)", "(", "write!("),
        ("write!(f, g(x))", "(", "write!("),
        ("er('index', { title: 'Users' });", "({", "er('index', {"),
        ("a(b(", "(", "a(b("),
        ("key: { a: 1, b: {}, c: 2,", "{", "key: {"),
        ("if x { y", "{", "if x {"),
        ("a(b, {}, |c| {", "({", "a(b, {}, |c| {"),
        ("if x { // why", "{", "if x { // why"),
        ("a = b", "{", "a = b"),
        ("pub(crate) const fn f() -> u8", "{", "pub(crate) const fn f() -> u8 {"),
        ("pub const A: B = c", "{", "pub const A: B = c"),
        ("Kind::A =>", "{", "Kind::A => {"),
        ("f(a)", "{", "f(a)"),
        ("if x", "{", "if x {"),
        ("if x:", "{", "if x {"),
        ("fn f(a: A) -> None:", "{", "fn f(a: A) {"),
        ("fn f() -> Vec<u8>", "{", "fn f() -> Vec<u8> {"),
        ("app.get('/', (req, res) =>", "({", "app.get('/', (req, res) => {"),
        ("if x {", "{", "if x {"),
        ("if x1", "{", "if x1 {"),
        ("for i in 0..3", "{", "for i in 0..3 {"),
        ("type Files", "{", "type Files"),
        ("type Files struct", "{", "type Files struct {"),
        ("break;", "{", "break;"),
        ("Kind::A => 3", "{", "Kind::A => 3"),
        ("error: 'none'", "{", "error: 'none'"),
        ("Kind::", "{", "Kind::"),
        ("if x {\n  a\n}", "{", "if x {\n  a\n}"),  # a block of its own
        ('x = "a', "{", 'x = "a'),
        ("", "{", ""),
        ("x", "", "x"),
    ],
)
def test_left_open(text: str, wanted: str, expected: str) -> None:
    assert left_open(text, wanted, "", "rust", ended=True) == expected
    assert misses(expected, wanted, "", "rust") is (bool(wanted) and expected in LEAVES)


def test_the_last_bracket_decides() -> None:
    assert not misses("a(function () {", "{", "", "javascript")  # "}).b()" may stand below
    assert misses("a(b", "{", "", "javascript")


def test_what_was_cut_off_gets_no_bracket() -> None:
    assert left_open("if x", "{", "", "go", ended=False) == "if x"


def test_a_huge_text_below_is_not_read() -> None:
    assert wanted_open("", "\n" * 100_000 + "\ta\n}", "go") == ""
    assert wanted_open("", "\n\t" + "x" * 10_000_000, "go") == ""
