"""One call to the large model, and who hears it now.

A call outlives the request that it was made for: while what the user types agrees with what it has said so
far, it goes on for the newest request at that place. It is given up when the typed text contradicts it, or
the text was changed elsewhere. Pure: knows no HTTP, no asyncio and no clock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from mccomd.behaviour import Offered, typed_at_cursor
from mccomd.types import CancelToken

__all__ = ["LargeCall", "Listener"]


class Listener(Protocol):
    """The newest request that a call goes on for."""

    @property
    def live(self) -> bool:
        """False once a newer request is there."""
        ...

    def partial(self, raw: str) -> None: ...
    def final(self, raw: str, model: str, ms: float) -> None: ...
    def failed(self, reason: str) -> None: ...

    def lost(self) -> None:
        """The call has nothing for this request: what was typed contradicts it."""
        ...


class LargeCall:
    """place: where it was asked for, with the request's id and an empty text.

    fit: what the editor would insert there of a text of the model's.
    """

    def __init__(self, place: Offered, fit: Callable[[str], str]) -> None:
        self.request_id = place.request_id
        self.cancel = CancelToken()
        self._place = place
        self._fit = fit
        self._raw = ""
        self._whole: tuple[str, float] | None = None  # (model, ms), once all of it is there
        self._delivered = False
        self._listener: Listener | None = None
        self._typed = ""  # when the listener's request was made

    # --- who hears it -------------------------------------------------------------------------------

    def typed_at(self, prefix: str, suffix: str) -> str | None:
        """What was typed since it was asked for; None: something else happened."""
        return typed_at_cursor(self._place, prefix, suffix)

    def agrees(self, prefix: str, suffix: str) -> bool:
        """Whether it can still answer a request here."""
        typed = self.typed_at(prefix, suffix)
        return typed is not None and not self.over and self._agrees_with(typed)

    @property
    def over(self) -> bool:
        """Nothing more comes of it."""
        return self.cancel.cancelled or self._delivered

    def listen(self, listener: Listener, typed: str = "") -> None:
        """From here on it is heard by this one, from what it has said already."""
        self._listener, self._typed = listener, typed
        if self._whole is not None:
            self._deliver()
        elif self._raw:
            listener.partial(self._raw)

    def rest(self, raw: str, typed: str) -> str:
        """What of a text of the model's is left at the listener's place; "" where it has not got so far."""
        for said in (self._fit(raw), raw):
            if said.startswith(typed):
                return said[len(typed) :]
        return ""

    # --- what comes ---------------------------------------------------------------------------------

    def partial(self, raw: str) -> None:
        self._raw = raw
        if self._listener is None or self.cancel.cancelled:
            return
        if self._agrees_with(self._typed):
            self._listener.partial(raw)
        else:
            self._lose()

    def final(self, raw: str, model: str, ms: float) -> None:
        self._raw, self._whole = raw, (model, ms)
        if self._listener is None or not self._listener.live:
            return  # between two requests: the next one hears it
        if self._typed and not self._agrees_with(self._typed):
            self._lose()
        else:
            self._deliver()

    def failed(self, reason: str) -> None:
        """No text will come, or no more."""
        if self._delivered or (self._whole is not None and not self.cancel.cancelled):
            return
        self._delivered = True
        if self._listener is not None:
            self._listener.failed(reason)

    # --- inside -------------------------------------------------------------------------------------

    def _agrees_with(self, typed: str) -> bool:
        """A whole text must have more to say; one that grows may not have got there yet."""
        said = (self._fit(self._raw), self._raw)
        if self._whole is not None:
            return any(text.startswith(typed) and len(text) > len(typed) for text in said)
        return any(text.startswith(typed) or typed.startswith(text) for text in said)

    def _deliver(self) -> None:
        assert self._whole is not None
        assert self._listener is not None
        self._delivered = True
        self._listener.final(self._raw, *self._whole)

    def _lose(self) -> None:
        listener, self._listener = self._listener, None
        self.cancel.cancel()
        if listener is not None:
            listener.lost()
