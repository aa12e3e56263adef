"""What a llama is: its dimensions and its weights, wherever they come from.

Knows nothing of files, of ONNX and of quantisation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FloatArray", "LayerWeights", "LlamaConfig", "Weights", "random_weights", "rotate_half_order"]

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LlamaConfig:
    """The dimensions of a llama with grouped-query attention, SwiGLU and a tied head."""

    layers: int
    hidden: int
    ffn: int
    heads: int
    kv_heads: int
    vocab: int
    rope_theta: float
    norm_eps: float
    context_tokens: int

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
        """How many weights; the head shares the embedding's."""
        attention = 2 * self.hidden * self.head_dim * (self.heads + self.kv_heads)
        per_layer = attention + 3 * self.hidden * self.ffn + 2 * self.hidden
        return self.vocab * self.hidden + self.layers * per_layer + self.hidden


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


@dataclass(frozen=True, slots=True)
class Weights:
    """A whole model; embedding is (vocab, hidden) and is the head too."""

    embedding: FloatArray
    layers: tuple[LayerWeights, ...]
    final_norm: FloatArray


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
        )

    layers = tuple(layer() for _ in range(config.layers))
    return Weights(embedding=matrix(config.vocab, config.hidden), layers=layers, final_norm=norm())


def rotate_half_order(matrix: FloatArray, heads: int) -> FloatArray:
    """Rows of q or k from the interleaved rotary order of GGUF files to rotate-half.

    Within each head rows (0, 1, 2, 3, ...) become (0, 2, 4, ..., 1, 3, 5, ...): the inverse of the
    permutation that llama.cpp's convert_hf_to_gguf.py applies to llama checkpoints.
    """
    out, inner = matrix.shape
    pairs = matrix.reshape(heads, out // heads // 2, 2, inner)
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(out, inner))
