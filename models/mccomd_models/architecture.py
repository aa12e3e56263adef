"""What a llama is: its dimensions and its weights, wherever they come from. A Qwen2 is one with biases.

Knows nothing of files, of ONNX and of quantisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FloatArray",
    "LayerWeights",
    "LlamaConfig",
    "Weights",
    "average",
    "interleaved_order",
    "random_weights",
    "rotate_half_order",
]

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LlamaConfig:
    """The dimensions of a llama with grouped-query attention and SwiGLU."""

    layers: int
    hidden: int
    ffn: int
    heads: int
    kv_heads: int
    vocab: int
    rope_theta: float
    norm_eps: float
    context_tokens: int
    biases: bool = False  # of q, k and v: Qwen2
    tied: bool = True  # whether the head is the embedding

    def __post_init__(self) -> None:
        if self.hidden % self.heads or self.heads % self.kv_heads:
            raise ValueError(
                f"hidden {self.hidden}, heads {self.heads}, kv_heads {self.kv_heads} do not divide"
            )

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads

    @property
    def parameters(self) -> int:
        """How many weights; a tied head shares the embedding's."""
        attention = 2 * self.hidden * self.head_dim * (self.heads + self.kv_heads)
        biases = self.head_dim * (self.heads + 2 * self.kv_heads) if self.biases else 0
        per_layer = attention + biases + 3 * self.hidden * self.ffn + 2 * self.hidden
        tables = self.vocab * self.hidden * (1 if self.tied else 2)
        return tables + self.layers * per_layer + self.hidden

    @property
    def architecture(self) -> str:
        return "qwen2" if self.biases else "llama"


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """One layer; matrices are (out, in), norms (hidden,).

    q and k are in the rotate-half order (element i is rotated with i + head_dim / 2), as in Hugging Face
    checkpoints.
    """

    attention_norm: FloatArray
    q: FloatArray
    k: FloatArray
    v: FloatArray
    output: FloatArray
    ffn_norm: FloatArray
    gate: FloatArray
    up: FloatArray
    down: FloatArray
    qkv_bias: FloatArray | None = None  # of q, k and v one after the other, in the order of their rows


@dataclass(frozen=True, slots=True)
class Weights:
    """A whole model; embedding is (vocab, hidden), and is the head too when there is no other."""

    embedding: FloatArray
    layers: tuple[LayerWeights, ...]
    final_norm: FloatArray
    head: FloatArray | None = None  # (vocab, hidden)


def average(parts: Sequence[Weights], shares: Sequence[float] | None = None) -> Weights:
    """The mean of several weights of one shape; shares: of each, which make 1, by default equal ones."""

    def mean(arrays: list[Any]) -> Any:
        if arrays[0] is None:  # biases, which a llama has not
            return None
        found: FloatArray = np.average(np.stack(arrays).astype(np.float64), axis=0, weights=shares)
        return found.astype(np.float32)

    layers = tuple(
        LayerWeights(*(mean([getattr(layer, name) for layer in group]) for name in LayerWeights.__slots__))
        for group in zip(*(part.layers for part in parts), strict=True)
    )
    return Weights(mean([p.embedding for p in parts]), layers, mean([p.final_norm for p in parts]))


def random_weights(config: LlamaConfig, seed: int) -> Weights:
    """Weights of a model that computes something, for tests of mechanics."""
    rng = np.random.default_rng(seed)

    def matrix(out: int, inner: int) -> FloatArray:
        return rng.normal(0, inner**-0.5, (out, inner)).astype(np.float32)

    def norm() -> FloatArray:
        return rng.uniform(0.5, 1.5, config.hidden).astype(np.float32)

    def layer() -> LayerWeights:
        h, q_dim, kv_dim = config.hidden, config.heads * config.head_dim, config.kv_heads * config.head_dim
        return LayerWeights(
            attention_norm=norm(),
            q=matrix(q_dim, h),
            k=matrix(kv_dim, h),
            v=matrix(kv_dim, h),
            output=matrix(h, q_dim),
            ffn_norm=norm(),
            gate=matrix(config.ffn, h),
            up=matrix(config.ffn, h),
            down=matrix(h, config.ffn),
            qkv_bias=rng.normal(0, 0.5, q_dim + 2 * kv_dim).astype(np.float32) if config.biases else None,
        )

    layers = tuple(layer() for _ in range(config.layers))
    embedding, final_norm = matrix(config.vocab, config.hidden), norm()
    return Weights(
        embedding, layers, final_norm, None if config.tied else matrix(config.vocab, config.hidden)
    )


def rotate_half_order(matrix: FloatArray, heads: int) -> FloatArray:
    """Rows of q or k from the interleaved rotary order of GGUF files to rotate-half.

    Within each head rows (0, 1, 2, 3, ...) become (0, 2, 4, ..., 1, 3, 5, ...): the inverse of the
    permutation that llama.cpp's convert_hf_to_gguf.py applies to llama checkpoints.
    """
    out, inner = matrix.shape
    pairs = matrix.reshape(heads, out // heads // 2, 2, inner)
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(out, inner))


def interleaved_order(matrix: FloatArray, heads: int) -> FloatArray:
    """The inverse of rotate_half_order."""
    out, inner = matrix.shape
    halves = matrix.reshape(heads, 2, out // heads // 2, inner)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(out, inner))
