"""What happens in the model's thread: prompt, generation, and the text up to the end of the statement.

Knows nothing of asyncio, clients and what becomes of the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mccomd.config import Config
from mccomd.prompt import Budget, Prompt, build_prompt
from mccomd.statement import StatementRule, single_line_wanted
from mccomd.types import CancelToken, Finish, Query, Snippet

if TYPE_CHECKING:
    from mccomd.engine import Engine, Generation

__all__ = ["Generate", "Generated", "whole_part"]

_LAST_WORD = re.compile(r"\w+$")


@dataclass(frozen=True, slots=True)
class Generated:
    """What one run of the model gave."""

    prompt: Prompt
    generation: Generation
    text: str  # up to the end of the statement; not yet fitted to what stands around it


@dataclass(frozen=True, slots=True)
class Generate:
    """A job for the model's thread."""

    query: Query
    snippets: Sequence[Snippet]
    config: Config
    max_tokens: int
    deadline: float  # time.monotonic() seconds
    cancel: CancelToken

    def __call__(self, engine: Engine) -> Generated:
        """Raises EngineError."""
        from mccomd.engine import Limits

        budget = Budget(self.config.model.context_tokens, self.config.completion.snippet_tokens)
        prompt = build_prompt(self.query, self.snippets, engine.manifest.prompt, engine.tokenizer, budget)
        rule = self._rule()

        def text_of(ids: Sequence[int]) -> str:
            return engine.tokenizer.decode(ids).removeprefix(prompt.healed)

        generation = engine.generate(
            prompt.ids,
            Limits(self.max_tokens, self.deadline),
            lambda ids: rule.end_of(text_of(ids)) is not None,
            self.cancel,
        )
        text = text_of(generation.ids)
        end = rule.end_of(text)
        if end is None and generation.finish in (Finish.LENGTH, Finish.DEADLINE):
            text = whole_part(text)
        return Generated(prompt, generation, text[:end])

    def _rule(self) -> StatementRule:
        query = self.query
        one_line = not self.config.completion.multi_line or single_line_wanted(query.prefix, query.suffix)
        return StatementRule(query.prefix, query.suffix, query.language, one_line)


def whole_part(text: str) -> str:
    """What can stand of a text that was cut off: its whole lines, or its only line without the last word."""
    whole_lines = text.rpartition("\n")[0]
    return whole_lines if whole_lines.strip() else _LAST_WORD.sub("", text)
