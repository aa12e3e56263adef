"""One cursor of one client, and what is wanted there. Knows no stage of a completion."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from mccomd.behaviour import Offered
from mccomd.protocol import Position, PositionEncoding, Update
from mccomd.remembered import Place
from mccomd.session import Session, Sessions
from mccomd.types import CancelToken, Document

__all__ = ["Task"]


@dataclass(frozen=True)
class Task:
    """A request as the daemon works on it."""

    request_id: str
    document: Document
    position: Position
    prefix: str
    suffix: str
    others: tuple[Document, ...]
    cancel: CancelToken
    sessions: Sessions
    send_update: Callable[[Update], None]
    updates: bool = False  # the client said that it knows what to do with one
    wait: bool = False  # the answer may come later and be the local model's last word
    encoding: PositionEncoding = PositionEncoding.UTF32
    deadline_ms: int | None = None  # None: as configured
    max_tokens: int | None = None
    started: float = field(default_factory=time.monotonic)

    @property
    def session(self) -> Session:
        return self.sessions.of(self.document.path)

    @property
    def place(self) -> Place:
        return Place.of(self.prefix, self.suffix)

    @property
    def eol(self) -> str:
        return "\r\n" if "\r\n" in self.document.text[:100_000] else "\n"

    def was_rejected(self, text: str) -> bool:
        return self.session.was_rejected(self.prefix, self.suffix, text)

    def offered(self, text: str, source: str, confidence: float = 0.0) -> Offered:
        return Offered(self.request_id, self.prefix, self.suffix, text, source, confidence)
