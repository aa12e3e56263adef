"""How a prompt becomes a completion: reuse, prefill in chunks, then one most probable id after the other.

Greedy only: a completion that changes from keystroke to keystroke without reason helps nobody. The
cancel token and the deadline are read between passes, so an answer is late by one pass at most.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from mccomd.engine.kv_cache import Cached, common_prefix
from mccomd.engine.session import FloatArray
from mccomd.errors import EngineError
from mccomd.types import CancelToken, Finish

__all__ = ["Generation", "Limits", "StopRule", "generate", "prefill"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a generation may go."""

    max_tokens: int  # at least 1
    deadline: float  # time.monotonic() seconds


class StopRule(Protocol):
    """Called after each new token with all ids generated so far; True: the completion is complete."""

    def __call__(self, ids: Sequence[int], /) -> bool: ...


@dataclass(frozen=True, slots=True)
class Generation:
    """What came out, and what it took."""

    ids: tuple[int, ...]  # the end token left out
    probabilities: tuple[float, ...]  # softmax probability of each id, 0..1
    finish: Finish
    prefilled: int  # tokens of the prompt that were run
    reused: int  # tokens of the prompt that stood in the cache
    drafted: int  # tokens guessed ahead
    accepted: int  # of these, the ones that greedy decoding would have chosen
    prefill_ms: float
    decode_ms: float


@dataclass(frozen=True, slots=True)
class _Watch:
    """Whether to go on, asked between passes."""

    cancel: CancelToken
    deadline: float = math.inf  # time.monotonic() seconds

    def interruption(self) -> Finish | None:
        if self.cancel.cancelled:
            return Finish.CANCELLED
        return Finish.DEADLINE if time.monotonic() >= self.deadline else None


@dataclass(slots=True)
class _Output:
    """The ids chosen so far."""

    ids: list[int] = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)

    def choose(self, logits: FloatArray) -> int:
        """Append the most probable id of float32 (vocab) and return it."""
        chosen = int(logits.argmax())
        self.ids.append(chosen)
        self.probabilities.append(float(1 / np.exp(logits - logits[chosen]).sum()))
        return chosen

    def drop_last(self) -> None:
        self.ids.pop()
        self.probabilities.pop()


def generate(
    cached: Cached,
    prompt: Sequence[int],
    limits: Limits,
    stop: StopRule,
    cancel: CancelToken,
    end_ids: frozenset[int],
) -> Generation:
    """Continue the prompt greedily until a rule, an end id, a limit or the cancel token ends it.

    Raises EngineError for a prompt that does not fit beside `max_tokens`. After any ending the cache holds
    the ids that ran, for the next call to reuse.
    """
    _check(cached, prompt, limits)
    watch, output, started = _Watch(cancel, limits.deadline), _Output(), time.monotonic()
    reused = cached.reuse(prompt)
    logits = _run(cached, prompt[reused:], watch)
    prefilled, prefilled_at = len(cached.ids) - reused, time.monotonic()
    if isinstance(logits, Finish):
        finish = logits
    else:
        finish = _decode(cached, logits, limits.max_tokens, stop, watch, end_ids, output)
    return Generation(
        ids=tuple(output.ids),
        probabilities=tuple(output.probabilities),
        finish=finish,
        prefilled=prefilled,
        reused=reused,
        drafted=0,
        accepted=0,
        prefill_ms=(prefilled_at - started) * 1e3,
        decode_ms=(time.monotonic() - prefilled_at) * 1e3,
    )


def prefill(cached: Cached, prompt: Sequence[int], cancel: CancelToken) -> int:
    """Bring the prompt into the cache; returns how many tokens had to run, fewer when cancelled.

    A prompt that stands in the cache already leaves it as it is. Raises EngineError when it is too long.
    """
    if len(prompt) > cached.session.context_tokens:
        raise EngineError(f"prompt of {len(prompt)} tokens, the context has {cached.session.context_tokens}")
    shared = common_prefix(cached.ids, prompt)
    if shared == len(prompt):
        return 0
    cached.rewind(shared)
    _run(cached, prompt[shared:], _Watch(cancel))
    return len(cached.ids) - shared


def _check(cached: Cached, prompt: Sequence[int], limits: Limits) -> None:
    context = cached.session.context_tokens
    if not prompt or limits.max_tokens < 1:
        raise EngineError(f"nothing to do: prompt of {len(prompt)} tokens, max_tokens {limits.max_tokens}")
    if len(prompt) + limits.max_tokens > context:
        raise EngineError(
            f"prompt of {len(prompt)} tokens with max_tokens {limits.max_tokens}: the context has {context}"
        )


def _run(cached: Cached, ids: Sequence[int], watch: _Watch) -> FloatArray | Finish:
    """Run at least one id, chunk by chunk; the last one's logits (vocab), or why it was interrupted."""
    chunk, logits = cached.session.chunk, np.empty(0, np.float32)
    for start in range(0, len(ids), chunk):
        if interruption := watch.interruption():
            return interruption
        logits = cached.forward(ids[start : start + chunk], 1).reshape(-1)
    return logits


def _decode(
    cached: Cached,
    logits: FloatArray,
    max_tokens: int,
    stop: StopRule,
    watch: _Watch,
    end_ids: frozenset[int],
    output: _Output,
) -> Finish:
    """Choose ids from logits (vocab) of the prompt's last id onwards; why it ended."""
    while True:
        chosen = output.choose(logits)
        if chosen in end_ids:
            output.drop_last()
            return Finish.STOP
        if stop(output.ids):
            return Finish.STOP
        if len(output.ids) == max_tokens:
            return Finish.LENGTH
        if interruption := watch.interruption():
            return interruption
        logits = cached.forward([chosen], 1).reshape(-1)
