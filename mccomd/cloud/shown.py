"""What of an answer that grows may be shown: one statement, no marker, nothing that was rejected. Pure."""

from __future__ import annotations

from mccomd.cloud.adapter import Adapter
from mccomd.outgoing import CloudRequest
from mccomd.statement import StatementRule, single_line_wanted

__all__ = ["Shown", "held_back"]

MOST_CHARS_A_TOKEN = 32


class Shown:
    """What of an answer that grows may be shown: one statement, no marker, not what was rejected."""

    def __init__(self, request: CloudRequest, banned: str, adapter: Adapter) -> None:
        one_line = single_line_wanted(request.prefix, request.suffix)
        self._rule = StatementRule(request.prefix, request.suffix, request.language, one_line)
        self._banned = banned
        self._most = MOST_CHARS_A_TOKEN * request.max_tokens
        self._adapter = adapter  # it may learn its markers while it asks
        self.raw = ""
        self.shown = 0  # characters
        self.complete = False

    def take(self, piece: str) -> str:
        """What is new to show."""
        self.raw += piece[: self._most - len(self.raw)]  # a flood must not keep the event loop
        text, ended = self._cut()
        self.complete = ended or len(self.raw) >= self._most
        return self._new(text if ended else text[: len(text) - held_back(text, self._adapter.markers)])

    def rest(self) -> str:
        """What was held back, when nothing more comes."""
        return self._new(self._cut()[0])

    def _cut(self) -> tuple[str, bool]:
        ends = [place for marker in self._adapter.markers if (place := self.raw.find(marker)) >= 0]
        text = self.raw[: min(ends)] if ends else self.raw
        end = self._rule.end_of(text)
        return (text, bool(ends)) if end is None else (text[:end], True)

    def _new(self, text: str) -> str:
        if self._banned and not self.shown and self._banned.startswith(text.rstrip()):
            return ""  # so far the same as what was rejected
        new, self.shown = text[self.shown :], max(self.shown, len(text))
        return new


def held_back(text: str, markers: tuple[str, ...]) -> int:
    """How many characters at the end may be the beginning of a marker. 'a<|fim' -> 5."""
    longest = max(map(len, markers), default=1) - 1
    for size in range(min(longest, len(text)), 0, -1):
        if any(marker.startswith(text[-size:]) for marker in markers):
            return size
    return 0
