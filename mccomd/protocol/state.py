"""How the daemon and its large model's endpoint are: status, cloud."""

from __future__ import annotations

from typing import Any

import msgspec

from mccomd.protocol.answers import MonthStatus, RouterStatus

__all__ = [
    "CloudParams",
    "CloudResult",
    "CloudStatus",
    "CompletionStats",
    "ModelStatus",
    "NgramStatus",
    "PluginStatus",
    "PowerStatus",
    "RepositoryStatus",
    "StatusResult",
]


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


class NgramStatus(msgspec.Struct, frozen=True):
    """What a repository's files of one language add to the model's choices."""

    repository: str
    language: str
    state: str  # waiting, building, ready, failed
    reason: str  # why it failed, or what it waits for
    files: int
    left_out: int  # files that found no room
    tokens: int


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
    ngrams: list[NgramStatus]
