"""May the large model be asked, by the month's budget? What is under way counts, at what it may cost.

A call reserves what it may need before it begins and settles with what it did need: two at once cannot both
spend what is left. Knows no router and no endpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from mccomd.config import Config
from mccomd.history import History, Month, month_of
from mccomd.outgoing import CloudReport
from mccomd.protocol import MonthStatus

__all__ = ["Budget", "Need", "Reservation"]


@dataclass(frozen=True, slots=True)
class Need:
    """What one call may use, on the high side: tokens sent and received."""

    tokens_in: int
    tokens_out: int

    @property
    def tokens(self) -> int:
        return self.tokens_in + self.tokens_out


class Reservation:
    """A part of the month's budget that one call holds; given back once, whatever becomes of the call."""

    def __init__(self, tokens: int, money: float, give_back: Callable[[Reservation], None]) -> None:
        self.tokens = tokens
        self.money = money
        self._give_back = give_back

    def release(self) -> None:
        self._give_back(self)


class Budget:
    """One for the daemon. On the event loop only."""

    def __init__(
        self, config: Callable[[], Config], history: History, now: Callable[[], float] = time.time
    ) -> None:
        self._config = config
        self._history = history
        self._now = now
        self._held: set[Reservation] = set()

    @property
    def reserved(self) -> tuple[int, float]:
        """(tokens, money) of all calls under way."""
        return sum(each.tokens for each in self._held), sum(each.money for each in self._held)

    def spent(self) -> str:
        """Why there is nothing left; "" while there is."""
        return self._refusal(0, 0.0)

    def reserve(self, need: Need) -> Reservation | str:
        """What the call holds from here on; or why it must not be made."""
        cloud = self._config().cloud
        money = (need.tokens_in * cloud.input_price + need.tokens_out * cloud.output_price) / 1e6
        if why := self._refusal(need.tokens, money):
            return why
        reservation = Reservation(need.tokens, money, self._held.discard)
        self._held.add(reservation)
        return reservation

    def paid(self, report: CloudReport) -> None:
        """A large model was asked, whatever became of it."""
        if not report.requests and not report.bytes_sent and not report.prompt_tokens:
            return
        tokens_in = report.prompt_tokens or report.bytes_sent // 4
        tokens_out = report.output_tokens or report.bytes_received // 40
        self._history.spent(Month(month_of(self._now()), 1, tokens_in, tokens_out, report.cost))

    def status(self) -> MonthStatus:
        month, budget = self._history.month(month_of(self._now())), self._config().budget
        return MonthStatus(
            month.month, month.calls, month.tokens, month.money, budget.tokens, budget.money, self.spent()
        )

    def _refusal(self, tokens: int, money: float) -> str:
        budget = self._config().budget
        if not budget.tokens and not budget.money:
            return ""
        if self._history.problem:
            return f"the month's budget cannot be counted: {self._history.problem}"
        if not self._history.loaded:
            return "the month's budget is still being read"
        month = self._history.month(month_of(self._now()))
        held_tokens, held_money = self.reserved
        if budget.tokens:
            if month.tokens >= budget.tokens:
                return f"the month's budget is spent: {month.tokens} of {budget.tokens} tokens"
            left = budget.tokens - month.tokens - held_tokens
            if left <= 0 or tokens > left:
                return _too_little(f"{max(0, left)} tokens", f"{tokens}", held_tokens > 0)
        if budget.money:
            if month.money >= budget.money:
                return f"the month's budget is spent: {month.money:.2f} of {budget.money:.2f}"
            rest = budget.money - month.money - held_money
            if rest <= 0 or money > rest:
                return _too_little(f"{max(0.0, rest):.4f}", f"{money:.4f}", held_money > 0)
        return ""


def _too_little(left: str, needed: str, held: bool) -> str:
    beside = ", beside what the calls under way may need" if held else ""
    return f"{left} of the month's budget are left{beside}; this call may need {needed}"
