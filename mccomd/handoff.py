"""What stands on the screen for one request, and what may replace it.

The local answer stands at once, or is held back while it is unsure; the large model's text replaces it only
while it still extends what the user has typed by then and nothing of the first one was accepted. It may come
in parts, but never so that what stands there becomes shorter before it becomes longer. Sends updates;
decides nothing about who is asked, and does not know whether it was asked for this request or one before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from mccomd.behaviour import Offered
from mccomd.config import RouterConfig
from mccomd.documents import position_after
from mccomd.explanations import Explanation
from mccomd.generate import whole_part
from mccomd.protocol import Update
from mccomd.task import Task

__all__ = ["Handoff", "Text"]


@dataclass(frozen=True, slots=True)
class Text:
    """A whole answer for the place of the request, as the editor inserts it."""

    text: str
    source: str  # local, cloud
    model: str
    ms: float
    final: bool = True


class Handoff:
    """One for each request that may get more than one text. On the event loop only.

    fit: what the editor would insert at the request's place of a text of the large model's. keep: told of
    each whole text that was sent, so that typing it through needs no model. avoid: what the user has rejected
    at this very place; no part of it is shown.
    """

    def __init__(
        self,
        task: Task,
        fit: Callable[[str], str],
        options: RouterConfig,
        explanation: Explanation,
        keep: Callable[[Text], None],
        now: Callable[[], float],
        avoid: str = "",
    ) -> None:
        self._task = task
        self._fit = fit
        self._options = options
        self._explanation = explanation
        self._keep = keep
        self._now = now
        self._avoid = avoid
        self._answered = False
        self._current = ""  # what the client has, for the place of the request
        self._held: Text | None = None  # the local answer, while it is held back
        self._holding = False
        self._cloud: Text | None = None  # the newest of the large model
        self._sent_at = float("-inf")
        self._in_parts = False  # more of what was sent last is announced
        self.dropped = ""
        """Why the newest whole text was not sent."""
        self._timer: asyncio.TimerHandle | None = None
        self.settled = asyncio.Event()
        """Set once nothing better than what is there need be waited for."""

    # --- the answer -------------------------------------------------------------------------------

    def hold(self, seconds: float) -> None:
        """Show nothing of the local answer until the large model has answered, or for so long."""
        self._holding = True
        self._timer = asyncio.get_running_loop().call_later(max(0.0, seconds), self._hold_is_over)

    def best(self, local: Text | None) -> Text | None:
        """The text that the request is to be answered with now."""
        cloud = self._cloud
        return cloud if cloud is not None and cloud.final else local

    def answered(self, text: str) -> None:
        """The request has its answer: from here on there are only updates."""
        self._answered, self._current = True, text
        if self._cloud is not None and self._cloud.text != text:
            self._offer(self._cloud)
        elif self._cloud is not None:
            self._in_parts = not self._cloud.final
        if not self._holding:
            self._show_held()

    def local(self, text: Text | None) -> None:
        """The local answer that was held back is there; None: there is none."""
        self._held = text
        if not self._holding:
            self._show_held()

    def better(self, text: Text) -> None:
        """The local model has found another text, which takes the place of what stands there."""
        if self._answered:
            self._offer(text)

    # --- the large model ----------------------------------------------------------------------------

    @property
    def live(self) -> bool:
        """Whether this is still the newest request."""
        return not self._task.cancel.cancelled

    @property
    def so_far(self) -> Text | None:
        """What can stand of the large model's text, whether or not it was sent."""
        return self._cloud

    def begin_anew(self, fit: Callable[[str], str]) -> None:
        """Another call takes the place of one that had nothing for this request after all."""
        self._fit, self._cloud = fit, None

    def partial(self, raw: str) -> None:
        """The large model's text so far."""
        fitted = self._fit(whole_part(raw)) if self._options.stream_ms else ""
        if fitted and not self._avoid.startswith(fitted):
            self._take(Text(fitted, "cloud", "", 0.0, final=False))

    def final(self, raw: str, model: str, ms: float) -> bool:
        """All of the large model's text; whether it is worth showing."""
        fitted = self._fit(raw)
        if not fitted:
            self._dropped("nothing is left of it here")
        elif self._task.was_rejected(fitted):
            self._dropped("you rejected this text here before")
            fitted = ""
        if fitted:
            self._take(Text(fitted, "cloud", model, ms))
        self._hold_is_over()
        return bool(fitted)

    def failed(self, reason: str) -> None:
        """No text will come from the large model."""
        self._hold_is_over()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.settled.set()

    # --- inside -------------------------------------------------------------------------------------

    def _dropped(self, why: str) -> None:
        self.dropped = why
        self._explanation.update(f"dropped: {why}")

    def _take(self, text: Text) -> None:
        self._cloud = text
        if self._answered:
            self._offer(text)

    def _hold_is_over(self) -> None:
        self._holding = False
        self.close()
        self._show_held()

    def _show_held(self) -> None:
        held, self._held = self._held, None
        if held is not None and self._answered and not self._current:
            self._offer(held)

    def _offer(self, text: Text) -> None:
        """Send an update, where there is still a place for it."""
        if why := self._why_not(text):
            if text.final:
                self._dropped(why)
            return
        task, session = self._task, self._task.session
        typed = session.typed_since(task.offered("", "")) or ""
        rest = text.text[len(typed) :]
        version = session.now.version if session.now else task.document.version
        position = position_after(task.position, task.prefix, typed, task.encoding)
        now = self._now()
        self._current, self._sent_at, self._in_parts = text.text, now, not text.final
        update = Update(
            task.request_id, task.document.path, version, position, rest, text.source, text.model, text.ms,
            text.final,
        )  # fmt: skip
        task.sessions.offer(task.document.path, self._offered(typed, rest, text.source), now)
        self._explanation.update(
            f"{text.source}, {len(rest)} characters, {(now - task.started) * 1000:.0f} ms"
        )
        if text.final:
            self._explanation.text = text.text
            self._keep(text)
        task.send_update(update)

    def _offered(self, typed: str, rest: str, source: str) -> Offered:
        task = self._task
        confidence = self._explanation.confidence
        return Offered(task.request_id, task.prefix + typed, task.suffix, rest, source, confidence)

    def _why_not(self, text: Text) -> str:
        """Why this text is not sent; "" when it is."""
        task = self._task
        if task.cancel.cancelled:
            return "a newer request took its place"
        if text.text == self._current and not (text.final and self._in_parts):
            return "it is what stands there"
        if task.sessions.was_taken(task.document.path, task.request_id):
            return "the answer before it was accepted"
        if not text.final:
            if not text.text.startswith(self._current):
                return "not yet longer than what stands there"
            if (self._now() - self._sent_at) * 1000 < self._options.stream_ms:
                return "so soon after the part before"
        typed = task.session.typed_since(task.offered("", ""))
        if typed is None:
            return "the text was changed elsewhere"
        if not text.text.startswith(typed):
            return "you typed something else"
        if len(text.text) == len(typed):
            return "you typed all of it"
        return "" if not task.was_rejected(text.text) else "you rejected this text here before"
