"""A hole in a file -> the ids to train on: the daemon's own prompt, then what was to be written.

The prompt is built by mccomd.prompt itself, healing included: it ends where a token may begin, and the middle
begins with the characters that the prompt left out. Snippets are what the
daemon's retrievers find in the repository's other files.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from mccomd.engine.artifact import PromptConvention
from mccomd.prompt import Budget, Encoder, build_prompt
from mccomd.types import Query
from mccomd_models.training.holes import Hole, Statement, find_statements, pick_hole, span_hole
from mccomd_models.training.quality import parse
from mccomd_models.training.recipe import Shape
from mccomd_models.training.retrieval import Retriever
from mccomd_models.training.shards import Branch, Sample
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
GROUP_CHARS = 700  # between the first and the last of the holes that share a context


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
            holes = self._holes(source.text, statements, statement, rng)
            if holes:
                sample = self.of_holes(source, holes, retriever, rng)
                if sample is not None:
                    yield sample

    def _holes(
        self, text: str, statements: list[Statement], first: Statement, rng: random.Random
    ) -> list[Hole]:
        """One hole, or as many as may share a context: in statements that follow, two of them in the last.

        Those in earlier statements do not reach the suffix, as where code is written from the top.
        """
        if rng.random() < self._shape.spans:
            found = [span_hole(text, rng)]
        elif self._shape.holes == 1:
            found = [pick_hole(text, first, rng)]
        else:
            at = statements.index(first)
            near = [s for s in statements[at:] if s.end - first.start <= GROUP_CHARS]
            near = near[: rng.randint(1, self._shape.holes - 1)]
            found = [pick_hole(text, statement, rng) for statement in [*near, near[-1]]]
        holes = {hole.start: hole for hole in found if hole is not None}
        return [holes[start] for start in sorted(holes)]

    def of_holes(
        self, source: Source, holes: Sequence[Hole], retriever: Retriever | None, rng: random.Random
    ) -> Sample | None:
        """The sample of some holes, in the order of the text; None when it is longer than allowed.

        Each hole's prompt is the daemon's, with its own end of the prefix and the last one's suffix.
        """
        text, shape = source.text, self._shape
        prefix, suffix = text[: holes[0].start], text[holes[-1].end :]
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
        begins = holes[0].start - len(_last(prefix, _between(shape.prefix, rng)))
        suffix = _first(suffix, _between(shape.suffix, rng))
        # Room enough that build_prompt cuts nothing but snippets: what it would cut was cut above.
        budget = Budget(8 * shape.max_tokens, room)
        prompts, wanted = [], []
        for hole in holes:
            seen = replace(query, prefix=text[begins : hole.start], suffix=suffix)
            prompt = build_prompt(seen, snippets, self._convention, self._encoder, budget)
            middle = prompt.healed + text[hole.start : hole.end]
            prompts.append(list(prompt.ids))
            wanted.append([*self._encoder.encode(middle), self._end])
        ids, branches = _joined(prompts, wanted)
        if len(ids) > shape.max_tokens:
            return None
        kept = branches if len(branches) > 1 else ()
        return Sample(np.array(ids, np.uint16), branches[0].middle, holes[0].kind, kept)


def _joined(prompts: list[list[int]], wanted: list[list[int]]) -> tuple[list[int], tuple[Branch, ...]]:
    """The last prompt but for its last id, which all share as far as they agree with it; then branches."""
    ids = prompts[-1][:-1]
    trunk, branches = len(ids), []
    for prompt, middle in zip(prompts, wanted, strict=True):
        pairs = enumerate(zip(prompt[:-1], ids[:trunk], strict=False))
        seen = next((at for at, (one, other) in pairs if one != other), min(len(prompt) - 1, trunk))
        start = len(ids)
        ids += [*prompt[seen:], *middle]
        branches.append(Branch(seen, start, len(ids) - len(middle)))
    return ids, tuple(branches)


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
