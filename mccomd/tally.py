"""Counts and latencies since the daemon's start, for `mccomd status`."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection

from mccomd.protocol import Completion, CompletionStats, FeedbackKind

__all__ = ["Tally"]

KEPT = 1000
"""Latencies: of the last so many answers."""


class Tally:
    """What became of requests, and of answers as clients tell it."""

    def __init__(self) -> None:
        self.feedback: Counter[FeedbackKind] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._ms: deque[float] = deque(maxlen=KEPT)

    def begin(self) -> None:
        self._outcomes["requests"] += 1

    def end(self, completion: Completion) -> None:
        if completion.finish == "cancelled":
            self._outcomes["superseded"] += 1
        elif completion.text:
            self._outcomes["answered"] += 1
            self._outcomes["from_cache"] += completion.source == "cache"
            self._ms.append(completion.ms)
        else:
            self._outcomes["empty"] += 1

    def stats(self) -> CompletionStats:
        return CompletionStats(
            requests=self._outcomes["requests"],
            answered=self._outcomes["answered"],
            from_cache=self._outcomes["from_cache"],
            empty=self._outcomes["empty"],
            superseded=self._outcomes["superseded"],
            shown=self.feedback[FeedbackKind.SHOWN],
            accepted=self.feedback[FeedbackKind.ACCEPTED],
            partially_accepted=self.feedback[FeedbackKind.PARTIALLY_ACCEPTED],
            dismissed=self.feedback[FeedbackKind.DISMISSED],
            p50_ms=_percentile(self._ms, 0.50),
            p95_ms=_percentile(self._ms, 0.95),
        )


def _percentile(values: Collection[float], share: float) -> float:
    """The smallest value that `share` of all are not above; 0 of none."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))] if ranked else 0.0
