"""What is asked about a repository's index: refresh and search."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from mccomd.protocol.words import Path

__all__ = [
    "Progress",
    "RefreshParams",
    "RefreshResult",
    "SearchHit",
    "SearchParams",
    "SearchResult",
]


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
