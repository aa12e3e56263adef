"""All that crosses the socket: one Struct for each method's parameters and for each result.

Knows neither bytes (rpc.py) nor what the daemon does with a request (server.py). Positions count from
zero; columns count in the encoding that `initialize` agreed on. Unknown fields are ignored, wrong types
are answered with `bad_params`. contrib/README.md shows the same on one page.
"""

from __future__ import annotations

import enum
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from mccomd.errors import RequestError

__all__ = [
    "METHODS",
    "NOTIFY_PROGRESS",
    "NOTIFY_UPDATE",
    "PROTOCOL_VERSION",
    "CloudStatus",
    "CompleteParams",
    "Completion",
    "CompletionStats",
    "DocumentChange",
    "DocumentClose",
    "DocumentOpen",
    "Empty",
    "ErrorCode",
    "Feedback",
    "FeedbackKind",
    "InitializeParams",
    "InitializeResult",
    "ModelStatus",
    "PluginStatus",
    "Position",
    "PositionEncoding",
    "PowerStatus",
    "PreviewParams",
    "PreviewRequest",
    "PreviewResult",
    "PreviewSnippet",
    "Progress",
    "Range",
    "RefreshParams",
    "RefreshResult",
    "RepositoryStatus",
    "SearchHit",
    "SearchParams",
    "SearchResult",
    "SnippetInfo",
    "StatusResult",
    "TextChange",
    "Update",
    "WarmParams",
    "WarmResult",
    "parse",
    "to_wire",
]

PROTOCOL_VERSION = 1

NOTIFY_UPDATE = "update"
NOTIFY_PROGRESS = "progress"

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


class InitializeParams(msgspec.Struct, frozen=True):
    client: Annotated[str, Meta(max_length=200)] = ""
    version: Annotated[str, Meta(max_length=200)] = ""
    position_encoding: PositionEncoding = PositionEncoding.UTF32


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
    confidence: float  # 0..1, the router's; the built-in one's is the mean probability of the first 3 tokens
    ms: float
    finish: str  # stop, length, deadline, cancelled, abandoned, none
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
    """Notification: a better text for an earlier completion, valid only at its position and version."""

    request_id: str
    path: str
    version: int
    position: Position
    text: str
    source: str
    model: str
    ms: float


class FeedbackKind(enum.StrEnum):
    SHOWN = "shown"
    ACCEPTED = "accepted"
    PARTIALLY_ACCEPTED = "partially_accepted"
    DISMISSED = "dismissed"


class Feedback(msgspec.Struct, frozen=True):
    request_id: Annotated[str, Meta(max_length=100)]
    kind: FeedbackKind
    characters: Count = 0  # with partially_accepted: code points taken so far, from the start of the text


class RefreshParams(msgspec.Struct, frozen=True):
    path: Path
    wait: bool = True  # answer when the index is current, else as soon as the work is queued
    rebuild: bool = False


class RefreshResult(msgspec.Struct, frozen=True):
    repository: str
    state: str
    reason: str
    head: str
    behind: int
    overlay_files: int
    files: int
    chunks: int
    changed_files: int
    rebuilt: bool
    ms: float


class Progress(msgspec.Struct, frozen=True):
    """Notification to clients that wait for a `refresh`."""

    repository: str
    files: int
    total: int
    mb: float


class PreviewParams(msgspec.Struct, frozen=True):
    """What would leave this machine for a completion of `text` at `position`? Nothing does."""

    path: Path
    position: Position
    text: str
    language: Annotated[str, Meta(max_length=100)] = ""
    deadline_ms: Annotated[int, Meta(ge=1, le=60_000)] = 10_000


class PreviewSnippet(msgspec.Struct, frozen=True):
    path: str
    text: str


class PreviewRequest(msgspec.Struct, frozen=True):
    endpoint: str
    bytes: int
    sha256: str
    masked: list[str]
    body: str


class PreviewResult(msgspec.Struct, frozen=True):
    refusal: str  # why nothing would leave
    masked: list[str]
    prefix: str
    suffix: str
    draft: str
    snippets: list[PreviewSnippet]
    requests: list[PreviewRequest]


class SearchParams(msgspec.Struct, frozen=True):
    query: Annotated[str, Meta(max_length=100_000)]
    path: Path  # any path in the repository
    limit: Annotated[int, Meta(ge=1, le=100)] = 10


class SearchHit(msgspec.Struct, frozen=True):
    path: str
    start_line: int
    end_line: int
    score: float
    commit: str
    text: str


class SearchResult(msgspec.Struct, frozen=True):
    repository: str
    state: str
    hits: list[SearchHit]
    ms: float


class ModelStatus(msgspec.Struct, frozen=True):
    name: str
    loaded: bool
    state: str  # loading, ready, unloaded (comes back by itself), failed
    reason: str


class PowerStatus(msgspec.Struct, frozen=True):
    mode: str  # full, saver
    reason: str


class RepositoryStatus(msgspec.Struct, frozen=True):
    repository: str
    state: str
    reason: str
    head: str
    behind: int
    overlay_files: int
    files: int
    chunks: int
    indexing: bool
    progress: float  # 0..1 of a running refresh
    watch: str  # starting, events, polling, stopped; off: nobody has worked there yet
    watch_reason: str  # why it is polling or stopped


class PluginStatus(msgspec.Struct, frozen=True):
    name: str
    kind: str  # retriever, router, backend; "plugin" when it never got so far
    version: str
    state: str  # loaded, off, failed
    reason: str


class CloudStatus(msgspec.Struct, frozen=True):
    """The large model's endpoint."""

    backend: str  # "" when none is configured
    endpoint: str
    model: str
    state: str  # none, offline, ready, cooling, looking, off, failed
    reason: str


class CompletionStats(msgspec.Struct, frozen=True):
    requests: int
    answered: int  # with a text
    from_cache: int  # of these, without the model
    empty: int  # without one: see each answer's reason
    superseded: int
    shown: int
    accepted: int
    partially_accepted: int
    dismissed: int
    p50_ms: float
    p95_ms: float


class StatusResult(msgspec.Struct, frozen=True):
    version: str
    pid: int
    uptime_s: float
    socket: str
    config_file: str
    config_problem: str
    log_file: str
    model: ModelStatus
    power: PowerStatus
    repositories: list[RepositoryStatus]
    plugins: list[PluginStatus]
    cloud: CloudStatus
    clients: int
    completions: CompletionStats
    rss_mb: float


METHODS: dict[str, type[msgspec.Struct]] = {
    "initialize": InitializeParams,
    "document/open": DocumentOpen,
    "document/change": DocumentChange,
    "document/close": DocumentClose,
    "complete": CompleteParams,
    "feedback": Feedback,
    "warm": WarmParams,
    "refresh": RefreshParams,
    "search": SearchParams,
    "preview": PreviewParams,
    "status": Empty,
    "shutdown": Empty,
}

S = TypeVar("S", bound=msgspec.Struct)


def parse(kind: type[S], raw: object) -> S:
    """Typed parameters from decoded msgpack.

    Raises RequestError(bad_params) naming the field.
    """
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise RequestError(ErrorCode.BAD_PARAMS, str(error)) from error
    except (UnicodeError, RecursionError, ValueError) as error:
        raise RequestError(ErrorCode.BAD_PARAMS, f"cannot read the parameters: {error}") from error


def to_wire(message: msgspec.Struct) -> Any:
    """The maps, lists and scalars that msgpack packs."""
    return msgspec.to_builtins(message)
