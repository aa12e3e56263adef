"""What one user did in each document: what was offered, what became of it, what is not shown again.

The only place with behaviour state; what typing means is behaviour.py's. Pure: no I/O, time is passed in
(time.monotonic() seconds).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from mccomd.behaviour import Behaviour, Judgement, Offered, Verdict, typed_at_cursor, typed_in_text
from mccomd.carried import LargeCall
from mccomd.config import BehaviourConfig
from mccomd.errors import RequestError
from mccomd.protocol import ErrorCode, Feedback, FeedbackKind
from mccomd.remembered import Remembered
from mccomd.types import CancelToken, Document, Snippet

__all__ = ["Judged", "Rejection", "Session", "Sessions", "mark_of"]

MAX_OFFERED = 1000
MAX_REJECTED = 200
MAX_TAKEN = 64
REGION_LINES = 20
"""Snippets are kept while the cursor stays this near to where they were found."""
MAX_SESSIONS = 1000
_NEAR = 200
_BEFORE = 2 * _NEAR
_VERDICTS = {
    FeedbackKind.ACCEPTED: Verdict.ACCEPTED,
    FeedbackKind.PARTIALLY_ACCEPTED: Verdict.ACCEPTED_WORD,
    FeedbackKind.DISMISSED: Verdict.DISMISSED,
}

Judged = Callable[[str, Judgement], None]
"""Told the path and what became of an answer in it."""


def mark_of(prefix: str, suffix: str, text: str) -> int:
    """A mark of the text that an answer leads to, the same however much of the answer is typed already."""
    return hash(((prefix[-_BEFORE:] + text)[-_BEFORE:], suffix[:_NEAR]))


@dataclass(frozen=True, slots=True)
class Rejection:
    """An answer the user would not have, and when."""

    offered: Offered
    at: float


@dataclass(frozen=True, slots=True)
class _Now:
    """The newest text that the daemon knows of a document."""

    text: str
    version: int


@dataclass
class Session:
    """One document of one client."""

    behaviour: Behaviour = field(default_factory=Behaviour)
    newest: CancelToken | None = None
    large: LargeCall | None = None  # the newest call to the large model: there is never a second one
    remembered: Remembered = field(default_factory=Remembered)
    primed: tuple[Offered, CancelToken] | None = None  # what the large model's server reads ahead, and where
    escalated: bool = False  # at the request before, the large model was asked
    now: _Now | None = None
    _found: tuple[int, str, list[Snippet]] | None = None  # (line, commit of the index, snippets)
    _rejected: OrderedDict[int, None] = field(default_factory=OrderedDict)  # marks
    _pending: Rejection | None = None
    _taken: OrderedDict[str, None] = field(default_factory=OrderedDict)  # request ids

    def supersede(self, cancel: CancelToken, prefix: str, suffix: str) -> None:
        """A newer request is here, at this place: the one before it may end.

        So may what the large model was asked, unless it agrees with what was typed since: then it goes on.
        """
        if self.newest is not None:
            self.newest.cancel()
        self.newest = cancel
        if self.large is not None and not self.large.agrees(prefix, suffix):
            self.give_up()
        if self.primed is not None and typed_at_cursor(self.primed[0], prefix, suffix) is None:
            self.prime(None)

    def prime(self, primed: tuple[Offered, CancelToken] | None) -> None:
        """This is read ahead from here on, and nothing else."""
        before, self.primed = self.primed, primed
        if before is not None:
            before[1].cancel()

    def ask(self, call: LargeCall) -> None:
        """The large model is asked."""
        self.give_up()
        self.large = call

    def give_up(self) -> None:
        """Nobody wants to hear the large model any more."""
        call, self.large = self.large, None
        if call is not None:
            call.cancel.cancel()

    def snippets_near(self, line: int, commit: str) -> list[Snippet] | None:
        """What was found for this region of the document; None when it must be looked for."""
        if self._found is None:
            return None
        found_at, found_in, snippets = self._found
        return snippets if found_in == commit and abs(line - found_at) <= REGION_LINES else None

    def keep_snippets(self, line: int, commit: str, snippets: list[Snippet]) -> None:
        """Nothing found is nothing to keep: a retriever may only have been late."""
        self._found = (line, commit, snippets) if snippets else None

    def take(self, judgement: Judgement, now: float) -> None:
        """Draw the consequences of what became of an answer."""
        offered, verdict = judgement.offered, judgement.verdict
        mark = mark_of(offered.prefix, offered.suffix, offered.text)
        if judgement.withdrawn or verdict.good:
            self._rejected.pop(mark, None)
            if self._pending and self._pending.offered.request_id == offered.request_id:
                self._pending = None
        elif verdict.bad:
            self._rejected[mark] = None
            if len(self._rejected) > MAX_REJECTED:
                self._rejected.popitem(last=False)
            if offered.source != "cloud":  # whoever gave it would be asked the same once more
                self._pending = Rejection(offered, now)
        if verdict.good and verdict is not Verdict.TYPED_THROUGH:
            self._pending = None  # what was taken ends the quarrel
            self._taken[offered.request_id] = None
            if len(self._taken) > MAX_TAKEN:
                self._taken.popitem(last=False)

    def was_rejected(self, prefix: str, suffix: str, text: str) -> bool:
        return mark_of(prefix, suffix, text) in self._rejected

    def was_taken(self, request_id: str) -> bool:
        """Whether any of this answer was accepted."""
        return request_id in self._taken

    def rejection(self, prefix: str, suffix: str, now: float) -> Rejection | None:
        """The answer typed against on this line that nobody has made good yet."""
        pending = self._pending
        if pending is None:
            return None
        typed = typed_at_cursor(pending.offered, prefix, suffix)
        late = (now - pending.at) * 1000 > self.behaviour.rules.window_ms
        if typed is None or "\n" in typed or late:
            self._pending = None
            return None
        return pending

    def made_good(self, rejection: Rejection) -> None:
        """The large model has answered for it: one rejection is one question."""
        if self._pending is rejection:
            self._pending = None

    def typed_since(self, offered: Offered) -> str | None:
        """What was typed at an offered place since, by the newest text; None: something else happened."""
        return "" if self.now is None else typed_in_text(offered, self.now.text)


class Sessions:
    """All documents of one client, and its newest answers by request id."""

    def __init__(
        self,
        rules: Callable[[], BehaviourConfig] = BehaviourConfig,
        judged: Judged = lambda path, judgement: None,
    ) -> None:
        self._rules = rules
        self._judged = judged
        self._by_path: dict[str, Session] = {}
        self._offered: OrderedDict[str, tuple[str, Offered]] = OrderedDict()  # path, without the whole text
        self._root: dict[str, str] = {}  # request id -> that of the answer it had the rest of
        self._says_shown = False

    def of(self, path: str) -> Session:
        session = self._by_path.get(path)
        if session is None:
            session = self._by_path[path] = Session(Behaviour(self._rules()))
            if len(self._by_path) > MAX_SESSIONS:  # a client that never closes what it asks about
                self._by_path.pop(next(iter(self._by_path))).give_up()
        return session

    def forget(self, path: str, now: float) -> None:
        session = self._by_path.pop(path, None)
        if session is None:
            return
        self._take(path, session, session.behaviour.leave(now), now)
        if session.newest is not None:
            session.newest.cancel()
        session.give_up()
        session.prime(None)

    def text_is(self, document: Document, now: float) -> None:
        """A document was opened or changed."""
        session = self.of(document.path)
        session.now = _Now(document.text, document.version)
        if session.behaviour.watching:
            found = session.behaviour.observe_text(document.text, now)
            self._take(document.path, session, found, now)

    def cursor_is(self, document: Document, prefix: str, suffix: str, now: float) -> None:
        """A request says where the cursor is, and perhaps brings a text along."""
        session = self.of(document.path)
        session.behaviour.rules = self._rules()
        session.now = _Now(document.text, document.version)
        self._take(document.path, session, session.behaviour.observe(prefix, suffix, now), now)

    def was_taken(self, path: str, request_id: str) -> bool:
        """Whether any of that answer was accepted, by whichever of its requests it is known."""
        session = self._by_path.get(path)
        ids = {request_id, self._root.get(request_id, request_id)}
        return session is not None and any(map(session.was_taken, ids))

    def offer(self, path: str, offered: Offered, now: float) -> None:
        """An answer, or an update of one, goes out."""
        session = self.of(path)
        self._take(path, session, session.behaviour.offer(offered, now, shown=not self._says_shown), now)
        on_screen = session.behaviour.on_screen()
        if on_screen is not None and offered.text:
            if on_screen.request_id != offered.request_id:
                self._root[offered.request_id] = self._root.get(on_screen.request_id, on_screen.request_id)
            else:  # it had the rest of another one, and has an answer of its own by now
                self._root.pop(offered.request_id, None)
        short = replace(offered, prefix=offered.prefix[-_BEFORE:], suffix=offered.suffix[:_NEAR])
        self._offered[offered.request_id] = (path, short)
        if len(self._offered) > MAX_OFFERED:
            self._root.pop(self._offered.popitem(last=False)[0], None)

    def feedback(self, params: Feedback, now: float) -> None:
        """Take a client's word on one of its answers; raises RequestError(unknown_request)."""
        if params.request_id not in self._offered:
            raise RequestError(
                ErrorCode.UNKNOWN_REQUEST,
                f"no completion {params.request_id!r} among this client's last {MAX_OFFERED}",
            )
        path, offered = self._offered[params.request_id]
        session = self.of(path)
        if params.kind is FeedbackKind.SHOWN:
            self._says_shown = True
            session.behaviour.feedback_shown(params.request_id, now)
        elif offered.text:
            verdict = _VERDICTS[params.kind]
            found = session.behaviour.feedback(offered, verdict, now, params.characters)
            self._take(path, session, found, now)

    def cancel_all(self, now: float) -> None:
        """The client has gone."""
        for path in list(self._by_path):
            self.forget(path, now)

    def _take(self, path: str, session: Session, found: Iterable[Judgement], now: float) -> None:
        for judgement in found:
            session.take(judgement, now)
            root = self._root.get(judgement.offered.request_id, judgement.offered.request_id)
            self._judged(path, replace(judgement, offered=replace(judgement.offered, request_id=root)))
