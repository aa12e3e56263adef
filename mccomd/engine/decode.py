"""How a prompt becomes a completion: reuse, prefill in chunks, then one most probable id after the other.

Greedy only: a completion that changes from keystroke to keystroke without reason helps nobody. Ids may be
guessed ahead (draft.py) and the first ones may be bound to a text (spelling.py); neither changes which id is
chosen where. The cancel token and the deadline are read between passes, so an answer is late by one pass
at most.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mccomd.engine.draft import Drafter, Guess, Odds, Pace
from mccomd.engine.kv_cache import Cached
from mccomd.engine.mixture import Mixing
from mccomd.engine.output import Output
from mccomd.engine.spelling import Spelling
from mccomd.errors import EngineError
from mccomd.types import EARLY, CancelToken, Finish

__all__ = ["Early", "Generation", "Limits", "Machinery", "Request", "StopRule", "generate", "prefill"]

SPELT = 8
"""How far a guess by the tokenizer's own spelling is trusted: as a match of so many ids."""
MOST_RUNNING = 8  # ids that a pass may run anyway beside which guesses are still worth a thought

Early = Callable[[Sequence[float]], bool]
"""Asked once, with the first EARLY probabilities; True: the rest is not wanted."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a generation may go."""

    max_tokens: int  # at least 1; ids that only repeat the healed text are not counted
    deadline: float  # time.monotonic() seconds
    least_chance: float = 0.0  # 0..1: ends where the product of the probabilities falls below; 0: never


class StopRule(Protocol):
    """Called with all ids generated so far; True: the completion is complete.

    Called after each new id, and with ids that are only guessed: it must depend on nothing but its argument.
    """

    def __call__(self, ids: Sequence[int], /) -> bool: ...


@dataclass(frozen=True, slots=True)
class Generation:
    """What came out, and what it took."""

    ids: tuple[int, ...]  # the end token left out; their text begins with the healed text
    probabilities: tuple[float, ...]  # of ids[healed:], 0..1; of those that could be chosen, as mixed
    finish: Finish
    prefilled: int  # tokens of the prompt that were run
    reused: int  # tokens of the prompt that stood in the cache
    drafted: int  # tokens guessed ahead
    accepted: int  # of these, the ones that greedy decoding would have chosen
    prefill_ms: float  # up to the first id
    decode_ms: float
    healed: int = 0  # how many of ids lie wholly within the healed text
    seconds: tuple[tuple[int, float], ...] = ()  # for each probability the second choice and its own
    passes: int = 0  # of the model, those of the prefill left out


