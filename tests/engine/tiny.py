"""A tiny random model, written by the real exporter: for what is about mechanics and not about text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from tokenizers.pre_tokenizers import ByteLevel

from mccomd.engine.artifact import TOKENIZER_FILE, Manifest, PromptConvention, load_manifest, write_manifest
from mccomd.types import CancelToken
from mccomd_models.architecture import LlamaConfig, Weights, random_weights
from mccomd_models.export import Description, export
from mccomd_models.graph import Precision
from mccomd_models.tokenizer_source import BpeParts, write_tokenizer

CONFIG = LlamaConfig(
    layers=2,
    hidden=64,
    ffn=96,
    heads=2,
    kv_heads=1,
    vocab=288,
    rope_theta=10_000.0,
    norm_eps=1e-5,
    context_tokens=256,
)
SPECIAL = ("<|endoftext|>", "<file_sep>")
DESCRIPTION = Description(
    name="tiny",
    prompt=PromptConvention(kind="prefix", file_separator="<file_sep>"),
    end_ids=(0,),
    origin="random numbers",
    licence="Apache-2.0",
)


@dataclass(frozen=True)
class Tiny:
    folder: Path
    config: LlamaConfig
    weights: Weights


def write_tiny(folder: Path, precision: Precision, seed: int = 3, config: LlamaConfig = CONFIG) -> Tiny:
    """A model folder of a few hundred kB. Its ids: 0 and 1 special, then 256 bytes, then padding."""
    parts = BpeParts((*SPECIAL, *sorted(ByteLevel.alphabet())), (), SPECIAL, "smollm")
    write_tokenizer(folder / TOKENIZER_FILE, parts)
    weights = random_weights(config, seed)
    export(folder, config, weights, precision, DESCRIPTION)
    return Tiny(folder, config, weights)


def change_manifest(folder: Path, **changes: object) -> Manifest:
    """Rewrite a folder's manifest with other values."""
    manifest = msgspec.structs.replace(load_manifest(folder), **changes)
    write_manifest(folder, manifest)
    return manifest


class CancelAfter(CancelToken):
    """Cancelled from its (looks + 1)-th reading on: the engine reads it once between passes."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    @property
    def cancelled(self) -> bool:
        self.looks -= 1
        return self.looks < 0


def never(ids: Sequence[int]) -> bool:
    """A stop rule that lets everything pass."""
    return False
