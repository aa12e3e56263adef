"""When is an endpoint left alone? Pure: the time is always an argument (time.monotonic() seconds).

Three failures within 30 s open the breaker for 15 s; then one request goes through to look. 429 and 503
open a cool-down of the length that the endpoint asks for. 401, 403 and 404 mean that the configuration is
wrong: nothing is sent until it changes.
"""

from __future__ import annotations

import email.utils
from collections import deque
from collections.abc import Mapping

__all__ = ["Breaker", "retry_after_s"]

FAILURES = 3
WITHIN_S = 30.0
OPEN_S = 15.0
COOL_S = 10.0  # where the endpoint does not say how long
MAX_COOL_S = 3600.0
MENDED = "`mccomd cloud probe` is run"


class Breaker:
    """One endpoint's state."""

    def __init__(self) -> None:
        self._failures: deque[float] = deque(maxlen=FAILURES)
        self._until = 0.0
        self._why = ""
        self._tripped = False
        self._looking = False  # one request is under way to see whether it works again
        self.last = ""  # why the last request that was answered, or should have been, failed
        self.disabled = ""  # why nothing is sent until the configuration changes

    def refusal(self, now: float) -> str:
        """Why no request may go now; "" when one may. Takes no place: see `begin`."""
        if self.disabled:
            return f"{self.disabled}; nothing is sent until the configuration changes or {MENDED}"
        if now < self._until:
            return f"{self._why}; asked again in {self._until - now:.0f} s"
        if self._looking:
            return f"{self._why}; one request is looking whether it works again"
        return ""

    def begin(self) -> None:
        """A request goes out: the first one after an open breaker is alone."""
        self._looking = self._tripped

    def succeeded(self) -> None:
        self._failures.clear()
        self.last = ""
        self._why, self._tripped, self._looking = "", False, False

    def failed(self, now: float, why: str) -> None:
        """No connection, no answer, an answer that is broken, a status of 500 and more."""
        self._failures.append(now)
        self.last = f"the last request failed: {why}"
        enough = len(self._failures) == FAILURES and now - self._failures[0] <= WITHIN_S
        if enough or self._looking:
            self._until, self._why = now + OPEN_S, f"{FAILURES} failures in a row, the last: {why}"
            self._tripped = True
        self._looking = False

    def cool_down(self, now: float, seconds: float | None, why: str) -> None:
        self.last = f"the last request failed: {why}"
        seconds = COOL_S if seconds is None else min(max(seconds, 0.0), MAX_COOL_S)
        self._until, self._why, self._looking = max(self._until, now + seconds), why, False

    def disable(self, why: str) -> None:
        self.disabled, self._looking = why, False

    def left(self, why: str = "") -> None:
        """A request ended without a word about the endpoint: cancelled, or (why) refused for what it was."""
        self._looking = False
        self.last = f"the last request failed: {why}" if why else self.last

    def state(self, now: float) -> str:
        """For people: ready, off, cooling, looking."""
        if self.disabled:
            return "off"
        if now < self._until:
            return "cooling"
        return "looking" if self._looking else "ready"


def retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """The seconds an answer asks us to stay away; None when it does not say. now: wall clock, seconds."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if not value:
            continue
        try:
            seconds = float(value) / unit
            if seconds == seconds and seconds >= 0:
                return seconds
        except ValueError:
            try:
                return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
            except (ValueError, TypeError, OverflowError):
                continue
    return None
