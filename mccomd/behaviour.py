"""What does a user's typing say about the answer on the screen?

A state machine for one document of one client. Told what was offered, what the text is now and what the
client says in words, it gives judgements: accepted, typed through, rejected, dismissed, missed, left. No
editor standard reports a rejection, so it is read from the text; what a client says always wins. Pure: time
is passed in (seconds, any origin), nothing is kept but what is on the screen.

The rules are those that peers learnt: an answer on the screen for less than `read_ms` was not read (Cody); a
continuation of the shown line, and another answer within `replaced_ms`, are no rejection (Continue);
deletions and jumps say nothing.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from mccomd.config import BehaviourConfig
from mccomd.languages import CLOSERS, MOST_CLOSERS

__all__ = ["Behaviour", "Judgement", "Offered", "Verdict", "typed_at_cursor", "typed_in_text"]

_CLOSERS = re.compile(rf"[{re.escape(CLOSERS)}]+\Z")


class Verdict(enum.StrEnum):
    """What became of an answer."""

    ACCEPTED = "accepted"  # all of it, at once
    ACCEPTED_LINE = "accepted_line"  # up to the end of one of its lines
    ACCEPTED_WORD = "accepted_word"  # less
    TYPED_THROUGH = "typed_through"  # typed as it was shown, to its end
    REJECTED = "rejected"  # read, and typed against
    DISMISSED = "dismissed"  # the client's word
    MISSED = "missed"  # gone before it could be read
    LEFT = "left"  # deleted around, jumped away from, replaced, or too long ago: says nothing

    @property
    def good(self) -> bool:
        return self in _GOOD

    @property
    def bad(self) -> bool:
        return self in (Verdict.REJECTED, Verdict.DISMISSED)


_GOOD = frozenset({Verdict.ACCEPTED, Verdict.ACCEPTED_LINE, Verdict.ACCEPTED_WORD, Verdict.TYPED_THROUGH})


@dataclass(frozen=True, slots=True)
class Offered:
    """A text that was given for a place."""

    request_id: str
    prefix: str
    suffix: str
    text: str
    source: str = "local"  # local, cache, cloud
    confidence: float = 0.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of one answer; a later one on the same answer replaces it."""

    offered: Offered
    verdict: Verdict
    typed: str = ""  # what stands at the place now, as far as it is known
    explicit: bool = False  # the client's word
    shown_ms: float = 0.0
    withdrawn: bool = False  # the verdict given before on this answer was wrong: it is on the screen again


@dataclass
class _Screen:
    """The answer that is on the screen, as it was when it came there."""

    offered: Offered
    at: float
    shown: bool  # False: the client will say so
    typed: str = ""
    taken: Verdict | None = None  # the best that was taken of it so far
    ids: list[str] = field(default_factory=list)  # of all requests that were answered with it or its rest

    def __post_init__(self) -> None:
        self.ids.append(self.offered.request_id)


@dataclass
class _Refused:
    """The answer that was typed against last: a typo may be mended."""

    screen: _Screen
    most: int  # characters typed against it, at the most


