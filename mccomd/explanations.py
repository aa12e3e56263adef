"""How did the newest answers come about? Records in memory, bounded, shown by `explain` and never logged."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mccomd.errors import RequestError
from mccomd.outgoing import CloudReport
from mccomd.protocol import CloudCall, Completion, ErrorCode, ExplainedSnippet, ExplainResult
from mccomd.task import Task
from mccomd.threshold import Threshold
from mccomd.types import Snippet

__all__ = ["Explanation", "Explanations"]

MAX_KEPT = 200
MAX_UPDATES = 50


@dataclass
class Explanation:
    """One request, filled in by the stages as they pass."""

    request_id: str
    path: str
    line: int
    column: int
    at: float
    threshold: Threshold
    completion: Completion | None = None
    route: str = ""  # the newest word on it: a held answer is decided before it is finished
    text: str = ""  # the newest that was shown, or would have been
    confidence: float = 0.0
    shadow: str = ""
    verdict: str = ""
    rejected: str = ""  # the answer that led to this one
    prompt_ids: tuple[int, ...] = ()
    local: Sequence[Snippet] = ()
    large: Sequence[Snippet] = ()
    carried: str = ""  # the request that the large model was asked for, where this one made no call itself
    report: CloudReport | None = None
    reported: bool = False
    primed: CloudReport | None = None  # what the large model's server was given to read ahead
    counts: dict[str, int] = field(default_factory=dict)  # drafted, accepted, prefilled, reused, generated
    stages_ms: dict[str, float] = field(default_factory=dict)
    search: str = ""  # behind the answer, for a more probable text; "" where there was none
    updates: list[str] = field(default_factory=list)

    def update(self, what: str) -> None:
        if len(self.updates) < MAX_UPDATES:
            self.updates.append(what)


class Explanations:
    """The newest requests of all clients, by request id."""

    def __init__(self, now: Callable[[], float] = time.monotonic, most: int = MAX_KEPT) -> None:
        self._now = now
        self._most = most
        self._kept: OrderedDict[str, Explanation] = OrderedDict()

    def begin(self, task: Task, threshold: Threshold, *, keep: bool = True) -> Explanation:
        position = task.position
        found = Explanation(
            task.request_id, task.document.path, position.line, position.column, self._now(), threshold
        )
        if not keep:
            return found
        self._kept[task.request_id] = found
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return found

    def get(self, request_id: str) -> Explanation | None:
        return self._kept.get(request_id)

    def find(self, request_id: str) -> Explanation:
        """Raises RequestError(unknown_request). "last" is the newest that was not superseded."""
        if request_id == "last":
            for found in reversed(self._kept.values()):
                if found.completion is not None and found.completion.finish != "cancelled":
                    return found
            raise RequestError(ErrorCode.UNKNOWN_REQUEST, "nothing was completed since the daemon started")
        known = self._kept.get(request_id)
        if known is None:
            raise RequestError(
                ErrorCode.UNKNOWN_REQUEST,
                f"no completion {request_id!r} among the last {self._most}: try `mccomd explain last`",
            )
        return known

    def result(
        self, found: Explanation, prompt: str, likely: Callable[[float], float | None] = lambda _: None
    ) -> ExplainResult:
        """likely: how often answers of a confidence are right."""
        completion, report, counts = found.completion, found.report, found.counts
        asked = self._kept.get(found.carried) if report is None and found.carried else None
        call = found if asked is None else asked
        confidence = found.confidence or (completion.confidence if completion else 0.0)
        return ExplainResult(
            request_id=found.request_id,
            path=found.path,
            line=found.line,
            column=found.column,
            age_s=self._now() - found.at,
            source=completion.source if completion else "none",
            model=completion.model if completion else "",
            finish=completion.finish if completion else "none",
            reason=completion.reason if completion else "not answered yet",
            route=found.route or (completion.route if completion else ""),
            confidence=confidence,
            likely=likely(confidence) if confidence else None,
            threshold=found.threshold.value,
            threshold_why=found.threshold.why,
            shadow=found.shadow,
            text=found.text or (completion.text if completion else ""),
            verdict=found.verdict,
            drafted=counts.get("drafted", 0),
            accepted=counts.get("accepted", 0),
            prefilled=counts.get("prefilled", 0),
            reused=counts.get("reused", 0),
            generated=counts.get("generated", 0),
            prompt_tokens=len(found.prompt_ids),
            prompt=prompt,
            stages_ms=dict(found.stages_ms),
            snippets=_snippets(found.local, found.large),
            rejected=found.rejected,
            carried=found.carried,
            cloud=_call(call.report, call.reported) if call.report else None,
            search=found.search,
            updates=list(found.updates),
            primed_ms=_primed_ms(found.primed),
            bytes_sent=sum(each.bytes_sent for each in (report, found.primed) if each),
            cost=sum(each.cost for each in (report, found.primed) if each),
        )


def _primed_ms(primed: CloudReport | None) -> float | None:
    return primed.ms if primed is not None and primed.requests and not primed.error else None


def _snippets(local: Sequence[Snippet], large: Sequence[Snippet]) -> list[ExplainedSnippet]:
    def key(s: Snippet) -> tuple[str, int, int, str]:
        return s.path, s.start_line, s.end_line, s.source

    ours, theirs = {key(s) for s in local}, {key(s) for s in large}
    rows = [*local, *(s for s in large if key(s) not in ours)]
    used = {True: {True: "both", False: "local"}, False: {True: "cloud", False: ""}}
    return [
        ExplainedSnippet(
            s.path,
            s.start_line,
            s.end_line,
            s.score,
            s.commit,
            s.source,
            used[key(s) in ours][key(s) in theirs],
        )
        for s in rows
    ]


def _call(report: CloudReport, done: bool) -> CloudCall:
    return CloudCall(
        backend=report.backend,
        endpoint=report.endpoint,
        model=report.model,
        strategy=report.strategy,
        why=report.why,
        drafted=report.drafted,
        accepted=report.accepted,
        prompt_tokens=report.prompt_tokens,
        output_tokens=report.output_tokens,
        requests=report.requests,
        bytes_sent=report.bytes_sent,
        bytes_received=report.bytes_received,
        cost=report.cost,
        first_ms=report.first_ms,
        ms=report.ms,
        masked=list(report.masked),
        dropped=report.dropped,
        error=report.error,
        done=done,
    )
