"""All that crosses the socket: one Struct for each method's parameters and for each result.

Knows neither bytes (rpc.py) nor what the daemon does with a request (server.py). Positions count from
zero; columns count in the encoding that `initialize` agreed on. Unknown fields are ignored, wrong types
are answered with `bad_params`. contrib/README.md shows the same on one page.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from mccomd.errors import RequestError
from mccomd.protocol.answers import (
    CloudCall,
    CurvePoint,
    ExplainedSnippet,
    ExplainParams,
    ExplainResult,
    MonthStatus,
    PreviewParams,
    PreviewRequest,
    PreviewResult,
    PreviewSnippet,
    RouterStatus,
    ShadowStatus,
    TuneParams,
    TuneResult,
)
from mccomd.protocol.editing import (
    CompleteParams,
    Completion,
    DocumentChange,
    DocumentClose,
    DocumentOpen,
    Feedback,
    FeedbackKind,
    InitializeParams,
    InitializeResult,
    SnippetInfo,
    TextChange,
    Update,
    WarmParams,
    WarmResult,
)
from mccomd.protocol.repository import (
    Progress,
    RefreshParams,
    RefreshResult,
    SearchHit,
    SearchParams,
    SearchResult,
)
from mccomd.protocol.state import (
    CloudParams,
    CloudResult,
    CloudStatus,
    CompletionStats,
    ModelStatus,
    NgramStatus,
    PluginStatus,
    PowerStatus,
    RepositoryStatus,
    StatusResult,
)
from mccomd.protocol.words import Empty, ErrorCode, Position, PositionEncoding, Range

__all__ = [
    "METHODS",
    "NOTIFY_PROGRESS",
    "NOTIFY_UPDATE",
    "PROTOCOL_VERSION",
    "SEARCH_RUNNING",
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
    "NgramStatus",
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

SEARCH_RUNNING = "running"
"""What `explain` says while a more probable text is looked for."""

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
