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
    "CloudCall",
    "CloudParams",
    "CloudResult",
    "CloudStatus",
    "CompleteParams",
    "Completion",
    "CompletionStats",
    "CurvePoint",
    "DocumentChange",
    "DocumentClose",
    "DocumentOpen",
    "Empty",
    "ErrorCode",
    "ExplainParams",
    "ExplainResult",
    "ExplainedSnippet",
    "Feedback",
    "FeedbackKind",
    "InitializeParams",
    "InitializeResult",
    "ModelStatus",
    "MonthStatus",
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
    "RouterStatus",
    "SearchHit",
    "SearchParams",
    "SearchResult",
    "ShadowStatus",
    "SnippetInfo",
    "StatusResult",
    "TextChange",
    "TuneParams",
    "TuneResult",
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
    finish: str  # stop, length, unsure, deadline, cancelled, abandoned, held, none
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


class ExplainParams(msgspec.Struct, frozen=True):
    request_id: Annotated[str, Meta(max_length=100)] = "last"  # the newest answer of any client
    prompt: bool = False  # the prompt's text, too


class ExplainedSnippet(msgspec.Struct, frozen=True):
    path: str
    start_line: int  # 1-based, inclusive
    end_line: int
    score: float
    commit: str
    source: str
    used_by: str  # local, cloud, both


class CloudCall(msgspec.Struct, frozen=True):
    """What a large model was asked for an answer, and what came of it."""

    backend: str
    endpoint: str
    model: str
    strategy: str
    why: str
    drafted: int
    accepted: int
    prompt_tokens: int
    output_tokens: int
    requests: int
    bytes_sent: int
    bytes_received: int
    cost: float
    first_ms: float | None
    ms: float
    masked: list[str]
    dropped: str
    error: str
    done: bool  # False: it is still under way


class ExplainResult(msgspec.Struct, frozen=True):
    """How one answer came about. The daemon remembers the newest few hundred, in memory only."""

    request_id: str
    path: str
    line: int
    column: int
    age_s: float
    source: str
    model: str
    finish: str
    reason: str
    route: str
    confidence: float
    threshold: float
    threshold_why: str
    shadow: str
    text: str
    verdict: str
    drafted: int
    accepted: int
    prefilled: int
    reused: int
    generated: int
    prompt_tokens: int
    prompt: str
    stages_ms: dict[str, float]
    snippets: list[ExplainedSnippet]
    rejected: str
    cloud: CloudCall | None
    updates: list[str]
    bytes_sent: int
    cost: float


class TuneParams(msgspec.Struct, frozen=True):
    """Show what thresholds would mean; with `apply` put the proposal into force, with `reset` end that."""

    aim: Annotated[str, Meta(pattern=r"^(|threshold|share|precision|budget)\Z")] = ""
    wish: Annotated[float, Meta(ge=0)] | None = None
    apply: bool = False
    reset: bool = False


class CurvePoint(msgspec.Struct, frozen=True):
    threshold: float
    share: float
    precision: float
    kept: float
    calls_month: float
    tokens_month: float
    money_month: float


class ShadowStatus(msgspec.Struct, frozen=True):
    """Two routers over the same requests."""

    name: str  # "" when there is none
    requests: int
    both: int
    only_router: int
    only_shadow: int
    neither: int
    router_kept_good: float
    shadow_kept_good: float


class RouterStatus(msgspec.Struct, frozen=True):
    name: str
    threshold: float
    why: str
    shadow: ShadowStatus


class MonthStatus(msgspec.Struct, frozen=True):
    """What the large model cost this month."""

    month: str
    calls: int
    tokens: int
    money: float
    limit_tokens: int
    limit_money: float
    reason: str


class TuneResult(msgspec.Struct, frozen=True):
    model: str
    aim: str
    wish: float
    threshold: float
    why: str
    proposed: float | None
    reason: str
    applied: bool
    calibration: str
    calibrated: float
    own_answers: int
    own_judged: int
    requests_month: float
    tokens_call: float
    curve: list[CurvePoint]
    month: MonthStatus
    shadow: ShadowStatus


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


class CloudParams(msgspec.Struct, frozen=True):
    """What is known of the large model's endpoint; with `probe` after trying what it can do."""

    probe: bool = False


class CloudResult(msgspec.Struct, frozen=True):
    status: CloudStatus
    caps: dict[str, Any]  # what it can do; `proved` is false for what documentation says only
    estimates: dict[str, Any]  # running means; null until there is a sample
    strategies: dict[str, Any]  # for each that was used: calls, gain over plain, why it is off


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
    router: RouterStatus
    month: MonthStatus
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
    "explain": ExplainParams,
    "tune": TuneParams,
    "refresh": RefreshParams,
    "search": SearchParams,
    "preview": PreviewParams,
    "status": Empty,
    "cloud": CloudParams,
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
