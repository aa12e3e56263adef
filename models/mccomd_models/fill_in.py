"""How does a model want its fill-in-the-middle prompt? Told by the names of its tokens, proved by filling in.

A family is known by the names of its three markers. Which order of the parts works, and whether it works at
all, is tried on gaps that only the text behind them can tell.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mccomd.engine.artifact import Manifest, PromptConvention
from mccomd.engine.session import EngineOptions, Session
from mccomd.engine.tokenizer import Tokenizer

__all__ = ["FAMILIES", "GAPS", "Gap", "Trial", "conventions_for", "end_names", "try_convention"]

MIN_RIGHT = 3
"""Of the gaps; a model that ignores what stands behind fills none of them but by luck."""


@dataclass(frozen=True, slots=True)
class _Family:
    prefix: str
    suffix: str
    middle: str
    others: tuple[str, ...] = ()  # tokens that end an answer, where there are such


FAMILIES = (
    _Family("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>",
            ("<|fim_pad|>", "<|file_sep|>", "<|repo_name|>")),
    _Family("<fim_prefix>", "<fim_suffix>", "<fim_middle>",
            ("<fim_pad>", "<file_sep>", "<repo_name>", "<filename>")),
    _Family("<fim-prefix>", "<fim-suffix>", "<fim-middle>", ("<fim-pad>",)),
    _Family("<|fim_begin|>", "<|fim_hole|>", "<|fim_end|>"),
    _Family("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
)  # fmt: skip
_ENDS = ("<|endoftext|>", "<|im_end|>", "<|end_of_text|>", "<|eot_id|>", "<｜end▁of▁sentence｜>", "</s>")


def conventions_for(tokens: Collection[str]) -> list[PromptConvention]:
    """The conventions worth a trial for a vocabulary: none when it has no markers.

    Suffix first comes first: of two that work it is the better one, because what the user types then stands
    at the end and all before it stays in the cache.
    """
    names = set(tokens)
    for family in FAMILIES:
        markers = {family.prefix, family.suffix, family.middle}
        if markers <= names:
            stops = tuple(
                name
                for name in (family.prefix, family.suffix, family.middle, *family.others)
                if name in names
            )
            common = {
                "prefix_token": family.prefix,
                "suffix_token": family.suffix,
                "middle_token": family.middle,
                "stop_tokens": stops,
            }
            return [PromptConvention(kind="spm", **common), PromptConvention(kind="psm", **common)]  # type: ignore[arg-type]
    return []


def end_names(tokens: Collection[str]) -> list[str]:
    """The tokens of a vocabulary that end any text."""
    return [name for name in _ENDS if name in tokens]


@dataclass(frozen=True, slots=True)
class Gap:
    prefix: str
    middle: str
    suffix: str


GAPS = (
    Gap("import ", "json", "\n\n\ndef dump(value):\n    return json.dumps(value, indent=2)\n"),
    Gap("total = 0\nfor ", "price", " in range(10):\n    total += price * 2\nprint(total)\n"),
    Gap("def read(path):\n    with open(path) as ", "handle", ":\n        return handle.read()\n"),
    Gap("threshold = 3\n\n\ndef ", "is_above",
        "(value):\n    return value > threshold\n\n\nassert is_above(4)\n"),
    Gap("def area(width, height):\n    ", "result = width * height", "\n    return result\n"),
    Gap("class Stack:\n    def __init__(self):\n        self.", "entries", " = []\n\n"
        "    def push(self, item):\n        self.entries.append(item)\n"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trial:
    """What one convention gave."""

    convention: PromptConvention
    right: int  # gaps filled as they must be
    nats: float  # of a token of what belongs there, on average

    @property
    def works(self) -> bool:
        return self.right >= MIN_RIGHT


def try_convention(folder: Path, manifest: Manifest, convention: PromptConvention) -> Trial:
    """Fill the gaps greedily, and measure how expected the right filling is."""
    tokenizer = Tokenizer(folder, convention.token_names(), manifest.vocab)
    session = Session(folder, manifest, EngineOptions(context_tokens=512))
    try:
        tried = [_fill(session, tokenizer, convention, gap) for gap in GAPS]
    finally:
        session.close()
    return Trial(convention, sum(right for right, _ in tried), float(np.mean([nats for _, nats in tried])))


def _fill(
    session: Session, tokenizer: Tokenizer, convention: PromptConvention, gap: Gap
) -> tuple[bool, float]:
    """(whether every token of the filling is the most probable one, nats a token), in one pass."""
    prompt = _arranged(tokenizer, convention, gap)
    wanted = tokenizer.encode(gap.middle)
    session.rewind(0)
    logits = session.forward([*prompt, *wanted], len(wanted) + 1)[:-1].astype(np.float64)
    rows = np.arange(len(wanted))
    likely = logits[rows, wanted] - np.log(np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1))
    return bool((logits.argmax(axis=1) == wanted).all()), float(np.mean(logits.max(axis=1) - likely))


def _arranged(tokenizer: Tokenizer, convention: PromptConvention, gap: Gap) -> Sequence[int]:
    def marker(name: str | None) -> list[int]:
        return [] if name is None else [tokenizer.token_id(name)]

    prefix = [*marker(convention.prefix_token), *tokenizer.encode(gap.prefix)]
    suffix = [*marker(convention.suffix_token), *tokenizer.encode(gap.suffix)]
    parts = [*suffix, *prefix] if convention.kind == "spm" else [*prefix, *suffix]
    return [*marker(convention.bos), *parts, *marker(convention.middle_token)]
