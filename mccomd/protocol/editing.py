"""What an editor says and hears while somebody types: documents, completions, updates, feedback."""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec
from msgspec import Meta

from mccomd.protocol.words import Count, Path, Position, PositionEncoding, Range

__all__ = [
    "CompleteParams",
    "Completion",
    "DocumentChange",
    "DocumentClose",
    "DocumentOpen",
    "Feedback",
    "FeedbackKind",
    "InitializeParams",
    "InitializeResult",
    "SnippetInfo",
    "TextChange",
    "Update",
    "WarmParams",
    "WarmResult",
]


class InitializeParams(msgspec.Struct, frozen=True):
    client: Annotated[str, Meta(max_length=200)] = ""
    version: Annotated[str, Meta(max_length=200)] = ""
    position_encoding: PositionEncoding = PositionEncoding.UTF32
    updates: bool = False  # the client takes `update`; else an unsure answer waits for the large model


class InitializeResult(msgspec.Struct, frozen=True):
    server: str
    version: str
    protocol: int
    position_encoding: PositionEncoding
    methods: list[str]
    max_message_bytes: int


class DocumentOpen(msgspec.Struct, frozen=True):
    path: Path
    text: str
    language: Annotated[str, Meta(max_length=100)] = ""
    version: int = 0


class TextChange(msgspec.Struct, frozen=True):
    """Replace `range` by `text`; without `range` the whole document."""

    text: str
    range: Range | None = None


class DocumentChange(msgspec.Struct, frozen=True):
    path: Path
    version: int
    changes: Annotated[list[TextChange], Meta(max_length=10_000)]


class DocumentClose(msgspec.Struct, frozen=True):
    path: Path


class CompleteParams(msgspec.Struct, frozen=True):
    """Complete at `position` of the open document `path`, or of `text` when it is given."""

    path: Path
    position: Position
    text: str | None = None
    language: Annotated[str, Meta(max_length=100)] = ""
    version: int | None = None
    deadline_ms: Annotated[int, Meta(ge=1, le=60_000)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=256)] | None = None
    wait: bool = False  # for what else would come as an update of the local model's


class WarmParams(msgspec.Struct, frozen=True):
    """Read ahead for a completion at `position` of an open document: nobody waits, nothing is shown."""

    path: Path
    position: Position


class WarmResult(msgspec.Struct, frozen=True):
    tokens: int  # read ahead; 0 when there was nothing to read, or something better to do
    reason: str  # "" or why nothing, or not all, was read


class SnippetInfo(msgspec.Struct, frozen=True):
    path: str
    start_line: int  # 1-based, inclusive
    end_line: int
    score: float
    commit: str
    source: str


class Completion(msgspec.Struct, frozen=True):
    """The one answer to `complete`. An empty `text` comes with a `reason`."""

    request_id: str
    text: str
    source: str  # local, cloud, cache, none
    model: str
    confidence: float  # 0..1, the router's; the built-in one's is the chance that all tokens are right
    ms: float
    finish: str  # stop, length, unsure, deadline, cancelled, abandoned, held, carried, none
    reason: str  # "" or why there is no text, or less than there could be
    route: str  # what the router decided, in its words
    snippets: list[SnippetInfo]
    stages_ms: dict[str, float]
    prefilled: int  # prompt tokens the model had to read
    reused: int  # prompt tokens that were still in its cache
    drafted: int  # tokens guessed from the context
    accepted: int  # of these, the ones the model would have chosen itself
    generated: int  # tokens chosen in all, those of the word at the cursor included; 0 from the cache


class Update(msgspec.Struct, frozen=True):
    """Notification: a better text for an earlier completion, for `position` as `version` has it."""

    request_id: str
    path: str
    version: int
    position: Position
    text: str  # what is not typed yet by then
    source: str  # cloud, local
    model: str
    ms: float
    final: bool  # False: more of the same text will come


class FeedbackKind(enum.StrEnum):
    SHOWN = "shown"
    ACCEPTED = "accepted"
    PARTIALLY_ACCEPTED = "partially_accepted"
    DISMISSED = "dismissed"


class Feedback(msgspec.Struct, frozen=True):
    request_id: Annotated[str, Meta(max_length=100)]
    kind: FeedbackKind
    characters: Count = 0  # with partially_accepted: code points taken so far, from the start of the text
