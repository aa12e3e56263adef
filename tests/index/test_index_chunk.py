from __future__ import annotations

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mccomd_index import Lines, definitions, lines_between
from mccomd_index.chunk import BLOCKS, LONGEST_DEFINITION, MAX_CHARS, WINDOW, chunk, decode, split_lines


def check(text: str, expected: list[tuple[int, int]], language: str = "python") -> None:
    lines = split_lines(text)
    defined = definitions("\n".join(lines), language)
    assert [tuple(found) for found in chunk(lines, language, defined)] == expected


def function(name: str, lines: int, margin: str = "") -> str:
    body = "".join(f"{margin}    value_{number} = {number}\n" for number in range(lines - 1))
    return f"{margin}def {name}():\n{body}"


@pytest.mark.parametrize("text", ["", "\n", "\n \n\t\n\f\r\n", "   "])
def test_blank_files_have_no_chunks(text: str) -> None:
    check(text, [])
    check(text, [], "text")


def test_a_short_file_is_one_chunk_without_its_blank_edges() -> None:
    check("\n\nimport os\n\nx = 1\n\n\n", [(3, 5)])
    check("\n\none\n\ntwo\n\n", [(3, 5)], "text")


def test_short_neighbours_are_joined_and_a_definition_is_not_cut() -> None:
    check(function("a", 10) + "\n" + function("b", 10), [(1, 21)])
    check(function("a", 20) + "\n" + function("b", 20), [(1, 20), (22, 41)])


def test_a_long_definition_is_cut_into_windows_that_overlap() -> None:
    check(function("a", LONGEST_DEFINITION), [(1, 40)])
    check(function("a", 60), [(1, 24), (17, 40), (33, 56), (49, 60)])


def test_methods_are_pieces_and_nested_functions_are_not() -> None:
    text = "class A:\n" + function("one", 18, "    ") + function("two", 18, "    ")
    check(text, [(1, 19), (20, 37)])
    inner = "def outer():\n" + function("one", 18, "    ") + function("two", 18, "    ")
    check(inner, [(1, 37)])


def test_the_head_of_a_class_stays_with_a_long_first_method() -> None:
    check("class A:\n" + function("one", 30, "    ") + function("two", 20, "    "), [(1, 31), (32, 51)])
    check("class A:\n" + function("one", 45, "    "), [(1, 24), (17, 40), (33, 46)])


def test_decorators_and_the_comment_above_belong_to_the_definition() -> None:
    text = function("a", 22) + "\n# about b\n@first(\n    1,\n)\n@second\n" + function("b", 20)
    check(text, [(1, 22), (24, 48)])


def test_code_at_the_margin_ends_a_definition() -> None:
    text = function("a", 20) + "\n" + "".join(f"name_{number} = {number}\n" for number in range(20))
    check(text, [(1, 20), (22, 41)])


def test_definitions_under_a_condition_at_the_margin_are_found() -> None:
    text = function("a", 20) + "if PY3:\n" + function("b", 20, "    ") + function("c", 20, "    ")
    check(text, [(1, 21), (22, 41), (42, 61)])


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("margin", ["    ", "\t", "\f"])
def test_line_ends_tabs_and_form_feeds_do_not_matter(end: str, margin: str) -> None:
    text = function("a", 20) + "\n" + function("b", 20)
    check(text.replace("    ", margin).replace("\n", end), [(1, 20), (22, 41)])


def test_broken_code_still_has_chunks() -> None:
    text = textwrap.dedent(
        """\
        def half(
        class Broken(:
            def method(self
        @
        def (no name):
        '''never closed
        """
    )
    check(text, [(1, 6)])


def test_indented_lines_that_begin_like_definitions_end_nothing() -> None:
    """`default = 1` and `classify()` inside a method were once taken for code at the margin."""
    body = "".join(f"        default_{number} = 1\n        classify(async_io)\n" for number in range(9))
    check(f"class A:\n    def one(self):\n{body}    def two(self):\n{body}", [(1, 20), (21, 39)])
    nested = f"def outer():\n    default = 1\n{function('inner', 30, '    ')}"
    check(nested, [(1, 32)])


def test_prose_about_classes_is_no_definition() -> None:
    check("text\n" * 20 + "class of functions\n" + "text\n" * 10, [(1, 31)])


