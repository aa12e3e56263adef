"""Where in a text is a position, in each encoding, and what does a change make of it?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mccomd.documents import MAX_DOCUMENTS, Documents, apply_change, offset_of, split_at
from mccomd.errors import RequestError
from mccomd.protocol import DocumentChange, DocumentOpen, Position, PositionEncoding, Range, TextChange

UTF8, UTF16, UTF32 = PositionEncoding.UTF8, PositionEncoding.UTF16, PositionEncoding.UTF32
ESCAPED = b"caf\xe9 x".decode("utf-8", "surrogateescape")


@pytest.mark.parametrize(
    ("text", "line", "column", "encoding", "left"),
    [
        ("abc", 0, 0, UTF32, ""),
        ("abc", 0, 2, UTF32, "ab"),
        ("abc", 0, 99, UTF32, "abc"),
        ("abc", 5, 0, UTF32, "abc"),
        ("", 0, 0, UTF32, ""),
        ("a\nb\nc", 1, 1, UTF32, "a\nb"),
        ("a\nb", 0, 99, UTF32, "a"),
        ("a\r\nb\r\nc", 1, 1, UTF32, "a\r\nb"),
        ("a\r\nb", 0, 99, UTF32, "a"),
        ("a\rb", 1, 1, UTF32, "a\rb"),
        ("a\x0cb\u2028c", 0, 3, UTF32, "a\x0cb"),  # neither a form feed nor U+2028 ends a line
        ("é = 1", 0, 2, UTF8, "é"),
        ("é = 1", 0, 1, UTF8, ""),  # inside a character: before it
        ("𝒳 = 1", 0, 4, UTF8, "𝒳"),
        ("𝒳 = 1", 0, 2, UTF16, "𝒳"),
        ("𝒳 = 1", 0, 1, UTF32, "𝒳"),
        ("日本", 0, 3, UTF8, "日"),
        ("日本", 0, 1, UTF16, "日"),
        (ESCAPED, 0, 5, UTF8, ESCAPED[:5]),  # a byte that is not UTF-8 is one byte
    ],
)
def test_offset(text: str, line: int, column: int, encoding: PositionEncoding, left: str) -> None:
    assert split_at(text, Position(line, column), encoding)[0] == left


@given(st.text(alphabet="aé日𝒳\n\r ", max_size=40), st.data())
def test_every_offset_has_a_position_in_every_encoding(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text)))
    if text[at - 1 : at + 1] == "\r\n":
        return  # between the two no position exists
    before = text[:at].replace("\r\n", "\n").replace("\r", "\n")
    line, last = before.count("\n"), before.rpartition("\n")[2]
    for encoding, column in (
        (UTF8, len(last.encode())),
        (UTF16, len(last.encode("utf-16-le")) // 2),
        (UTF32, len(last)),
    ):
        assert offset_of(text, Position(line, column), encoding) == at


def at(line: int, column: int) -> Position:
    return Position(line, column)


@pytest.mark.parametrize(
    ("text", "change", "after"),
    [
        ("abc", TextChange("new"), "new"),
        ("abc", TextChange("X", Range(at(0, 1), at(0, 2))), "aXc"),
        ("a\nb\nc", TextChange("", Range(at(0, 1), at(2, 0))), "ac"),
        ("a\nb", TextChange("\nz", Range(at(9, 9), at(9, 9))), "a\nb\nz"),
        ("é b", TextChange("X", Range(at(0, 3), at(0, 4))), "é X"),
    ],
)
def test_change(text: str, change: TextChange, after: str) -> None:
    assert apply_change(text, change, UTF8) == after


def test_a_bad_change_changes_nothing() -> None:
    documents = Documents()
    documents.open(DocumentOpen("/a.py", "abc"))
    changes = [TextChange("X"), TextChange("", Range(at(0, 1), at(0, 0)))]
    with pytest.raises(RequestError, match="ends before it starts"):
        documents.change(DocumentChange("/a.py", 2, changes))
    found = documents.get("/a.py")
    assert found is not None
    assert (found.text, found.version) == ("abc", 0)


def test_the_others_come_newest_first() -> None:
    documents = Documents()
    for name in "abc":
        documents.open(DocumentOpen(f"/{name}.py", name))
    documents.change(DocumentChange("/a.py", 1, [TextChange("changed")]))
    assert [doc.path for doc in documents.others("/b.py")] == ["/a.py", "/c.py"]


def test_closing_twice_is_no_error_and_opening_is_bounded() -> None:
    documents = Documents()
    documents.close("/never.py")
    for number in range(MAX_DOCUMENTS):
        documents.open(DocumentOpen(f"/{number}.py", ""))
    with pytest.raises(RequestError, match="close some"):
        documents.open(DocumentOpen("/one-more.py", ""))
    documents.open(DocumentOpen("/0.py", "again"))


def test_the_language_comes_from_the_client_or_the_name() -> None:
    documents = Documents()
    assert documents.open(DocumentOpen("/a.py", "")).language == "python"
    assert documents.open(DocumentOpen("/a.py", "", language="rust")).language == "rust"
