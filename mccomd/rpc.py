"""msgpack-RPC framing: bytes in, messages out. The only file that knows msgpack.

A message is `[0, id, method, [params]]`, `[1, id, error, result]` or `[2, method, [params]]`, with one map
as the only parameter. Text that is not UTF-8 is kept as lone surrogates (PEP 383), so that byte columns
stay right; whoever hands text to the tokenizer replaces them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgpack

from mccomd.errors import FrameTooLargeError, ProtocolError

__all__ = ["MAX_MESSAGE_BYTES", "Decoder", "Message", "Notification", "Request", "Response", "encode"]

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
"""Larger than any source file worth completing in; a cap on what one client can make us hold."""

_MAX_ID = 2**32 - 1
_MAX_ITEMS = 100_000


@dataclass(frozen=True, slots=True)
class Request:
    id: int
    method: str
    params: Any  # a map, {} when none were given; not yet checked


@dataclass(frozen=True, slots=True)
class Response:
    id: int | None  # None: the answer to something that could not be read as a request
    error: list[str] | None  # [code, message]
    result: Any


@dataclass(frozen=True, slots=True)
class Notification:
    method: str
    params: Any


Message = Request | Response | Notification


def encode(message: Message) -> bytes:
    """The bytes of one message."""
    match message:
        case Request(id, method, params):
            wire: list[Any] = [0, id, method, [params]]
        case Response(id, error, result):
            wire = [1, id, error, result]
        case Notification(method, params):
            wire = [2, method, [params]]
    return bytes(msgpack.packb(wire, use_bin_type=True, unicode_errors="surrogateescape"))


class Decoder:
    """A stream of bytes, cut anywhere, to whole messages.

    After an error the stream has no boundaries any more: the caller closes the connection.
    """

    def __init__(self, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._max = max_message_bytes
        self._since_message = 0  # bytes fed since the last whole message
        self._unpacker = msgpack.Unpacker(
            raw=False,
            strict_map_key=True,
            unicode_errors="surrogateescape",
            max_buffer_size=max_message_bytes + 1024 * 1024,
            max_array_len=_MAX_ITEMS,
            max_map_len=_MAX_ITEMS,
            ext_hook=_refuse_extension,
        )

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data` completes, in order.

        Raises FrameTooLargeError and ProtocolError; messages before the bad one in the same `data` are
        in the error's `read` attribute, so that they too are answered.
        """
        messages: list[Message] = []
        try:
            self._since_message += len(data)
            self._unpacker.feed(data)
            for raw in self._unpacker:
                self._since_message = 0
                messages.append(parse_message(raw))
            if self._since_message > self._max:
                raise FrameTooLargeError(f"a message is larger than {self._max} bytes")
        except msgpack.BufferFull as error:
            raise _with_read(
                FrameTooLargeError(f"a message is larger than {self._max} bytes"), messages
            ) from error
        except ProtocolError as error:
            raise _with_read(error, messages) from error
        except (msgpack.UnpackException, ValueError, TypeError) as error:
            text = str(error) or type(error).__name__
            raise _with_read(ProtocolError(f"not a msgpack-RPC message: {text}"), messages) from error
        return messages


def parse_message(raw: object) -> Message:
    """A decoded msgpack value as a message; raises ProtocolError."""
    match raw:
        case [0, int(id), str(method), list(params)] if _is_id(id) and len(params) <= 1:
            return Request(id, method, params[0] if params else {})
        case [1, (int() | None) as id, error, result] if id is None or _is_id(id):
            return Response(id, _error_of(error), result)
        case [2, str(method), list(params)] if len(params) <= 1:
            return Notification(method, params[0] if params else {})
    raise ProtocolError("not a msgpack-RPC message: want [0, id, method, [params]] or [2, method, [params]]")


def _is_id(value: int) -> bool:
    return not isinstance(value, bool) and 0 <= value <= _MAX_ID


def _error_of(raw: object) -> list[str] | None:
    match raw:
        case None:
            return None
        case [code, message]:
            return [str(code), str(message)]
    return ["internal", str(raw)]


def _refuse_extension(code: int, data: bytes) -> object:
    raise ProtocolError(f"msgpack extension type {code} is not part of the protocol")


def _with_read(error: ProtocolError, messages: list[Message]) -> ProtocolError:
    error.read = messages
    return error
