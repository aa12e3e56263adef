"""How the parts of a byte-level BPE tokenizer become a Hugging Face tokenizer.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

__all__ = ["BpeParts", "build_tokenizer", "write_tokenizer"]


@dataclass(frozen=True, slots=True)
class BpeParts:
    """What a byte-level BPE tokenizer is made of."""

    tokens: tuple[str, ...]  # position = id
    merges: tuple[tuple[str, str], ...]  # best first
    special: tuple[str, ...]  # the names among `tokens` that text never becomes
    pre_tokenizer: str


def build_tokenizer(parts: BpeParts) -> Tokenizer:
    """A byte-level BPE tokenizer; ValueError for a pre-tokenizer other than 'smollm'.

    'smollm' is llama.cpp's name for: every digit by itself, then GPT-2's byte-level pattern.
    """
    if parts.pre_tokenizer != "smollm":
        raise ValueError(f"pre-tokenizer {parts.pre_tokenizer!r} is not known here, only 'smollm'")
    vocab = {token: i for i, token in enumerate(parts.tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=list(parts.merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in parts.special]
    )
    return tokenizer


def write_tokenizer(path: Path, parts: BpeParts) -> None:
    build_tokenizer(parts).save(str(path), pretty=False)
