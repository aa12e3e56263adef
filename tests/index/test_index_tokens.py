from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mccomd_index import tokens
from mccomd_index.tokens import index_text, query_terms, words_of_names, words_of_spans


def check(text: str, expected: str) -> None:
    assert index_text(text).split(" ") == [*expected.split(), ""]  # a space after each


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("parse", "parse"),
        ("parse_request", "parse_request parse request"),
        ("parseRequest", "parserequest parse request"),
        ("HTTPServer", "httpserver http server"),
        ("parse_HTTPRequest2", "parse_httprequest2 parse http request"),
        ("MAX_SIZE", "max_size max size"),
        ("__init__", "init"),
        ("_private_name", "private_name private name"),
        ("utf8 sha256", "utf8 utf sha256 sha 256"),
        ("x = y + 1", ""),
        ("port 8080 or 80", "port 8080 or"),
        ("a.b_c(d)", "b_c"),
        ("foo-bar/baz.py", "foo bar baz py"),
        ("größe Größe_neu", "größe größe_neu größe neu"),
        ("“quoted” café—bar", "quoted café bar"),
        ("名前 = x", "名前"),
        ("naïveBayes", "naïvebayes naïve bayes"),
        ("ÄPFELBaum2", "äpfelbaum2 äpfel baum"),
        ("f" * 65, ""),
        ("___ * \t\r\n\f", ""),
        ("bad \ud800 surrogate", "bad surrogate"),
        ("ﬁle", "file"),  # a ligature, as Python itself reads it
    ],
)
def test_words(text: str, expected: str) -> None:
    check(text, expected)


def test_a_query_has_each_word_once_in_order() -> None:
    assert query_terms("b_aa aa BB_AA aa bb") == ["b_aa", "aa", "bb_aa", "bb"]


@given(st.text())
def test_any_text_gives_words_that_are_found_by_themselves(text: str) -> None:
    words = index_text(text)
    assert "  " not in words
    for word in words.split():
        assert word in query_terms(word)


def test_memory_of_identifiers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MAX_REMEMBERED", 10)
    index_text(" ".join(f"name{number}" for number in range(100)))
    assert len(tokens._EXPANSIONS) <= 10


@given(
    st.lists(st.text(alphabet="aB_9 é\U0001d4d0\ud800\f", max_size=12), max_size=12),
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=6),
)
def test_spans_of_lines_have_the_words_of_their_texts(lines: list[str], pairs: list[tuple[int, int]]) -> None:
    spans = [(min(pair), max(pair)) for pair in pairs if max(pair) <= len(lines) and pair[0] != pair[1]]
    expected = [index_text("\n".join(lines[start:end])) for start, end in spans]
    assert list(words_of_spans("\n".join(lines), lines, spans)) == expected


@given(st.lists(st.text(alphabet="aB_9é", min_size=1, max_size=9), max_size=5))
def test_names_have_the_words_of_a_text_with_them(names: list[str]) -> None:
    assert words_of_names(names) == index_text(" ".join(names))