class Behaviour:
    """One document. Every method returns the judgements that its news led to, oldest first."""

    def __init__(self, rules: BehaviourConfig | None = None) -> None:
        self.rules = rules or BehaviourConfig()
        self._screen: _Screen | None = None
        self._refused: _Refused | None = None

    @property
    def watching(self) -> bool:
        """Whether a change of the text can matter."""
        return self._screen is not None or self._refused is not None

    def on_screen(self) -> Offered | None:
        return self._screen.offered if self._screen else None

    # --- what happens ---------------------------------------------------------------------------

    def offer(self, offered: Offered, now: float, *, shown: bool = True) -> list[Judgement]:
        """An answer was given. shown: False when this client says `shown` itself."""
        if not offered.text:
            return []
        screen = self._screen
        if screen is not None and _same_answer(screen.offered, offered):
            screen.ids.append(offered.request_id)
            return []
        found = self._mend_by(offered, now) if screen is None else self._close(screen, Verdict.LEFT, now)
        improved = screen is not None and screen.shown and offered.request_id in screen.ids
        self._screen = _Screen(offered, now, shown or improved)  # `shown` is said once of an answer
        return found

    def observe(self, prefix: str, suffix: str, now: float) -> list[Judgement]:
        """The text left and right of the cursor, as a request has it."""
        return self._judge(lambda offered: typed_at_cursor(offered, prefix, suffix), now)

    def observe_text(self, text: str, now: float) -> list[Judgement]:
        """The whole text after a change; where the cursor is, nobody said."""
        return self._judge(lambda offered: typed_in_text(offered, text), now)

    def feedback_shown(self, request_id: str, now: float) -> None:
        if (screen := self._of(request_id)) and not screen.shown:
            screen.shown, screen.at = True, now

    def feedback(
        self, offered: Offered, verdict: Verdict, now: float, characters: int = 0
    ) -> list[Judgement]:
        """The client's word on an answer, on the screen or not. characters: with a part, how many in all."""
        screen = self._of(offered.request_id)
        if self._refused is not None and offered.request_id in self._refused.screen.ids:
            self._refused = None  # the client knows better
        if verdict is Verdict.ACCEPTED_WORD:
            verdict = _part(offered.text, characters)
        text = offered.text
        shown_ms = (now - screen.at) * 1000 if screen else 0.0
        if screen is not None:
            offered = screen.offered  # the answer is one, however many requests had a part of it
        typed = text[:characters]
        if screen is not None:
            if verdict in (Verdict.ACCEPTED, Verdict.DISMISSED):
                self._screen = None
            else:
                screen.taken = verdict
        return [Judgement(offered, verdict, typed, explicit=True, shown_ms=shown_ms)]

    def leave(self, now: float) -> list[Judgement]:
        """The document is closed, or its client has gone."""
        self._refused = None
        return self._close(self._screen, Verdict.LEFT, now) if self._screen else []

    # --- inside ---------------------------------------------------------------------------------

    def _of(self, request_id: str) -> _Screen | None:
        screen = self._screen
        return screen if screen is not None and request_id in screen.ids else None

    def _judge(self, typed_by: _TypedBy, now: float) -> list[Judgement]:
        found = self._mend_typo(typed_by, now)
        screen = self._screen
        if screen is None or not self.rules.infer:
            return found
        typed = typed_by(screen.offered)
        if typed is None:  # a deletion, a jump, a change elsewhere
            return found + self._close(screen, Verdict.LEFT, now)
        text = screen.offered.text
        grown, screen.typed = len(typed) - len(screen.typed), typed
        if typed.startswith(text):
            whole = Verdict.ACCEPTED if grown >= self.rules.accept_chars else Verdict.TYPED_THROUGH
            return found + self._close(screen, whole, now, typed)
        if text.startswith(typed):
            if grown >= self.rules.accept_chars:
                screen.taken = _part(text, len(typed))
                found.append(Judgement(screen.offered, screen.taken, typed))
            return found
        if text.startswith(_without_closed(typed)):
            return found
        return found + self._typed_against(screen, typed, now)

    def _typed_against(self, screen: _Screen, typed: str, now: float) -> list[Judgement]:
        ms = (now - screen.at) * 1000
        if screen.taken is not None or ms > self.rules.window_ms:
            return self._close(screen, Verdict.LEFT, now, typed)
        if not screen.shown or ms < self.rules.read_ms:
            return self._close(screen, Verdict.MISSED, now, typed)
        self._refused = _Refused(screen, len(typed) - _agree(typed, screen.offered.text))
        return self._close(screen, Verdict.REJECTED, now, typed)

    def _close(self, screen: _Screen, verdict: Verdict, now: float, typed: str = "") -> list[Judgement]:
        """What was taken of an answer counts, whatever became of the rest."""
        self._screen = None
        if screen.taken is not None and not verdict.good:
            verdict = screen.taken
        elif verdict is Verdict.LEFT and not screen.shown:
            verdict = Verdict.MISSED
        return [Judgement(screen.offered, verdict, typed, shown_ms=(now - screen.at) * 1000)]

    def _mend_typo(self, typed_by: _TypedBy, now: float) -> list[Judgement]:
        """Few characters against an answer, deleted again: it was no rejection."""
        refused = self._refused
        if refused is None:
            return []
        offered = refused.screen.offered
        typed = typed_by(offered)
        if typed is None:
            self._refused = None
            return []
        if not offered.text.startswith(typed):
            refused.most = max(refused.most, len(typed) - _agree(typed, offered.text))
            return []
        self._refused = None
        if refused.most > self.rules.typo_chars:
            return []
        found = self._close(self._screen, Verdict.LEFT, now) if self._screen else []
        self._screen = refused.screen
        self._screen.typed = typed
        return [*found, Judgement(offered, Verdict.REJECTED, typed, withdrawn=True)]

    def _mend_by(self, offered: Offered, now: float) -> list[Judgement]:
        """Another answer came so soon, or goes on so like the one before, that nothing was rejected."""
        refused, self._refused = self._refused, None
        if refused is None:
            return []
        before, ms = refused.screen.offered, (now - refused.screen.at) * 1000
        if ms >= self.rules.replaced_ms and not _continues(before, offered):
            self._refused = refused  # a typo may still be mended
            return []
        return [Judgement(before, Verdict.REJECTED, withdrawn=True)]


