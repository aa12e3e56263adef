"""When, within one completion, is the large model asked, what with, and who takes its answer?

Between the router (routing.py), which says whether, and the call itself (escalation.py). The local answer's
stages are completer.py's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from mccomd.behaviour import typed_at_cursor
from mccomd.config import Config
from mccomd.escalation import Escalations, LargeRequest
from mccomd.handoff import Handoff, Text
from mccomd.outgoing import CloudReport
from mccomd.plugins import Plugins
from mccomd.routing import Routing
from mccomd.turn import Turn

__all__ = ["Asking"]


class Asking:
    """keep: told of each whole text of the large model that was sent."""

    def __init__(
        self,
        config: Callable[[], Config],
        plugins: Plugins,
        routing: Routing,
        keep: Callable[[Turn, Text], None],
        now: Callable[[], float],
    ) -> None:
        self._config = config
        self._routing = routing
        self._keep = keep
        self._now = now
        self._escalations = Escalations(config, plugins)

    @property
    def busy(self) -> bool:
        return self._escalations.busy

    async def close(self) -> None:
        await self._escalations.close()

    def early(self, turn: Turn) -> Callable[[Sequence[float]], bool] | None:
        """Asked after the first tokens, in the model's thread, where somebody else can answer, too."""
        if turn.preview or self._routing.why_not():
            return None
        loop, mode = asyncio.get_running_loop(), self._config().router.unsure

        def early(probabilities: Sequence[float]) -> bool:
            unsure = self._routing.unsure(probabilities)
            if unsure and mode == "drop":
                return True
            if unsure or turn.rejection is not None:
                with contextlib.suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(
                        self._decide_early, turn, tuple(probabilities), unsure and mode == "hold"
                    )
            return False

        return early

    def _decide_early(self, turn: Turn, probabilities: tuple[float, ...], hold: bool) -> None:
        """The large model need not wait until the local answer, which will not do, is finished."""
        if turn.decision is not None or turn.local.cancelled or turn.task.cancel.cancelled:
            return
        self.decide(turn, probabilities, "")
        if not turn.asked:
            turn.decision = None  # decided again with all of the answer
        elif hold and turn.handoff is not None:
            elapsed_s = self._now() - turn.task.started
            turn.handoff.hold(self._config().router.hold_ms / 1000 - elapsed_s)
            turn.unsure.set()

    def decide(self, turn: Turn, probabilities: tuple[float, ...], text: str) -> None:
        evidence = self._routing.evidence(turn.task, probabilities, text, turn.rejected)
        decision = self._routing.decide(evidence)
        begun = self._escalations.carry_out(decision, self._large_request(turn, text))
        turn.asked = decision.escalate and begun is decision
        turn.decision = begun
        if not turn.asked:
            turn.handoff, turn.explanation.large = None, ()

    def record(self, turn: Turn, probabilities: tuple[float, ...], text: str) -> None:
        """Into the books: what was decided, and what the shadow router would have done."""
        if turn.decision is None or turn.preview:
            return
        evidence = self._routing.evidence(turn.task, probabilities, text, turn.rejected)
        turn.explanation.shadow = self._routing.record(turn.task, evidence, turn.decision, text)
        turn.explanation.rejected = turn.rejected or ""

    def _large_request(self, turn: Turn, text: str) -> LargeRequest:
        task, rejection = turn.task, turn.rejection
        typed = (typed_at_cursor(rejection.offered, task.prefix, task.suffix) or "") if rejection else ""
        same = rejection is not None and rejection.offered.text.startswith(typed)
        handoff = turn.handoff = Handoff(
            task,
            task.document.language,
            self._config().router,
            turn.explanation,
            lambda text: self._keep(turn, text),
            self._now,
            rejection.offered.text[len(typed) :] if rejection and same else "",
        )
        task.cancel.on_cancel(handoff.close)
        snippets = tuple(turn.fused or turn.found)
        turn.explanation.large = snippets

        def answer(raw: str, model: str, ms: float) -> None:
            if handoff.final(raw, model, ms) and rejection is not None:
                task.session.made_good(rejection)

        def report(report: CloudReport) -> None:
            report.dropped = report.dropped or handoff.dropped
            turn.explanation.report, turn.explanation.reported = report, True
            self._routing.paid(report)
            handoff.failed(report.error)

        return LargeRequest(
            query=turn.query,
            draft=rejection.offered.text if rejection else text,
            max_tokens=task.max_tokens or self._config().completion.max_tokens,
            cancel=task.cancel,
            answer=answer,
            request_id=task.request_id,
            snippets=snippets,
            partial=handoff.partial,
            failed=handoff.failed,
            typed=typed,
            rejected=rejection is not None,
            alternatives=(text,) if rejection and text else (),
            report=report,
        )
