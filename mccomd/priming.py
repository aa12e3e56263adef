"""What is the large model's server given to read before it is known that it will be asked?

Where the router is likely to escalate, its server reads the prompt while the local model writes, so that
its answer begins sooner. It leaves this machine as a question does: screened, in the budget and the ledger.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from mccomd.budget import Need, Reservation
from mccomd.config import CloudConfig, Config
from mccomd.escalation import Escalations
from mccomd.outgoing import CloudReport
from mccomd.question import need_of, question
from mccomd.routing import Routing
from mccomd.turn import Turn
from mccomd.types import CancelToken

__all__ = ["Priming", "may_prime"]

NEAR = 0.15
"""An answer whose confidence lies so little above the threshold is rejected more often than others are."""


class Priming:
    """Begins what escalation.py carries out."""

    def __init__(self, config: Callable[[], Config], routing: Routing, escalations: Escalations) -> None:
        self._config = config
        self._routing = routing
        self._escalations = escalations

    def likely(self, turn: Turn) -> bool:
        """Whether it will probably be asked, by what is known before the local model has said anything."""
        return turn.rejection is not None or turn.task.session.escalated

    def near(self, turn: Turn) -> bool:
        """Whether an answer that was not escalated is one that is easily rejected."""
        decision = turn.decision
        return decision is not None and decision.confidence < self._routing.threshold().value + NEAR

    def prime(self, turn: Turn, draft: str = "") -> None:
        """Have the server read what it will be asked if the local answer will not do; costs no time here."""
        task, cloud = turn.task, self._config().cloud
        if turn.preview or turn.asked or task.cancel.cancelled or not may_prime(cloud):
            return
        if turn.primed == draft or self._routing.why_not():
            return
        token = CancelToken()
        request = replace(question(turn, draft, self._config()), cancel=token)
        need = need_of(request, self._config())
        reserved = self._routing.budget.reserve(Need(need.tokens_in, 0))
        if not isinstance(reserved, Reservation):
            return

        def report(report: CloudReport) -> None:
            turn.explanation.primed = report
            self._routing.budget.paid(report)

        if self._escalations.prime(replace(request, report=report, ended=reserved.release)):
            turn.primed = draft
            task.session.prime((task.offered("", "cloud"), token))
        else:
            reserved.release()

    def early(self) -> Callable[[Sequence[float]], bool]:
        """Whether the first tokens are near the threshold. For any thread."""
        near = self._routing.threshold().value + NEAR
        return lambda probabilities: math.prod(probabilities) < near


def may_prime(cloud: CloudConfig) -> bool:
    """Reading ahead is work that may be for nothing: unasked only where it costs nobody any money."""
    if cloud.prime_ahead != "auto":
        return cloud.prime_ahead == "always"
    return not cloud.input_price and not cloud.output_price and _is_own(cloud.url)


def _is_own(url: str) -> bool:
    """Whether an address is this machine's, or of a network that is nobody else's, by its digits."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_private
    except ValueError:
        return False
