"""What happens in the model's thread: prompt, generation, and the text up to the end of the statement.

Knows nothing of asyncio, clients and what becomes of the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mccomd.below import beginnings
from mccomd.binding import bindings
from mccomd.config import Config
from mccomd.languages import language
from mccomd.opening import left_open, misses, wanted_open
from mccomd.prompt import Budget, Prompt, build_prompt, clean_text
from mccomd.second_choice import Fork, after, forks
from mccomd.statement import StatementRule, single_line_wanted
from mccomd.types import CancelToken, Finish, Query, Snippet

if TYPE_CHECKING:
    from mccomd.engine import Engine, Generation, Mixing, Mixture, Table

__all__ = ["ENDED", "Generate", "Generated", "ReadAhead", "mixing", "whole_part"]

LOOP_ROUNDS = 10  # of three characters or more
LOOP_ROUNDS_LONG = 6  # of ten or more
LOOP_CHARS = 80
FORKS = 3  # ways that an answer could have gone, kept: each is worth one more generation at most
MIXED_CHARS = 40_000  # above and below the cursor: what stands further away is seldom said again

ENDED = (Finish.STOP, Finish.LENGTH, Finish.UNSURE)
_WORD = re.compile(r"\w")
_LAST_WORD = re.compile(r"\w+$")


@dataclass(frozen=True, slots=True)
class Generated:
    """What one run of the model gave."""

    prompt: Prompt
    generation: Generation
    text: str  # up to the end of the statement; not yet fitted to what stands around it
    begins: Sequence[str] = ()  # what it was held to begin with
    mixed: Mixing | None = None  # what was mixed with the model's choices
    forks: Sequence[Fork] = ()  # other ways of an answer that may be shown, the most probable first


@dataclass(frozen=True, slots=True)
class Generate:
    """A job for the model's thread."""

    query: Query
    snippets: Sequence[Snippet]
    config: Config
    max_tokens: int
    deadline: float  # time.monotonic() seconds
    cancel: CancelToken
    early: Callable[[Sequence[float]], bool] | None = None  # see engine.decode.Early
    useless: Callable[[str], bool] | None = None  # whether nothing of a text would be shown
    mixture: Mixture | None = None  # of the model, if what stands elsewhere is to count
    table: Table | None = None  # what the repository holds, for the mixture

    def __call__(self, engine: Engine) -> Generated:
        """The most probable text or, where nothing of it would be shown, the second; raises EngineError.

        In Python what stands elsewhere is left out of the second: the line below is what it says most often.
        In other languages, of which the model knows less, it is left out where two more tries were in vain.
        """
        prompt = _prompt_of(engine, self.query, self.snippets, self.config)
        around = self.query.prefix, self.query.suffix, self.query.language
        begins = bindings(*around) or beginnings(*around)
        least = self.config.completion.least_chance
        mixed = None
        if self.mixture is not None:
            mixed = mixing(engine, self.query, prompt, self.mixture, self.table)
        first = self.run(engine, prompt, prompt.healed, least, begins, mixed, self.early)
        if first.generation.finish not in ENDED:
            return first
        if not self.is_useless(first):
            return replace(first, forks=forks(first.generation, engine.bytes_of, FORKS))
        if mixed is not None and language(self.query.language).by_indentation:
            return self._alone(engine, first, self.useless)
        for fork in forks(first.generation, engine.bytes_of):
            second = self.run(engine, prompt, fork.text, min(1.0, least / fork.chance), (), mixed, None)
            if second.generation.finish not in ENDED:
                break
            if second.text.strip() and not self.is_useless(second):
                return replace(second, generation=fork.joined(first.generation, second.generation))
        return first if mixed is None else self._alone(engine, first, None)

    def _alone(self, engine: Engine, first: Generated, useless: Callable[[str], bool] | None) -> Generated:
        """What the model says without what stands elsewhere."""
        alone = replace(self, mixture=None, early=None, useless=useless)(engine)
        if alone.generation.finish not in ENDED:
            return first
        return replace(alone, generation=after(first.generation, alone.generation))

    def is_useless(self, generated: Generated) -> bool:
        """Whether nothing of a text would be shown, or a whole one does not open the block below."""
        if self.useless is None:
            return False
        query, ended = self.query, generated.generation.finish is Finish.STOP
        return self.useless(generated.text) or (
            ended and misses(generated.text, self._wanted(), query.prefix, query.language)
        )

    def _wanted(self) -> str:
        return wanted_open(self.query.prefix, self.query.suffix, self.query.language)

    def run(
        self,
        engine: Engine,
        prompt: Prompt,
        heal: str,
        least_chance: float,
        begins: Sequence[str],
        mixed: Mixing | None,
        early: Callable[[Sequence[float]], bool] | None,
    ) -> Generated:
        """The text from the cursor on of an answer that begins with heal, where prompt.healed begins."""
        from mccomd.engine import Limits

        rule = self._rule()
        # What the result's text begins with: without the bytes that the vocabulary lacks, should it lack any.
        healed = engine.tokenizer.decode(engine.tokenizer.encode(prompt.healed))

        def text_of(ids: Sequence[int]) -> str:
            text = engine.tokenizer.decode(ids)
            return text[len(healed) :] if text.startswith(healed) else ""

        def complete(ids: Sequence[int]) -> bool:
            text = text_of(ids)
            return rule.end_of(text) is not None or goes_round(text)

        generation = engine.generate(
            prompt.ids,
            Limits(self.max_tokens, self.deadline, least_chance),
            complete,
            self.cancel,
            heal=heal,
            begins=begins,
            early=early,
            mixing=mixed,
        )
        unsure = generation.finish is Finish.UNSURE
        text = text_of(generation.ids[:-1] if unsure else generation.ids)  # its last one is the doubtful one
        end = rule.end_of(text)
        if end is None and (unsure or generation.finish in (Finish.LENGTH, Finish.DEADLINE)):
            text = whole_part(text)
        if unsure and text.strip().isalpha() and not self._head().strip():
            text = ""  # a "def" alone on its line tells nobody anything
        ended = generation.finish is Finish.STOP
        text = left_open(text[:end], self._wanted(), self.query.prefix, self.query.language, ended=ended)
        return Generated(prompt, generation, text, begins, mixed)

    def _head(self) -> str:
        """The cursor's line, left of it."""
        return self.query.prefix[self.query.prefix.rfind("\n") + 1 :]

    def _rule(self) -> StatementRule:
        query = self.query
        one_line = not self.config.completion.multi_line or single_line_wanted(query.prefix, query.suffix)
        return StatementRule(query.prefix, query.suffix, query.language, one_line)


