"""What stands in a llama GGUF file: dimensions, float weights, tokenizer parts.

The only importer of gguf.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf.quants import dequantize

from mccomd_models.architecture import FloatArray, LayerWeights, LlamaConfig, Weights, rotate_half_order
from mccomd_models.tokenizer_source import BpeParts

__all__ = ["GgufModel", "read_gguf"]

CONTROL_TOKEN = 3  # gguf.TokenType.CONTROL


@dataclass(frozen=True, slots=True)
class GgufModel:
    config: LlamaConfig
    weights: Weights
    tokenizer: BpeParts


def read_gguf(path: Path) -> GgufModel:
    """Read a llama with a tied head; ValueError when the file holds something else."""
    reader = gguf.GGUFReader(path)
    architecture = _field(reader, "general.architecture")
    if architecture != "llama":
        raise ValueError(f"{path}: architecture is {architecture!r}, expected 'llama'")
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    if "output.weight" in tensors:
        raise ValueError(f"{path}: the head has weights of its own, expected it tied to the embedding")
    config = _config(reader)
    return GgufModel(config, _weights(config, tensors), _tokenizer(reader))


def _field(reader: Any, name: str) -> Any:
    return reader.fields[name].contents()


def _config(reader: Any) -> LlamaConfig:
    return LlamaConfig(
        layers=_field(reader, "llama.block_count"),
        hidden=_field(reader, "llama.embedding_length"),
        ffn=_field(reader, "llama.feed_forward_length"),
        heads=_field(reader, "llama.attention.head_count"),
        kv_heads=_field(reader, "llama.attention.head_count_kv"),
        vocab=len(_field(reader, "tokenizer.ggml.tokens")),
        rope_theta=_field(reader, "llama.rope.freq_base"),
        norm_eps=_field(reader, "llama.attention.layer_norm_rms_epsilon"),
        context_tokens=_field(reader, "llama.context_length"),
    )


def _weights(config: LlamaConfig, tensors: dict[str, Any]) -> Weights:
    def get(name: str) -> FloatArray:
        tensor = tensors[f"{name}.weight"]
        return np.asarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)

    def layer(i: int) -> LayerWeights:
        return LayerWeights(
            attention_norm=get(f"blk.{i}.attn_norm"),
            q=rotate_half_order(get(f"blk.{i}.attn_q"), config.heads),
            k=rotate_half_order(get(f"blk.{i}.attn_k"), config.kv_heads),
            v=get(f"blk.{i}.attn_v"),
            output=get(f"blk.{i}.attn_output"),
            ffn_norm=get(f"blk.{i}.ffn_norm"),
            gate=get(f"blk.{i}.ffn_gate"),
            up=get(f"blk.{i}.ffn_up"),
            down=get(f"blk.{i}.ffn_down"),
        )

    layers = tuple(layer(i) for i in range(config.layers))
    return Weights(embedding=get("token_embd"), layers=layers, final_norm=get("output_norm"))


def _tokenizer(reader: Any) -> BpeParts:
    tokens = tuple(_field(reader, "tokenizer.ggml.tokens"))
    kinds = _field(reader, "tokenizer.ggml.token_type")
    merges = (merge.split(" ") for merge in _field(reader, "tokenizer.ggml.merges"))
    return BpeParts(
        tokens=tokens,
        merges=tuple((left, right) for left, right in merges),
        special=tuple(token for token, kind in zip(tokens, kinds, strict=True) if kind == CONTROL_TOKEN),
        pre_tokenizer=_field(reader, "tokenizer.ggml.pre"),
    )
