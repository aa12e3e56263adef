"""What a llama computes, in plain numpy: the independent answer that the engine is tested against.

No cache, no batching, nothing shared with the graph but the weights. Quadratic in the length: for tests.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mccomd_models.architecture import FloatArray, LayerWeights, LlamaConfig, Weights

__all__ = ["continue_greedily", "forward"]


def forward(config: LlamaConfig, weights: Weights, ids: Sequence[int]) -> FloatArray:
    """Logits float32 (n, vocab) of n ids at the positions 0 .. n - 1."""
    x = weights.embedding[list(ids)]  # (n, hidden)
    for layer in weights.layers:
        x = x + _attention(config, layer, _rms_norm(x, layer.attention_norm, config.norm_eps))
        x = x + _swiglu(layer, _rms_norm(x, layer.ffn_norm, config.norm_eps))
    head = weights.embedding if weights.head is None else weights.head
    return _rms_norm(x, weights.final_norm, config.norm_eps) @ head.T


def continue_greedily(config: LlamaConfig, weights: Weights, prompt: Sequence[int], count: int) -> list[int]:
    """The `count` most probable next ids, each after a full pass over all before it."""
    ids = list(prompt)
    for _ in range(count):
        ids.append(int(forward(config, weights, ids)[-1].argmax()))
    return ids[len(prompt) :]


def _rms_norm(x: FloatArray, gain: FloatArray, eps: float) -> FloatArray:
    mean_square: FloatArray = np.mean(np.square(x), axis=-1, keepdims=True)
    scaled: FloatArray = (x / np.sqrt(mean_square + eps) * gain).astype(np.float32)
    return scaled


def _attention(config: LlamaConfig, layer: LayerWeights, x: FloatArray) -> FloatArray:
    n, group = len(x), config.heads // config.kv_heads
    q_bias, k_bias, v_bias = _biases(config, layer)
    q = _rotate(config, _heads(x @ layer.q.T + q_bias, config.heads))  # (heads, n, head_dim)
    k = _rotate(config, _heads(x @ layer.k.T + k_bias, config.kv_heads)).repeat(group, axis=0)
    v = _heads(x @ layer.v.T + v_bias, config.kv_heads).repeat(group, axis=0)
    scores = (q @ k.swapaxes(1, 2) * config.head_dim**-0.5).astype(np.float32)  # (heads, n, n)
    future = np.triu(np.ones((n, n), dtype=bool), 1)
    mixed = _softmax(np.where(future, np.float32(-np.inf), scores)) @ v  # (heads, n, head_dim)
    joined: FloatArray = mixed.swapaxes(0, 1).reshape(n, -1).astype(np.float32)
    return joined @ layer.output.T


def _biases(config: LlamaConfig, layer: LayerWeights) -> tuple[FloatArray, FloatArray, FloatArray]:
    q, kv = config.heads * config.head_dim, config.kv_heads * config.head_dim
    joined = np.zeros(q + 2 * kv, np.float32) if layer.qkv_bias is None else layer.qkv_bias
    return joined[:q], joined[q : q + kv], joined[q + kv :]


def _heads(x: FloatArray, heads: int) -> FloatArray:
    """(n, heads * head_dim) -> (heads, n, head_dim)"""
    return x.reshape(len(x), heads, -1).swapaxes(0, 1)


def _rotate(config: LlamaConfig, x: FloatArray) -> FloatArray:
    """Rotary position embedding, Su et al. 2021: element i turns with element i + head_dim / 2."""
    half = config.head_dim // 2
    frequencies = config.rope_theta ** (-np.arange(half) / half)
    angles = np.arange(x.shape[1])[:, None] * frequencies  # (n, half)
    cos, sin = np.cos(angles), np.sin(angles)
    left, right = x[..., :half], x[..., half:]
    return np.concatenate([left * cos - right * sin, right * cos + left * sin], axis=-1).astype(np.float32)


def _softmax(x: FloatArray) -> FloatArray:
    exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
    probabilities: FloatArray = (exponentials / exponentials.sum(axis=-1, keepdims=True)).astype(np.float32)
    return probabilities


def _swiglu(layer: LayerWeights, x: FloatArray) -> FloatArray:
    gate = x @ layer.gate.T
    out: FloatArray = (gate / (1 + np.exp(-gate)) * (x @ layer.up.T)) @ layer.down.T
    return out