@dataclass(frozen=True, slots=True)
class ReadAhead:
    """The prompt of the next request put into the model's cache before it comes; only time is saved."""

    query: Query
    snippets: Sequence[Snippet]
    config: Config
    cancel: CancelToken

    def __call__(self, engine: Engine) -> int:
        """How many tokens were read; fewer than the prompt has when a request came in between."""
        prompt = _prompt_of(engine, self.query, self.snippets, self.config)
        return engine.prefill(prompt.ids, self.cancel)


def _prompt_of(engine: Engine, query: Query, snippets: Sequence[Snippet], config: Config) -> Prompt:
    budget = Budget(config.model.context_tokens, config.completion.snippet_tokens)
    return build_prompt(query, snippets, engine.manifest.prompt, engine.lines, budget)


def mixing(engine: Engine, query: Query, prompt: Prompt, mixture: Mixture, table: Table | None) -> Mixing:
    """What is mixed with the model's probabilities behind a prompt, where prompt.healed begins."""
    from mccomd.engine import LONGEST, Known, Mixing, Scan

    def ids_of(text: str, healed: str = "") -> list[int]:
        return engine.lines.encode(clean_text(text.replace("\r\n", "\n").removesuffix(healed)))

    above = ids_of(query.prefix[-MIXED_CHARS:], prompt.healed)
    below = ids_of(query.suffix[:MIXED_CHARS])
    snippets = [ids_of(snippet.text) for snippet in prompt.snippets]
    caches = Scan([below, above]), Scan(snippets) if snippets else None, table
    return Mixing(mixture, Known(tuple(above[-LONGEST:]), caches))


def goes_round(text: str) -> bool:
    """Whether a text repeats itself at its end for so long that it will hardly leave off.

    postprocess.py keeps one round of what repeats at the end of the whole text, and of three equal lines. A
    list of six zeros is no loop yet, because its end may still come.
    """
    lines = text.split("\n")[-4:-1]  # whole ones: the last may not be finished
    if len(lines) == 3 and lines[0] == lines[1] == lines[2] and _WORD.search(lines[0]):
        return True
    for period in range(3, min(len(text) // LOOP_ROUNDS_LONG, LOOP_CHARS) + 1):
        unit = text[-period:]
        rounds = LOOP_ROUNDS if period < 10 else LOOP_ROUNDS_LONG
        if text.endswith(unit * rounds) and _WORD.search(unit):
            return True
    return False


def whole_part(text: str) -> str:
    """What can stand of a text that was cut off: its whole lines, or its only line without the last word.

    Half an escape goes, too: 'a = "b\\\\' -> 'a = "b'.
    """
    whole_lines = text.rpartition("\n")[0]
    if whole_lines.strip():
        return whole_lines
    kept = _LAST_WORD.sub("", text)
    backslashes = len(kept) - len(kept.rstrip("\\"))
    return kept[:-1] if backslashes % 2 else kept
