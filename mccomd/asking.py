"""When, within one completion, is the large model asked, what with, and who takes its answer?

Between the router (routing.py), which says whether, and the call itself (escalation.py). A call that was made
for a request before goes on for this one where what was typed since agrees with it (carried.py): then
there is no other. The local answer's stages are completer.py's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from mccomd.budget import Reservation
from mccomd.carried import LargeCall
from mccomd.config import Config, why_silent
from mccomd.escalation import Escalations, LargeRequest
from mccomd.handoff import Handoff, Text
from mccomd.hooks import Decision
from mccomd.outgoing import CloudReport
from mccomd.plugins import Plugins
from mccomd.priming import Priming
from mccomd.question import fit_at, need_of, question, typed_since_rejected
from mccomd.routing import Routing
from mccomd.turn import Turn
from mccomd.types import EARLY

__all__ = ["Asking"]

GOES_ON = "; what was asked for "


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
        self.priming = Priming(config, routing, self._escalations)

    @property
    def busy(self) -> bool:
        return self._escalations.busy

    async def close(self) -> None:
        await self._escalations.close()

    # --- a call that was made before -----------------------------------------------------------------

    def carry_over(self, turn: Turn) -> None:
        """What the large model is saying already is for this request, where it can be."""
        task = turn.task
        call = task.session.large
        if call is None or turn.preview or task.cancel.cancelled:
            return
        typed = call.typed_at(task.prefix, task.suffix)
        if typed is None or not call.agrees(task.prefix, task.suffix) or why_silent(self._config()):
            task.session.give_up()
            return
        turn.rejection = task.session.rejection(task.prefix, task.suffix, self._now())
        fit = fit_at(task)
        handoff = self.handoff(turn, lambda raw: fit(call.rest(raw, typed)))
        turn.carried, turn.asked = call, True
        turn.explanation.carried = call.request_id
        call.listen(_Hearing(self, turn, handoff), typed)

    def lost(self, turn: Turn) -> None:
        """The call that was carried over has nothing for this request: as if there had been none."""
        handoff, turn.carried, turn.asked = turn.handoff, None, False
        turn.explanation.carried = ""
        if handoff is None or turn.task.cancel.cancelled:
            return
        handoff.begin_anew(fit_at(turn.task))
        decision = turn.decision
        if decision is not None and decision.escalate and not self._routing.why_not():
            reason = decision.reason.partition(GOES_ON)[0] + "; what was asked before was contradicted"
            self._ask(turn, replace(decision, reason=reason), handoff)
        if not turn.asked:
            if decision is None and not turn.said:  # it is decided with the local answer
                turn.handoff = None
            handoff.failed("")

    # --- deciding --------------------------------------------------------------------------------------

    def early(self, turn: Turn) -> Callable[[Sequence[float]], bool] | None:
        """Asked after the first tokens, in the model's thread, where somebody else can answer, too."""
        if turn.preview or self._routing.why_not():
            return None
        loop, mode = asyncio.get_running_loop(), self._config().router.unsure
        near = self.priming.early()

        def early(probabilities: Sequence[float]) -> bool:
            unsure = self._routing.unsure(probabilities)
            if unsure and mode == "drop":
                return True
            if not unsure and turn.rejection is None and near(probabilities):
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(self.priming.prime, turn)
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
        decision = turn.decision
        if not turn.asked or decision is None or not decision.escalate:
            turn.decision = None  # decided again with all of the answer
        elif hold:
            self._hold(turn)

    def decide_at_the_end(self, turn: Turn, probabilities: tuple[float, ...], text: str) -> bool:
        """With all of the answer; whether it is held back: unsure, though its first tokens were not."""
        unsure = self._unsure_after_all(turn, probabilities)
        self.decide(turn, probabilities, text)
        if unsure and turn.asked:
            self._hold(turn)
        return turn.unsure.is_set()

    def _unsure_after_all(self, turn: Turn, probabilities: tuple[float, ...]) -> bool:
        """A router is promised three tokens: of those that a short answer lacks none is in doubt."""
        if not probabilities or turn.preview or self._config().router.unsure != "hold":
            return False
        lacking = [1.0] * (EARLY - len(probabilities))
        return not self._routing.why_not() and self._routing.unsure((*probabilities, *lacking))

    def _hold(self, turn: Turn) -> None:
        if turn.handoff is not None:
            elapsed_s = self._now() - turn.task.started
            turn.handoff.hold(self._config().router.hold_ms / 1000 - elapsed_s)
            turn.unsure.set()

    def decide(self, turn: Turn, probabilities: tuple[float, ...], text: str) -> None:
        evidence = self._routing.evidence(turn.task, probabilities, text, turn.rejected)
        decision = self._routing.decide(evidence)
        turn.text = text
        turn.task.session.escalated = decision.escalate
        if turn.carried is not None:
            reason = f"{decision.reason}{GOES_ON}{turn.carried.request_id} goes on"
            turn.decision = replace(decision, reason=reason)
            return
        handoff = self.handoff(turn, fit_at(turn.task))
        self._ask(turn, decision, handoff)
        if not turn.asked:
            turn.handoff, turn.explanation.large = None, ()

    def record(self, turn: Turn, probabilities: tuple[float, ...], text: str) -> None:
        """Into the books: what was decided, and what the shadow router would have done."""
        if turn.decision is None or turn.preview:
            return
        evidence = self._routing.evidence(turn.task, probabilities, text, turn.rejected)
        turn.explanation.shadow = self._routing.record(turn.task, evidence, turn.decision, text)
        turn.explanation.rejected = turn.rejected or ""

    # --- asking ----------------------------------------------------------------------------------------

    def _ask(self, turn: Turn, decision: Decision, handoff: Handoff) -> None:
        """Begin a call, where the decision says so and nothing is in the way."""
        task = turn.task
        call = LargeCall(task.offered("", "cloud"), fit_at(task))
        if task.cancel.cancelled:
            call.cancel.cancel()
        request = self._large_request(turn, call)
        reserved = self._routing.budget.reserve(need_of(request, self._config())) if decision.escalate else ""
        if isinstance(reserved, Reservation):
            request = replace(request, ended=reserved.release)
        elif reserved:
            decision = replace(decision, escalate=False, reason=f"{decision.reason}; {reserved}")
        begun = self._escalations.carry_out(decision, request)
        turn.asked = decision.escalate and begun is decision
        turn.decision = begun
        if isinstance(reserved, Reservation) and (turn.preview or not turn.asked):
            reserved.release()
        if turn.asked and not turn.preview:
            task.session.ask(call)
            call.listen(_Hearing(self, turn, handoff))

    def handoff(self, turn: Turn, fit: Callable[[str], str]) -> Handoff:
        """Between whoever is asked and the screen."""
        task, rejection = turn.task, turn.rejection
        typed = typed_since_rejected(turn)
        same = rejection is not None and rejection.offered.text.startswith(typed)
        turn.handoff = handoff = Handoff(
            task,
            fit,
            self._config().router,
            turn.explanation,
            lambda text: self._keep(turn, text),
            self._now,
            rejection.offered.text[len(typed) :] if rejection and same else "",
        )
        task.cancel.on_cancel(handoff.close)
        return handoff

    def _large_request(self, turn: Turn, call: LargeCall) -> LargeRequest:
        turn.explanation.large = tuple(turn.fused or turn.found)

        def report(report: CloudReport) -> None:
            report.dropped = report.dropped or (turn.handoff.dropped if turn.handoff else "")
            turn.explanation.report, turn.explanation.reported = report, True
            self._routing.budget.paid(report)
            call.failed(report.error)

        return replace(
            question(turn, turn.text, self._config()),
            cancel=call.cancel,
            answer=call.final,
            partial=call.partial,
            failed=call.failed,
            report=report,
        )


class _Hearing:
    """One request that a call goes on for: see carried.Listener."""

    def __init__(self, asking: Asking, turn: Turn, handoff: Handoff) -> None:
        self._asking = asking
        self._turn = turn
        self._handoff = handoff

    @property
    def live(self) -> bool:
        return self._handoff.live

    def partial(self, raw: str) -> None:
        self._handoff.partial(raw)

    def final(self, raw: str, model: str, ms: float) -> None:
        if self._handoff.final(raw, model, ms) and self._turn.rejection is not None:
            self._turn.task.session.made_good(self._turn.rejection)

    def failed(self, reason: str) -> None:
        turn = self._turn
        if turn.carried is not None and turn.decision is None and not turn.said:
            self._asking.lost(turn)  # it may ask itself, once it is decided
        else:
            self._handoff.failed(reason)

    def lost(self) -> None:
        self._asking.lost(self._turn)
