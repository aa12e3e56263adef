"""What becomes of the local draft at one endpoint: plain, native, prime or verify. Pure.

A running estimate for each strategy says whether it pays: the time it took against the time that plain would
have taken for the same text. What loses over twenty calls is switched off, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mccomd.cloud.caps import Caps

__all__ = ["EXPLORE", "MIN_DRAFT_TOKENS", "Choice", "Estimates", "Name", "Policy", "choose"]

Name = Literal["plain", "native", "prime", "verify", "ahead"]
MIN_DRAFT_TOKENS = 4
EXPLORE = 0.04
"""So many calls go plain although something else pays, so that the estimates stay true."""
LOSING_CALLS = 20
MAX_FAILURES = 3
VERIFY_CONTEXT = 2000  # tokens: where scoring reads the whole prompt again, longer ones never pay
BILLED_ACCEPTANCE = 0.3
_KEEP = 0.8  # of an estimate at each new sample


@dataclass(frozen=True, slots=True)
class Policy:
    """What the user allows."""

    strategy: str = "auto"  # auto, plain, native, prime, verify


@dataclass(frozen=True, slots=True)
class Choice:
    name: Name
    why: str


@dataclass
class Record:
    """How one strategy has done."""

    calls: int = 0
    gain_ms: float = 0.0  # running mean of (what plain would have taken - what it took)
    failures: int = 0  # in a row
    off: str = ""


@dataclass
class Estimates:
    """Running means of one endpoint, in milliseconds; None until there is a sample."""

    ttft_ms: float | None = None  # plain: until the first piece
    token_ms: float | None = None  # between tokens
    accepted: float = 0.5  # share of a draft's tokens
    records: dict[str, Record] = field(default_factory=dict)

    def record(self, name: str) -> Record:
        return self.records.setdefault(name, Record())

    def plain_took(self, first_ms: float, total_ms: float, tokens: int) -> None:
        self.ttft_ms = _mixed(self.ttft_ms, first_ms)
        if tokens > 1:
            self.token_ms = _mixed(self.token_ms, max(0.0, total_ms - first_ms) / (tokens - 1))
        self.record("plain").calls += 1

    def other_took(self, name: str, total_ms: float, tokens: int) -> None:
        """A strategy gave `tokens` tokens in so long; it is judged where plain's times are known."""
        record = self.record(name)
        record.failures = 0
        expected = self.expected_plain_ms(tokens)
        if expected is None:
            return
        record.calls += 1
        gain = expected - total_ms
        record.gain_ms = gain if record.calls == 1 else _KEEP * record.gain_ms + (1 - _KEEP) * gain
        if record.calls >= LOSING_CALLS and record.gain_ms <= 0:
            record.off = f"slower than plain by {-record.gain_ms:.0f} ms over {record.calls} calls"

    def failed(self, name: str, why: str) -> None:
        record = self.record(name)
        record.failures += 1
        if record.failures >= MAX_FAILURES:
            record.off = f"failed {record.failures} times in a row: {why}"

    def saw_draft(self, drafted: int, accepted: int) -> None:
        if drafted > 0:
            self.accepted = _KEEP * self.accepted + (1 - _KEEP) * min(1.0, accepted / drafted)

    def expected_plain_ms(self, tokens: int) -> float | None:
        if self.ttft_ms is None:
            return None
        return self.ttft_ms + max(0, tokens - 1) * (self.token_ms or 0.0)


def choose(
    caps: Caps, draft_tokens: int, ctx_tokens: int, estimates: Estimates, policy: Policy, dice: float
) -> Choice:
    """The strategy for one call. dice: a random number, 0..1; what the user names is used where it can be."""
    if policy.strategy == "plain":
        return Choice("plain", "as configured")
    if draft_tokens < MIN_DRAFT_TOKENS:
        return Choice("plain", f"a draft of {draft_tokens} tokens is too short to help")
    able: list[Name] = [name for name in _NAMES if _can(caps, name)]
    if policy.strategy != "auto":
        named = [name for name in able if name == policy.strategy]
        if not named:
            return Choice("plain", f"the endpoint has not proved that it can {policy.strategy}")
        off = estimates.record(named[0]).off
        return Choice("plain", f"{named[0]}: {off}") if off else Choice(named[0], "as configured")
    if not able:
        return Choice("plain", "the endpoint takes no draft" if caps.proved else "not probed yet")
    if estimates.ttft_ms is None:
        return Choice("plain", "its times are not known yet")
    if dice < EXPLORE:
        return Choice("plain", "to keep the estimates true")
    reasons = []
    for name in able:
        against = estimates.record(name).off or _against(name, caps, draft_tokens, ctx_tokens, estimates)
        if not against:
            return Choice(name, f"{estimates.accepted:.0%} of a draft is expected to be taken")
        reasons.append(f"{name}: {against}")
    return Choice("plain", "; ".join(reasons))


_NAMES: tuple[Name, ...] = ("native", "prime", "verify")


def _can(caps: Caps, name: Name) -> bool:
    match name:
        case "native":
            return caps.draft != "none"
        case "prime":
            return caps.prime
        case _:
            return caps.verify != "none"


def _against(name: Name, caps: Caps, draft_tokens: int, ctx_tokens: int, estimates: Estimates) -> str:
    """Why it would not pay now; "" when it is expected to."""
    ttft, token = estimates.ttft_ms or 0.0, estimates.token_ms or 0.0
    saved = (estimates.accepted * draft_tokens + 1) * token
    match name:
        case "native":
            if caps.bills_rejected and estimates.accepted < BILLED_ACCEPTANCE:
                return f"rejected tokens cost money, and only {estimates.accepted:.0%} are taken"
            return ""
        case "prime":
            cost = ttft / 2  # one more round trip and the draft's prefill; the prompt is needed anyway
        case _:
            scoring = 0.0 if caps.reads_cache_when_scoring else caps.score_token_ms * ctx_tokens
            if not caps.reads_cache_when_scoring and not scoring and ctx_tokens > VERIFY_CONTEXT:
                return f"scoring reads all {ctx_tokens} tokens again"
            cost = max(ttft, scoring)
    return "" if saved > cost else f"saves {saved:.0f} ms and costs {cost:.0f}"


def _mixed(before: float | None, now: float) -> float:
    return now if before is None else _KEEP * before + (1 - _KEEP) * now
