"""A hole in a file -> the ids to train on: the daemon's own prompt, then what was to be written.

The prompt is built by mccomd.prompt itself, healing included: it ends where a token may begin, and the middle
begins with the characters that the prompt left out. Snippets are what the
daemon's retrievers find in the repository's other files.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mccomd.engine.artifact import PromptConvention
from mccomd.prompt import Budget, Encoder, build_prompt
from mccomd.types import Query
from mccomd_models.training.holes import Hole, find_statements, pick_hole, span_hole
from mccomd_models.training.quality import parse
from mccomd_models.training.recipe import Shape
from mccomd_models.training.retrieval import Retriever
from mccomd_models.training.shards import Sample
from mccomd_models.training.sources import Source

__all__ = ["CONVENTION", "END", "Maker"]

CONVENTION = PromptConvention(
    kind="spm",
    # Special tokens of SmolLM2's tokenizer that text never becomes, and of no use to its instruct model.
    file_separator="<file_sep>",
    suffix_token="<jupyter_start>",
    prefix_token="<jupyter_text>",
    middle_token="<jupyter_code>",
    stop_tokens=("<file_sep>", "<repo_name>", "<filename>"),
)
END = "<|endoftext|>"
CHARS_PER_TOKEN = 3.2  # of Python in SmolLM2's vocabulary, measured over sympy; only a first guess


class Maker:
    """Makes samples of files with one tokenizer."""

    def __init__(self, encoder: Encoder, shape: Shape, convention: PromptConvention = CONVENTION) -> None:
        self._encoder, self._shape, self._convention = encoder, shape, convention
        self._end = encoder.token_id(END)

    def of_file(self, source: Source, retriever: Retriever | None, rng: random.Random) -> Iterator[Sample]:
        """Up to `per_file` samples of a file, fewer of a short one; none of one that does not parse."""
        tree = parse(source.text)
        if tree is None:
            return
        statements = find_statements(source.text, tree, rng)
        count = min(self._shape.per_file, 1 + len(statements) // 4) if statements else 0
        for statement in rng.sample(statements, count):
            if rng.random() < self._shape.spans:
                hole = span_hole(source.text, rng)
            else:
                hole = pick_hole(source.text, statement, rng)
            if hole is not None:
                sample = self.of_hole(source, hole, retriever, rng)
                if sample is not None:
                    yield sample

    def of_hole(
        self, source: Source, hole: Hole, retriever: Retriever | None, rng: random.Random
    ) -> Sample | None:
        """The sample of one hole; None when it is longer than allowed."""
        text, shape = source.text, self._shape
        prefix, middle = text[: hole.start], text[hole.start : hole.end]
        suffix = text[hole.end :]
        if rng.random() < shape.without_suffix:
            suffix = ""
        room, shown = _between(shape.snippet, rng), rng.random() < shape.with_snippets
        query = Query(
            path=source.path,
            relative_path=source.path,
            repository=None,
            language="python",
            prefix=prefix,
            suffix=suffix,
            limit=4,
        )
        snippets = retriever.search(query) if retriever is not None and shown else []
        seen = replace(
            query,
            prefix=_last(prefix, _between(shape.prefix, rng)),
            suffix=_first(suffix, _between(shape.suffix, rng)),
        )
        # Room enough that build_prompt cuts nothing but snippets: what it would cut was cut above, at random.
        budget = Budget(8 * shape.max_tokens, room)
        prompt = build_prompt(seen, snippets, self._convention, self._encoder, budget)
        wanted = [*self._encoder.encode(prompt.healed + middle), self._end]
        ids = [*prompt.ids, *wanted]
        if len(ids) > shape.max_tokens:
            return None
        return Sample(np.array(ids, np.uint16), len(prompt.ids), hole.kind)


def _between(span: tuple[int, int], rng: random.Random) -> int:
    """Small numbers likelier: uniform in the square root."""
    low, high = (end**0.5 for end in span)
    return round(rng.uniform(low, high) ** 2)


def _last(text: str, tokens: int) -> str:
    """About the last so many tokens, from the beginning of a line."""
    cut = max(0, len(text) - int(tokens * CHARS_PER_TOKEN))
    return text if cut == 0 else text[text.rfind("\n", 0, cut) + 1 :]


def _first(text: str, tokens: int) -> str:
    """About the first so many tokens, whole lines."""
    cut = int(tokens * CHARS_PER_TOKEN)
    return text if cut >= len(text) else text[: max(text.rfind("\n", 0, cut), 0)] or text[:cut]
