"""One request on its way through the stages: what is known of it so far. Knows no stage."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from mccomd.answers import Gathered
from mccomd.carried import LargeCall
from mccomd.explanations import Explanation
from mccomd.handoff import Handoff
from mccomd.hooks import Decision
from mccomd.session import Rejection
from mccomd.task import Task
from mccomd.types import CancelToken, Query, Snippet

__all__ = ["Turn"]

_NO_QUERY = Query("", "", None, "", "", "", 0)


@dataclass
class Turn:
    """Filled in by the stages as they pass; on the event loop only."""

    task: Task
    explanation: Explanation
    preview: bool = False
    gathered: Gathered = field(default_factory=Gathered)
    query: Query = _NO_QUERY
    found: list[Snippet] = field(default_factory=list)
    fused: list[Snippet] | None = None  # of both rounds, for the large model
    rejection: Rejection | None = None
    handoff: Handoff | None = None
    decision: Decision | None = None  # once made
    text: str = ""  # of the local model, when it was decided
    asked: bool = False  # the large model: for this request, or for one before with what it says now
    carried: LargeCall | None = None  # asked for a request before, and it goes on for this one
    primed: str | None = None  # the draft that the large model's server was given to read ahead
    said: bool = False  # the request has its answer
    unsure: asyncio.Event = field(default_factory=asyncio.Event)  # asked, and nothing is to be shown yet
    local: CancelToken = field(default_factory=CancelToken)  # of the generation alone

    @property
    def rejected(self) -> str | None:
        """The answer that led to this request."""
        return self.rejection.offered.text if self.rejection else None