@dataclass(frozen=True, slots=True)
class Machinery:
    """What one engine generates with, kept from request to request."""

    cached: Cached
    end_ids: frozenset[int]
    spelling: Spelling
    draft_tokens: int
    drafter: Drafter = field(default_factory=Drafter)
    pace: Pace = field(default_factory=Pace)
    odds: Odds = field(default_factory=Odds)


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for, beside the prompt."""

    limits: Limits
    stop: StopRule
    cancel: CancelToken
    early: Early | None = None
    heal: bytes = b""  # the continuation begins with it
    heal_ids: tuple[int, ...] = ()  # how the tokenizer writes it: a first guess
    begins: tuple[bytes, ...] = ()  # behind heal it goes on with one of these, if there are any
    mixing: Mixing | None = None  # what is mixed with the model's probabilities


@dataclass(frozen=True, slots=True)
class _Watch:
    """Whether to go on, asked between passes."""

    cancel: CancelToken
    deadline: float = math.inf  # time.monotonic() seconds

    def interruption(self) -> Finish | None:
        if self.cancel.cancelled:
            return Finish.CANCELLED
        return Finish.DEADLINE if time.monotonic() >= self.deadline else None


def generate(machinery: Machinery, prompt: Sequence[int], request: Request) -> Generation:
    """Continue the prompt greedily until a rule, an end id, a limit or the cancel token ends it.

    Raises EngineError for a prompt that does not fit beside `max_tokens`. After any ending the cache holds
    the ids that ran, for the next call to reuse.
    """
    cached = machinery.cached
    _check(cached, prompt, request.limits)
    watch, started = _Watch(request.cancel, request.limits.deadline), time.monotonic()
    run = _Generating(machinery, request, watch, len(prompt))
    reused = cached.reuse(prompt)
    pending = prompt[reused:]
    ahead = (len(pending) - 1) // cached.session.chunk * cached.session.chunk  # all but the last pass
    finish = _read(cached, pending[:ahead], cached.session.chunk, watch)
    if finish is None:
        if machinery.draft_tokens:
            machinery.drafter.follow(prompt)
        finish = run.decode(pending[ahead:])
        if machinery.draft_tokens:
            machinery.drafter.remember(prompt, run.output.ids)
    ended = time.monotonic()
    prefilled_at = run.first_at or ended
    return Generation(
        ids=tuple(run.output.ids),
        probabilities=tuple(run.output.probabilities),
        finish=finish,
        prefilled=min(len(cached.ids), len(prompt)) - reused,
        reused=reused,
        drafted=run.drafted,
        accepted=run.accepted,
        prefill_ms=(prefilled_at - started) * 1e3,
        decode_ms=(ended - prefilled_at) * 1e3,
        healed=run.output.healed,
        seconds=tuple(run.output.seconds),
        passes=max(0, run.passes - 1),
    )


def prefill(cached: Cached, prompt: Sequence[int], cancel: CancelToken) -> int:
    """Bring the prompt into a cache, in small passes; how many tokens had to run, fewer when cancelled.

    Raises EngineError when it is too long.
    """
    if len(prompt) > cached.session.context_tokens:
        raise EngineError(f"prompt of {len(prompt)} tokens, the context has {cached.session.context_tokens}")
    shared = cached.reuse_ahead(prompt)
    if shared == len(prompt):
        return 0
    _read(cached, prompt[shared:], cached.session.background_chunk, _Watch(cancel))
    return len(cached.ids) - shared


def _check(cached: Cached, prompt: Sequence[int], limits: Limits) -> None:
    context = cached.session.context_tokens
    if not prompt or limits.max_tokens < 1:
        raise EngineError(f"nothing to do: prompt of {len(prompt)} tokens, max_tokens {limits.max_tokens}")
    if len(prompt) + limits.max_tokens > context:
        raise EngineError(
            f"prompt of {len(prompt)} tokens with max_tokens {limits.max_tokens}: the context has {context}"
        )


def _read(cached: Cached, ids: Sequence[int], chunk: int, watch: _Watch) -> Finish | None:
    """Run ids chunk by chunk; why it was interrupted, None if it was not."""
    for start in range(0, len(ids), chunk):
        if interruption := watch.interruption():
            return interruption
        cached.forward(ids[start : start + chunk], 1)
    return None


class _Generating:
    """One generation, from the last pass of the prompt on."""

    def __init__(self, machinery: Machinery, request: Request, watch: _Watch, prompt_tokens: int) -> None:
        self._with = machinery
        self._request = request
        self._watch = watch
        self._room = machinery.cached.session.context_tokens - prompt_tokens
        self.output = Output(machinery.spelling, request.heal, request.begins, request.mixing)
        self.drafted = self.accepted = self.passes = 0
        self.first_at = 0.0  # time.monotonic() of the first id

    def decode(self, pending: Sequence[int]) -> Finish:
        """Run the prompt's last ids, then choose ids until something ends it; returns what did."""
        while True:
            if interruption := self._watch.interruption():
                return interruption
            guess, count = self._guess(len(pending))
            finish, right = self._pass(pending, guess.ids[:count] if guess else ())
            if guess:
                self._learn(guess, count, right, finish)
            if finish:
                return finish
            pending = self.output.ids[-1:]

    def _pass(self, pending: Sequence[int], draft: Sequence[int]) -> tuple[Finish | None, int]:
        """One pass of the model; what ended the generation, and how many ids of the draft were right."""
        cached, started = self._with.cached, time.perf_counter()
        rows = cached.forward([*pending, *draft], 1 + len(draft))
        self._with.pace.saw(len(pending) + len(draft), time.perf_counter() - started)
        self.passes += 1
        self.first_at = self.first_at or time.monotonic()
        self.drafted += len(draft)
        right, behind = 0, len(cached.ids) - len(draft)
        for row in rows:
            chosen = self.output.choose(row)
            finish = self._ending(chosen)
            is_right = right < len(draft) and chosen == draft[right]
            if finish or not is_right:
                self.accepted += is_right
                break
            right += 1
            self.accepted += 1
        cached.rewind(behind + right)
        return finish, right

    def _ending(self, chosen: int) -> Finish | None:
        output, request = self.output, self._request
        if chosen in self._with.end_ids:
            output.drop_last()
            return Finish.STOP
        if self._with.draft_tokens:
            self._with.drafter.append(chosen)
        if request.stop(output.ids):
            return Finish.STOP
        if request.early and len(output.probabilities) == EARLY and request.early(output.probabilities):
            return Finish.ABANDONED
        if output.chance < request.limits.least_chance:
            return Finish.UNSURE
        full = len(output.probabilities) == request.limits.max_tokens or len(output.ids) == self._room
        return Finish.LENGTH if full else None

    # --- guessing ---------------------------------------------------------------------------------------

    def _guess(self, running: int) -> tuple[Guess | None, int]:
        """What may come next, and how much of it is worth checking in a pass that runs `running` ids."""
        output, left = self.output, self._room - len(self.output.ids) - 1
        most = min(
            self._with.draft_tokens, left, self._request.limits.max_tokens - len(output.probabilities) - 1
        )
        if most < 1 or running > MOST_RUNNING:
            return None, 0
        guess = self._with.drafter.guess(most, output.fits)
        if guess is None and not output.ids and len(self._request.heal_ids) > 1:
            guess = Guess(self._request.heal_ids[:-1][:most], SPELT)
        if guess is None:
            return None, 0
        count = self._with.odds.how_many(guess, running, self._with.pace)
        return guess, self._useful(guess.ids[:count])

    def _useful(self, ids: Sequence[int]) -> int:
        """How many of the guessed ids come before the one that would end the generation."""
        for count in range(len(ids)):
            if ids[count] in self._with.end_ids or self._request.stop([*self.output.ids, *ids[: count + 1]]):
                return count
        return len(ids)

    def _learn(self, guess: Guess, count: int, right: int, finish: Finish | None) -> None:
        """A guess that was not worth a pass teaches as well: was its first id right?"""
        if count:
            self._with.odds.saw(guess, right, int(right < count and finish is None))
        elif finish is None:
            hit = self.output.ids[-1] == guess.ids[0]
            self._with.odds.saw(guess, int(hit), int(not hit))