def test_other_languages_have_windows_that_overlap_by_half() -> None:
    check("line\n" * 60, [(1, 24), (13, 36), (25, 48), (37, 60)], "go")


def test_a_paragraph_a_line_is_halved_until_it_fits() -> None:
    paragraph = "word " * 500
    spans = chunk([paragraph] * 20, "text")
    assert max(len(paragraph) * (end - start + 1) for start, end in spans) <= MAX_CHARS
    check("x" * (MAX_CHARS * 2), [(1, 1)], "text")


sources = st.lists(
    st.sampled_from(
        [
            "",
            "    ",
            "def f():",
            "    def g(self):",
            "class A:",
            "@wrap",
            "# note",
            "x = 1",
            "    return",
            "\tdef h():",
        ]
    ),
    max_size=150,
)


@given(sources, st.sampled_from(["python", "text"]))
def test_every_line_with_text_is_in_a_chunk_and_chunks_are_small(lines: list[str], language: str) -> None:
    spans = chunk(lines, language, definitions("\n".join(lines), language))
    covered = {number for start, end in spans for number in range(start, end + 1)}
    assert covered >= {number for number, line in enumerate(lines, 1) if line.strip()}
    assert covered <= set(range(1, len(lines) + 1))
    assert all(start <= end and end - start < max(WINDOW, LONGEST_DEFINITION) for start, end in spans)
    assert spans == sorted(spans)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"plain", "plain"),
        ("größe".encode(), "größe"),
        ("größe".encode("latin-1"), "größe"),
        (b"\xef\xbb\xbfbom", "bom"),
        ("é".encode() * 9 + b"\xff", "é" * 9 + "\ufffd"),
        (b"\xed\xa0\x80", "í\xa0\x80"),  # a lone surrogate is no UTF-8
    ],
)
def test_bytes_as_text(data: bytes, expected: str) -> None:
    assert decode(data) == expected


@given(st.binary())
def test_any_bytes_are_some_text(data: bytes) -> None:
    assert isinstance(decode(data), str)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\nb", ["a", "b"]),
        ("a\r\nb\r\n", ["a", "b", ""]),
        ("a\x0cb\x0bc\u2028d\re\n", ["a\x0cb\x0bc\u2028d\re", ""]),
    ],
)
def test_lines_are_those_of_editors(text: str, expected: list[str]) -> None:
    assert split_lines(text) == expected


@given(
    st.lists(
        st.sampled_from(["", "a", "b\r", "é" * 900, "x" * BLOCKS[0], "y" * (BLOCKS[1] - 1)]), max_size=30
    ),
    st.integers(1, 40),
    st.integers(0, 9),
)
def test_lines_of_a_text_without_splitting_all_of_it(lines: list[str], first: int, more: int) -> None:
    text = "\n".join(lines)
    assert lines_between(text, first, first + more) == split_lines(text)[first - 1 : first + more]


@given(
    st.lists(st.sampled_from(["", "a", "é" * 90, "x" * BLOCKS[0], "y" * (BLOCKS[1] - 1)]), max_size=30),
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, 9)), max_size=8),
)
def test_lines_of_a_text_in_any_order(lines: list[str], spans: list[tuple[int, int]]) -> None:
    text = "\n".join(lines)
    known = Lines(text)
    for first, more in spans:
        assert known.between(first, first + more) == split_lines(text)[first - 1 : first + more]


def test_a_parsed_language_is_cut_at_its_functions() -> None:
    body = "    x += 1;\n" * 18
    text = f"// one\nint one(void)\n{{\n{body}}}\n\n/* two */\nint two(void)\n{{\n{body}}}\n"
    lines = split_lines(text)
    assert [tuple(found) for found in chunk(lines, "c", definitions(text, "c"))] == [(1, 22), (24, 45)]
    assert chunk(lines, "c") == chunk(lines, "text")


@given(
    st.lists(
        st.sampled_from(["int f(void) {", "}", "struct s {", "  x;", "", "#define A", "// c"]), max_size=60
    )
)
def test_every_line_of_a_parsed_language_is_in_a_chunk(lines: list[str]) -> None:
    found = chunk(lines, "c", definitions("\n".join(lines), "c"))
    covered = {line for start, end in found for line in range(start, end + 1)}
    assert {number for number, line in enumerate(lines, 1) if line.strip()} <= covered
    assert all(1 <= start <= end <= len(lines) for start, end in found)
