"""Streams as servers really write them, cut at any place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mccomd.cloud.sse import MAX_LINE_BYTES, JsonLines, ServerSentEvents, error_in
from mccomd.errors import CloudError

STREAMS: list[tuple[str, list[dict[str, Any]]]] = [
    ('data: {"a": 1}\n\ndata: {"a": 2}\n\ndata: [DONE]\n\n', [{"a": 1}, {"a": 2}]),
    ('data:{"a":1}\n\ndata:[DONE]\n\n', [{"a": 1}]),
    (': ping\n\ndata: {"a": 1}\r\n\r\n: ping\n\n', [{"a": 1}]),
    ('event: x\nid: 3\nretry: 5\ndata: {"a": 1}\n\n', [{"a": 1}]),
    ('data: {"a":\ndata: 1}\n\n', [{"a": 1}]),
    ('data: {"a": 1}', [{"a": 1}]),  # no blank line, no [DONE]
    ('data: {"a": 1}\n\ndata: [DONE]\n\ndata: {"a": 2}\n\n', [{"a": 1}]),
    ('\n\n{"choices": []}\n', [{"choices": []}]),  # no stream at all
    ('{\n  "choices": [\n  ]\n}\n', [{"choices": []}]),
    ("", []),
    ("data: \n\n", []),
    ('data: {"a": "é\\n"}\n\n', [{"a": "é\n"}]),
]


@pytest.mark.parametrize(("stream", "expected"), STREAMS)
def test_streams(stream: str, expected: list[dict[str, Any]]) -> None:
    parser = ServerSentEvents()
    assert [*parser.feed(stream.encode()), *parser.end()] == expected


@given(st.sampled_from(STREAMS), st.data())
def test_where_it_is_cut_makes_no_difference(
    case: tuple[str, list[dict[str, Any]]], data: st.DataObject
) -> None:
    stream, expected = case[0].encode(), case[1]
    parser, found = ServerSentEvents(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += parser.feed(stream[:size])
        stream = stream[size:]
    assert [*found, *parser.end()] == expected


@given(
    st.lists(st.dictionaries(st.text(max_size=5), st.integers() | st.text(), max_size=3)), st.integers(1, 50)
)
def test_one_object_a_line(items: list[dict[str, Any]], size: int) -> None:
    items = [{f"k{key}": value for key, value in item.items()} for item in items]
    data = "".join(json.dumps(item) + "\n" for item in items).encode()
    parser, found = JsonLines(), []
    for i in range(0, len(data), size):
        found += parser.feed(data[i : i + size])
    assert [*found, *parser.end()] == items


def test_one_object_a_line_ends_where_it_says_so() -> None:
    parser = JsonLines()
    assert parser.feed(b'{"response": "a", "done": false}\n{"response": "", "done": true}\n') == [
        {"response": "a", "done": False},
        {"response": "", "done": True},
    ]
    assert parser.done
    assert parser.feed(b'{"response": "b"}\n') == []


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        ('data: {"error": {"message": "no\\n memory"}}\n\n', "the endpoint reports: no memory"),
        ('{"error": "model not found"}\n', "the endpoint reports: model not found"),
        (
            'data: {"object": "error", "message": "too long", "code": 400}\n\n',
            "the endpoint reports: too long",
        ),
        ('data: {"detail": "x"}\n\n', "the endpoint reports: x"),
        ("data: {\n\n", "no JSON"),
        ("data: 3\n\n", "sent a int"),
        ("data: " + "[" * 3000 + "\n\n", "no JSON"),
        ("data: \xff\n\n", "no JSON"),
    ],
)
def test_what_is_no_answer_is_an_error(stream: str, said: str) -> None:
    parser = ServerSentEvents()
    with pytest.raises(CloudError, match=said):
        _ = [*parser.feed(stream.encode("latin-1")), *parser.end()]


def test_a_line_without_end_is_not_kept() -> None:
    parser = ServerSentEvents()
    for _ in range(MAX_LINE_BYTES // 100_000):
        parser.feed(b"x" * 100_000)
    with pytest.raises(CloudError, match="more than"):
        parser.feed(b"x" * 100_000)


@pytest.mark.parametrize(
    "body", [None, 3, [], {}, {"error": None}, {"error": ""}, {"choices": [], "detail": "fine"}]
)
def test_no_error(body: object) -> None:
    assert error_in(body) == ""
