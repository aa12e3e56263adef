"""Is there a text that is more probable, as a whole, than the one that stands there?

The most probable token each time does not make the most probable text. Where choices of an answer were close,
another text that begins otherwise is written as far as it stays more probable than the best one so far. That
takes as long as the answer did, so it is a job for the model's thread when nobody waits. Knows nothing of
asyncio and clients.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mccomd.generate import ENDED, Generate, Generated
from mccomd.second_choice import Fork
from mccomd.types import CancelToken, Finish

if TYPE_CHECKING:
    from mccomd.engine import Engine

__all__ = ["Likelier", "worth_a_try"]

MOST_TO_COME = 0.8
"""A text that begins otherwise is tried if it beats the best one, should the rest of it be so probable."""


def worth_a_try(generated: Generated) -> bool:
    """Whether an answer's choices were so close that a more probable text may be found."""
    chance = math.prod(generated.generation.probabilities)
    return any(fork.chance * MOST_TO_COME > chance for fork in generated.forks)


@dataclass(frozen=True, slots=True)
class Likelier:
    """A job for the model's thread: what `generate` wrote, tried otherwise."""

    generate: Generate
    first: Generated
    deadline: float  # time.monotonic() seconds
    cancel: CancelToken

    def __call__(self, engine: Engine) -> Generated:
        """The most probable text found, which may be the first one. Raises EngineError."""
        job = replace(self.generate, deadline=self.deadline, cancel=self.cancel, early=None)
        best, chance = self.first, math.prod(self.first.generation.probabilities)
        for fork in self.first.forks:
            if fork.chance * MOST_TO_COME <= chance:
                break
            other = self._tried(engine, job, fork, chance)
            if other.generation.finish not in ENDED:
                break
            whole = fork.chance * math.prod(other.generation.probabilities)
            if whole > chance and self._may_stand(job, other):
                joined = fork.joined(self.first.generation, other.generation)
                best, chance = replace(other, generation=joined), whole
        return best

    def _tried(self, engine: Engine, job: Generate, fork: Fork, chance: float) -> Generated:
        """A text that begins as the fork says, given up once it is less probable than `chance`."""
        prompt, mixed = self.first.prompt, self.first.mixed
        left = fork.left([prompt.healed + begin for begin in self.first.begins])
        return job.run(engine, prompt, fork.text, min(1.0, chance / fork.chance), left, mixed, None)

    def _may_stand(self, job: Generate, other: Generated) -> bool:
        """A whole text, as the answer must be; where that one was cut, none that says less than it does."""
        if other.generation.finish is not Finish.STOP or not other.text.strip():
            return False
        whole = self.first.generation.finish is Finish.STOP
        if not whole and len(other.text.strip()) < len(self.first.text.strip()):
            return False
        return not job.is_useless(other)
