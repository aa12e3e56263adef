"""How the parts of a byte-level BPE tokenizer become a Hugging Face tokenizer.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

__all__ = ["BpeParts", "build_tokenizer", "vocabulary", "write_tokenizer"]


@dataclass(frozen=True, slots=True)
class BpeParts:
    """What a byte-level BPE tokenizer is made of."""

    tokens: tuple[str, ...]  # position = id
    merges: tuple[tuple[str, str], ...]  # best first
    special: tuple[str, ...]  # the names among `tokens` that text never becomes
    pre_tokenizer: str


_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _smollm() -> list[pre_tokenizers.PreTokenizer]:
    return [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]


def _qwen2() -> list[pre_tokenizers.PreTokenizer]:
    by_pattern = pre_tokenizers.Split(Regex(_QWEN2), behavior="isolated")
    return [by_pattern, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]


_PRE_TOKENIZERS = {"smollm": _smollm, "qwen2": _qwen2}


def build_tokenizer(parts: BpeParts) -> Tokenizer:
    """A byte-level BPE tokenizer; ValueError for a pre-tokenizer that is not known here.

    The names are llama.cpp's. 'smollm': every digit by itself, then GPT-2's byte-level pattern; 'qwen2':
    its own pattern, every digit by itself, and text in Unicode's form C.
    """
    known = _PRE_TOKENIZERS.get(parts.pre_tokenizer)
    if known is None:
        names = ", ".join(map(repr, _PRE_TOKENIZERS))
        raise ValueError(f"pre-tokenizer {parts.pre_tokenizer!r} is not known here, only {names}")
    vocab = {token: i for i, token in enumerate(parts.tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=list(parts.merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(known())
    if parts.pre_tokenizer == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in parts.special]
    )
    return tokenizer


def write_tokenizer(path: Path, parts: BpeParts) -> None:
    build_tokenizer(parts).save(str(path), pretty=False)


def vocabulary(path: Path) -> dict[str, int]:
    """The id of every token of a tokenizer.json, added ones included. ValueError when it is none."""
    try:
        return dict(Tokenizer.from_file(str(path)).get_vocab(with_added_tokens=True))
    except Exception as error:  # the library raises bare Exception
        raise ValueError(f"{path}: no tokenizer: {error}") from error
