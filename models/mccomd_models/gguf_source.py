"""What stands in the GGUF file of a llama or a Qwen2: dimensions, float weights, tokenizer parts.

The only importer of gguf.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf.quants import dequantize

from mccomd_models.architecture import FloatArray, LayerWeights, LlamaConfig, Weights, rotate_half_order
from mccomd_models.tokenizer_source import BpeParts

__all__ = ["GgufModel", "read_gguf"]

CONTROL_TOKEN = 3  # gguf.TokenType.CONTROL
MAX_CONTEXT = 8192  # positions the daemon can use; the tables of a longer context would only take room


@dataclass(frozen=True, slots=True)
class GgufModel:
    config: LlamaConfig
    weights: Weights
    tokenizer: BpeParts
    end_ids: tuple[int, ...] = ()


def read_gguf(path: Path) -> GgufModel:
    """Read a model; ValueError when the file holds something else.

    A head that is the embedding in another rounding, as quantising tools leave it, counts as tied: the
    finer of the two is taken for both.
    """
    reader = gguf.GGUFReader(path)
    architecture = _field(reader, "general.architecture")
    if architecture not in ("llama", "qwen2"):
        raise ValueError(f"{path}: architecture is {architecture!r}, expected 'llama' or 'qwen2'")
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    scaled = next((name for name in reader.fields if ".rope.scaling." in name), "rope_freqs.weight")
    if scaled in reader.fields or scaled in tensors:
        raise ValueError(f"{path}: positions are scaled ({scaled}), which is not known here")
    config = _config(reader, architecture, tensors)
    weights = _weights(config, tensors, architecture)
    if weights.head is not None and _same_but_rounded(weights.embedding, weights.head):
        finer = max("token_embd.weight", "output.weight", key=lambda name: tensors[name].n_bytes)
        table = weights.embedding if finer == "token_embd.weight" else weights.head
        weights, config = replace(weights, embedding=table, head=None), replace(config, tied=True)
    return GgufModel(config, weights, _tokenizer(reader), _end_ids(reader))


def _same_but_rounded(left: FloatArray, right: FloatArray) -> bool:
    """Whether two tables are one but for rounding; unrelated ones have a correlation near 0."""
    rows = slice(0, None, max(1, len(left) // 1000))
    a, b = left[rows].ravel(), right[rows].ravel()
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b))) > 0.98


def _end_ids(reader: Any) -> tuple[int, ...]:
    names = [f"tokenizer.ggml.{kind}_token_id" for kind in ("eos", "eot")]
    return tuple(dict.fromkeys(int(_field(reader, name)) for name in names if name in reader.fields))


def _field(reader: Any, name: str) -> Any:
    return reader.fields[name].contents()


def _config(reader: Any, kind: str, tensors: dict[str, Any]) -> LlamaConfig:
    heads = _field(reader, f"{kind}.attention.head_count")
    kv_heads = f"{kind}.attention.head_count_kv"
    theta = f"{kind}.rope.freq_base"
    return LlamaConfig(
        layers=_field(reader, f"{kind}.block_count"),
        hidden=_field(reader, f"{kind}.embedding_length"),
        ffn=_field(reader, f"{kind}.feed_forward_length"),
        heads=heads,
        kv_heads=_field(reader, kv_heads) if kv_heads in reader.fields else heads,
        vocab=len(_field(reader, "tokenizer.ggml.tokens")),
        rope_theta=_field(reader, theta) if theta in reader.fields else 10_000.0,
        norm_eps=_field(reader, f"{kind}.attention.layer_norm_rms_epsilon"),
        context_tokens=min(MAX_CONTEXT, _field(reader, f"{kind}.context_length")),
        biases="blk.0.attn_q.bias" in tensors,
        tied="output.weight" not in tensors,
    )


def _weights(config: LlamaConfig, tensors: dict[str, Any], kind: str) -> Weights:
    def get(name: str, part: str = "weight") -> FloatArray:
        tensor = tensors[f"{name}.{part}"]
        return np.asarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)

    def rotated(name: str, heads: int) -> FloatArray:
        """Only llamas are stored in the interleaved order."""
        return rotate_half_order(get(name), heads) if kind == "llama" else get(name)

    def bias(i: int) -> FloatArray | None:
        if not config.biases:
            return None
        return np.concatenate([get(f"blk.{i}.attn_{part}", "bias") for part in "qkv"])

    def layer(i: int) -> LayerWeights:
        return LayerWeights(
            attention_norm=get(f"blk.{i}.attn_norm"),
            q=rotated(f"blk.{i}.attn_q", config.heads),
            k=rotated(f"blk.{i}.attn_k", config.kv_heads),
            v=get(f"blk.{i}.attn_v"),
            output=get(f"blk.{i}.attn_output"),
            ffn_norm=get(f"blk.{i}.ffn_norm"),
            gate=get(f"blk.{i}.ffn_gate"),
            up=get(f"blk.{i}.ffn_up"),
            down=get(f"blk.{i}.ffn_down"),
            qkv_bias=bias(i),
        )

    layers = tuple(layer(i) for i in range(config.layers))
    head = None if config.tied else get("output")
    return Weights(get("token_embd"), layers, get("output_norm"), head)


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
