"""Framing: any cut of a stream gives the same messages; anything else is a ProtocolError, never more."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mccomd.errors import FrameTooLargeError, ProtocolError
from mccomd.rpc import Decoder, Message, Notification, Request, Response, encode

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
PARAMS = st.dictionaries(st.text(max_size=8), VALUES, max_size=4)
IDS = st.integers(0, 2**32 - 1)
MESSAGES = st.one_of(
    st.builds(Request, IDS, st.text(max_size=12), PARAMS),
    st.builds(Response, IDS | st.none(), st.none() | st.just(["bad_params", "no"]), VALUES),
    st.builds(Notification, st.text(max_size=12), PARAMS),
)


@given(st.lists(MESSAGES, max_size=5), st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_any_cut_of_the_stream_gives_the_same_messages(messages: list[Message], cuts: list[int]) -> None:
    stream = b"".join(encode(message) for message in messages)
    decoder, got, at = Decoder(), [], 0
    for turn in range(len(stream) + 1):
        piece = stream[at : at + cuts[turn % len(cuts)]]
        if not piece:
            break
        got += decoder.feed(piece)
        at += len(piece)
    assert got == messages


@given(st.binary(max_size=300))
def test_garbage_is_a_protocol_error_or_incomplete(data: bytes) -> None:
    try:
        Decoder().feed(data)
    except ProtocolError:
        return


@pytest.mark.parametrize(
    "raw",
    [
        1,
        "complete",
        [],
        [0],
        [0, 1, "m"],
        [0, -1, "m", []],
        [0, True, "m", []],
        [0, 2**32, "m", []],
        [0, 1, 5, []],
        [0, 1, "m", {}],
        [0, 1, "m", [1, 2]],
        [2, "m"],
        [3, 1, "m", []],
        {"id": 1},
    ],
)
def test_a_value_that_is_no_message_is_refused(raw: object) -> None:
    with pytest.raises(ProtocolError, match="not a msgpack-RPC message"):
        Decoder().feed(msgpack.packb(raw))


def test_no_params_are_an_empty_map() -> None:
    assert Decoder().feed(msgpack.packb([0, 1, "status", []])) == [Request(1, "status", {})]


def test_messages_before_the_bad_bytes_are_not_lost() -> None:
    with pytest.raises(ProtocolError) as caught:
        Decoder().feed(encode(Request(7, "status", {})) + b"\xc1")
    assert caught.value.read == [Request(7, "status", {})]


def test_a_frame_over_the_cap_is_refused_before_it_is_whole() -> None:
    decoder = Decoder(max_message_bytes=1000)
    frame = encode(Request(1, "complete", {"text": "x" * 5000}))
    for start in range(0, 1000, 100):
        assert decoder.feed(frame[start : start + 100]) == []
    with pytest.raises(FrameTooLargeError, match="larger than 1000 bytes"):
        decoder.feed(frame[1000:1100])


def test_an_announced_length_alone_takes_no_memory() -> None:
    """A header that promises 4 GB of text, or of items, is refused or waited for, not allocated."""
    assert Decoder().feed(b"\x94\x00\x01\xdb\xff\xff\xff\xff") == []
    with pytest.raises(ProtocolError):
        Decoder().feed(b"\xdd\xff\xff\xff\xff")


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(ProtocolError):
        Decoder().feed(b"\x91" * 100_000)


def test_text_that_is_not_utf8_survives() -> None:
    text = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert Decoder().feed(encode(Notification("m", {"text": text}))) == [Notification("m", {"text": text})]


def test_extension_types_are_refused() -> None:
    with pytest.raises(ProtocolError):
        Decoder().feed(msgpack.packb([2, "m", [{"x": msgpack.ExtType(5, b"abc")}]]))
