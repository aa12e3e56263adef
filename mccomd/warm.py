"""Reading ahead: the prompt that the next request will have, put into the model's cache before it comes.

A job for the model's thread, at its lowest rank. Its result is only time saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mccomd.config import Config
from mccomd.prompt import Budget, build_prompt
from mccomd.types import CancelToken, Query, Snippet

if TYPE_CHECKING:
    from mccomd.engine import Engine

__all__ = ["ReadAhead"]


@dataclass(frozen=True, slots=True)
class ReadAhead:
    """Prefills for one cursor."""

    query: Query
    snippets: Sequence[Snippet]
    config: Config
    cancel: CancelToken

    def __call__(self, engine: Engine) -> int:
        """How many tokens were read; fewer than the prompt has when a request came in between."""
        budget = Budget(self.config.model.context_tokens, self.config.completion.snippet_tokens)
        prompt = build_prompt(self.query, self.snippets, engine.manifest.prompt, engine.lines, budget)
        return engine.prefill(prompt.ids, self.cancel)
