"""What the messages of every part are made of: places, errors, nothing."""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = [
    "Count",
    "Empty",
    "ErrorCode",
    "Path",
    "Position",
    "PositionEncoding",
    "Range",
]

Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Path = Annotated[str, Meta(pattern=r"^/[^\x00]*\Z", max_length=4096, description="absolute")]


class ErrorCode(enum.StrEnum):
    """The first item of an error `[code, message]`."""

    BAD_REQUEST = "bad_request"  # not a msgpack-RPC message
    UNKNOWN_METHOD = "unknown_method"
    BAD_PARAMS = "bad_params"
    UNKNOWN_DOCUMENT = "unknown_document"  # neither `text` nor an open document of that path
    STALE_VERSION = "stale_version"  # the request names another version of the document than the daemon has
    UNKNOWN_REQUEST = "unknown_request"  # feedback on a completion the daemon does not remember
    NO_REPOSITORY = "no_repository"
    INDEX_FAILED = "index_failed"
    TOO_BUSY = "too_busy"
    SHUTTING_DOWN = "shutting_down"
    INTERNAL = "internal"


class PositionEncoding(enum.StrEnum):
    """What one column is."""

    UTF8 = "utf-8"  # a byte
    UTF16 = "utf-16"  # a UTF-16 code unit, as in LSP
    UTF32 = "utf-32"  # a code point


class Position(msgspec.Struct, frozen=True):
    """A place between two characters. Beyond the end of a line it is the end of the line."""

    line: Count
    column: Count


class Range(msgspec.Struct, frozen=True):
    start: Position
    end: Position


class Empty(msgspec.Struct, frozen=True):
    """No parameters."""
