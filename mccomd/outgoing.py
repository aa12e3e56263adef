"""What is asked of a large model, how it is sent, and what became of it: types only.

A backend gets a `CloudRequest`, sends through a `Transport` and fills in the request's `CloudReport`. Knows
no HTTP library (mccomd/cloud/transport.py) and no backend.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from mccomd.types import Snippet

__all__ = [
    "NOTHING",
    "Call",
    "CloudAccess",
    "CloudReport",
    "CloudRequest",
    "Endpoint",
    "Parser",
    "Response",
    "Transport",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
NOTHING = "the large model had nothing to add"
"""A report's error where an answer came and was empty: nothing has failed."""


@dataclass(slots=True)
class CloudReport:
    """What became of one request; whoever works on it writes here, `explain` shows it."""

    backend: str = ""
    endpoint: str = ""  # where it went: scheme and host
    model: str = ""
    strategy: str = ""  # plain, native, prime, verify; "" before one was chosen
    why: str = ""  # why that strategy
    drafted: int = 0  # tokens of the draft that were handed over
    accepted: int = 0  # of these, the ones that the large model would have chosen itself
    prompt_tokens: int = 0  # as the endpoint counts them, of all requests; 0 where it does not say
    output_tokens: int = 0
    requests: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    cost: float = 0.0  # by the prices of the config; 0.0 without prices
    first_ms: float | None = None  # until the first piece of text
    ms: float = 0.0
    masked: tuple[str, ...] = ()  # kinds of secrets that were masked before anything was sent
    dropped: str = ""  # why a text that came is not shown
    error: str = ""  # why there is no text, or less than there could be


@dataclass(frozen=True, slots=True)
class CloudRequest:
    """What a backend is asked to complete."""

    prefix: str
    suffix: str
    language: str
    path: str  # relative to the repository
    snippets: tuple[Snippet, ...]
    draft: str  # the local answer, as a speculative draft; may be ""
    max_tokens: int
    deadline: float  # time.monotonic() seconds
    typed: str = ""  # what was typed since the draft was offered; the prefix ends with it
    rejected: bool = False  # the user would not have the draft: the same text is no answer
    alternatives: tuple[str, ...] = ()  # other local answers for this cursor
    request_id: str = ""
    report: CloudReport = field(default_factory=CloudReport, compare=False)
    purpose: str = "complete"  # for the ledger: complete, prime, probe


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the large model is, as the user configured it. The key stays with the transport."""

    url: str
    model: str = ""
    dialect: str = ""  # "" = the backend's own default
    fim_template: str = ""  # "" = by the model's name
    strategy: str = "auto"  # auto, plain, native, prime, verify
    input_price: float = 0.0  # per million tokens
    output_price: float = 0.0


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request. With a body it is a POST of JSON, without one a GET."""

    url: str
    deadline: float  # time.monotonic() seconds, for the whole answer
    body: Mapping[str, Any] | None = None
    auth: Literal["bearer", "api-key"] = "bearer"  # how the configured key is shown, if there is one
    request_id: str = ""
    report: CloudReport = field(default_factory=CloudReport, compare=False)
    trial: bool = False  # a "not found" says something about this address only, not about the endpoint
    purpose: str = "complete"  # for the ledger: complete, prime, probe, warm
    stall_s: float | None = None  # most seconds between two pieces of payload; None: as configured


class Parser(Protocol[T_co]):
    """Bytes as they come -> what they say. What says nothing (comments) gives nothing."""

    def feed(self, data: bytes) -> Sequence[T_co]: ...
    def end(self) -> Sequence[T_co]: ...


class Response(Protocol):
    """An answer with a good status."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...  # names in lower case
    def events(self, parser: Parser[T]) -> AsyncGenerator[T, None]: ...
    async def json(self) -> Any: ...  # the whole body
    async def text(self) -> str: ...


class Transport(Protocol):
    """The only way out: recorded, bounded, and given up where an endpoint misbehaves.

    Leaving `send` before the answer has ended closes the connection: a server that can stops working.
    Raises CloudError: no connection, no answer in time, a status other than 2xx, an endpoint in cool-down.
    """

    def send(self, call: Call) -> AbstractAsyncContextManager[Response]: ...


@dataclass(frozen=True)
class CloudAccess:
    """The way to the large model; nothing of it without a backend, or offline."""

    backend: str = ""
    transport: Transport | None = None
    endpoint: Endpoint | None = None
    cache_dir: str = ""
