"""What one user did in one document: which answer was offered last, which were dismissed here.

The only place with behaviour state. Pure: no I/O, no clock of its own.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from mccomd.errors import RequestError
from mccomd.protocol import ErrorCode, Feedback, FeedbackKind
from mccomd.remembered import Remembered
from mccomd.types import CancelToken, Snippet

__all__ = ["Offered", "Session", "Sessions", "place_of"]

MAX_OFFERED = 1000
MAX_REJECTED = 200
REGION_LINES = 20
"""Snippets are kept while the cursor stays this near to where they were found."""
_NEAR = 200


def place_of(prefix: str, suffix: str) -> int:
    """A mark of this very place in the text: equal again after undo and redo."""
    return hash((prefix[-_NEAR:], suffix[:_NEAR]))


@dataclass(frozen=True, slots=True)
class Offered:
    """An answer that was given and may get feedback."""

    path: str
    place: int
    text: str


@dataclass
class Session:
    """One document of one client."""

    newest: CancelToken | None = None
    remembered: Remembered = field(default_factory=Remembered)
    _found: tuple[int, str, list[Snippet]] | None = None  # (line, commit of the index, snippets)
    _rejected: OrderedDict[tuple[int, str], None] = field(default_factory=OrderedDict)

    def supersede(self, cancel: CancelToken) -> None:
        """A newer request is here: the one before it, and what the large model was asked for it, may end."""
        if self.newest is not None:
            self.newest.cancel()
        self.newest = cancel

    def snippets_near(self, line: int, commit: str) -> list[Snippet] | None:
        """What was found for this region of the document; None when it must be looked for."""
        if self._found is None:
            return None
        found_at, found_in, snippets = self._found
        return snippets if found_in == commit and abs(line - found_at) <= REGION_LINES else None

    def keep_snippets(self, line: int, commit: str, snippets: list[Snippet]) -> None:
        """Nothing found is nothing to keep: a retriever may only have been late."""
        self._found = (line, commit, snippets) if snippets else None

    def reject(self, place: int, text: str) -> None:
        self._rejected[(place, text)] = None
        if len(self._rejected) > MAX_REJECTED:
            self._rejected.popitem(last=False)

    def was_rejected(self, place: int, text: str) -> bool:
        return (place, text) in self._rejected

    def rejected_at(self, place: int) -> str | None:
        """The newest text dismissed at this place."""
        return next((text for at, text in reversed(self._rejected) if at == place), None)


class Sessions:
    """All documents of one client, and its newest answers by request id."""

    def __init__(self) -> None:
        self._by_path: dict[str, Session] = {}
        self._offered: OrderedDict[str, Offered] = OrderedDict()

    def of(self, path: str) -> Session:
        return self._by_path.setdefault(path, Session())

    def forget(self, path: str) -> None:
        session = self._by_path.pop(path, None)
        if session is not None and session.newest is not None:
            session.newest.cancel()

    def offer(self, request_id: str, offered: Offered) -> None:
        self._offered[request_id] = offered
        if len(self._offered) > MAX_OFFERED:
            self._offered.popitem(last=False)

    def feedback(self, params: Feedback) -> None:
        """Take a client's word on one of its answers; raises RequestError(unknown_request)."""
        offered = self._offered.get(params.request_id)
        if offered is None:
            raise RequestError(
                ErrorCode.UNKNOWN_REQUEST,
                f"no completion {params.request_id!r} among this client's last {MAX_OFFERED}",
            )
        if params.kind is FeedbackKind.DISMISSED and offered.text:
            self.of(offered.path).reject(offered.place, offered.text)

    def cancel_all(self) -> None:
        """The client has gone."""
        for session in self._by_path.values():
            if session.newest is not None:
                session.newest.cancel()
