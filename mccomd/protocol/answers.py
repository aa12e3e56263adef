"""How answers came about and what would leave for one: explain, preview, tune."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from mccomd.protocol.words import Path, Position

__all__ = [
    "CloudCall",
    "CurvePoint",
    "ExplainParams",
    "ExplainResult",
    "ExplainedSnippet",
    "MonthStatus",
    "PreviewParams",
    "PreviewRequest",
    "PreviewResult",
    "PreviewSnippet",
    "RouterStatus",
    "ShadowStatus",
    "TuneParams",
    "TuneResult",
]


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
    likely: float | None  # how often answers of this confidence were exactly right; None: not measured
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
    carried: str  # the request whose call to the large model went on for this one; bytes and cost are there
    cloud: CloudCall | None
    search: str  # for a more probable text: SEARCH_RUNNING, what came of it, or "" where there was none
    updates: list[str]
    primed_ms: float | None  # in which the large model's server read the prompt ahead of being asked
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