_TypedBy = Callable[[Offered], str | None]
"""What was typed at an offered place since; None when something else happened."""


def typed_at_cursor(offered: Offered, prefix: str, suffix: str) -> str | None:
    """What was typed at the offered place, by the text around the cursor; None: something else happened."""
    if not prefix.startswith(offered.prefix):
        return None
    if suffix == offered.suffix:
        return prefix[len(offered.prefix) :]
    closed = len(suffix) - len(offered.suffix)
    if 0 < closed <= MOST_CLOSERS and suffix.endswith(offered.suffix) and _CLOSERS.fullmatch(suffix[:closed]):
        return prefix[len(offered.prefix) :]  # the editor closed a bracket
    return None


def typed_in_text(offered: Offered, text: str) -> str | None:
    """What was typed at the offered place, by the whole text; None when another part of it changed."""
    length = len(text) - len(offered.prefix) - len(offered.suffix)
    if length < 0 or not text.startswith(offered.prefix) or not text.endswith(offered.suffix):
        return None
    return text[len(offered.prefix) : len(offered.prefix) + length]


def _without_closed(typed: str) -> str:
    """Without the brackets and quotes that an editor puts behind a cursor by itself."""
    open_part = _CLOSERS.sub("", typed)
    brackets = sum(open_part.count(c) for c in "([{") > sum(open_part.count(c) for c in ")]}")
    quotes = any(open_part.count(c) % 2 for c in "\"'`")
    return open_part if brackets or quotes or (typed[:1] in "\"'`" and typed == typed[:1] * 2) else typed


def _same_answer(before: Offered, now: Offered) -> bool:
    """Whether `now` is `before`, or the rest of it after some of it was typed."""
    if before.suffix != now.suffix or not now.prefix.startswith(before.prefix):
        return False
    return now.prefix[len(before.prefix) :] + now.text == before.text


def _continues(before: Offered, now: Offered) -> bool:
    """Whether the first line of one answer, with what was typed, begins that of the other."""
    if not now.prefix.startswith(before.prefix):
        return False
    line = (now.prefix[len(before.prefix) :] + now.text).partition("\n")[0]
    first = before.text.partition("\n")[0]
    return bool(first) and bool(line) and (line.startswith(first) or first.startswith(line))


def _part(text: str, characters: int) -> Verdict:
    """What the first characters of a text are: all of it, whole lines, or less."""
    if characters >= len(text):
        return Verdict.ACCEPTED
    if text[characters] == "\n" or text[characters - 1 : characters] == "\n":
        return Verdict.ACCEPTED_LINE
    return Verdict.ACCEPTED_WORD


def _agree(a: str, b: str) -> int:
    """How many characters the beginnings have in common."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
