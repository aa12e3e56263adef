"""The llama of architecture.py in torch, for training: many sequences at once, no cache.

The same function as reference.forward, which a test holds it to. Matrices are packed as in the exported
graph: q, k, v are one, gate and up are one. Weights stay float32; autocast decides what the products run in.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mccomd_models.architecture import FloatArray, LayerWeights, LlamaConfig, Weights
from mccomd_models.training.rounding import rounded

__all__ = ["Layer", "LowRank", "Matrix", "Network", "Rows", "load_weights", "read_weights"]


@dataclass(frozen=True, slots=True)
class Rows:
    """Sequences as the network reads them; all int64 (rows, tokens).

    documents: which document of its row a token belongs to, when rows hold several: a token sees only its
    own. None: one document a row, padded on the right, which causal attention never sees.
    """

    ids: Tensor
    positions: Tensor
    documents: Tensor | None = None

    def mask(self) -> Tensor | None:
        """bool (rows, 1, tokens, tokens): what each token sees; None: all before it."""
        if self.documents is None:
            return None
        same = self.documents[:, :, None] == self.documents[:, None, :]
        return same.tril()[:, None]


class Matrix(nn.Linear):
    """A linear map without bias whose weights may be seen rounded."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)
        self.bits = 0  # 0: as they are
        self.block = 32

    def forward(self, x: Tensor) -> Tensor:
        weight = rounded(self.weight, self.bits, self.block) if self.bits else self.weight
        return F.linear(x, weight)


class LowRank(nn.Module):
    """A matrix that stays, plus the product of two thin ones that learns. Source: Hu et al. 2021."""

    def __init__(self, inner: nn.Linear, rank: int) -> None:
        super().__init__()
        self.inner = inner.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(rank, inner.in_features) / inner.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(inner.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + F.linear(F.linear(x, self.down), self.up)


class Layer(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        hidden, kv = config.hidden, config.kv_heads * config.head_dim
        self.config = config
        self.attention_norm = nn.Parameter(torch.ones(hidden))
        self.qkv = Matrix(hidden, config.heads * config.head_dim + 2 * kv)
        self.output = Matrix(config.heads * config.head_dim, hidden)
        self.ffn_norm = nn.Parameter(torch.ones(hidden))
        self.gate_up = Matrix(hidden, 2 * config.ffn)
        self.down = Matrix(config.ffn, hidden)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        eps, width = self.config.norm_eps, (self.config.hidden,)
        x = x + self._attention(F.rms_norm(x, width, self.attention_norm, eps), cos, sin, mask)
        gate, up = self.gate_up(F.rms_norm(x, width, self.ffn_norm, eps)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)

    def round(self, bits: int, block: int) -> None:
        """See the four matrices in so many bits."""
        for matrix in (self.qkv, self.output, self.gate_up, self.down):
            matrix.bits, matrix.block = bits, block

    def adapt(self, rank: int) -> None:
        """Let the four matrices learn in low rank."""
        for name in ("qkv", "output", "gate_up", "down"):
            setattr(self, name, LowRank(getattr(self, name), rank))

    def _attention(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        heads, kv, size = self.config.heads, self.config.kv_heads, self.config.head_dim
        rows, tokens, _ = x.shape
        packed = self.qkv(x).view(rows, tokens, heads + 2 * kv, size).transpose(1, 2)
        q, k, v = packed.split([heads, kv, kv], dim=1)  # (rows, heads, tokens, head_dim)
        q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
        k, v = (part.repeat_interleave(heads // kv, dim=1) for part in (k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        return self.output(mixed.transpose(1, 2).reshape(rows, tokens, -1))


class Network(nn.Module):
    """`body` gives hidden states, `head` turns those wanted into logits: most need none."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab, config.hidden)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.final_norm = nn.Parameter(torch.ones(config.hidden))

    def body(self, ids: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
        """Hidden states (rows, tokens, hidden), normed."""
        x = self.embedding(ids)
        half = self.config.head_dim // 2
        frequencies = self.config.rope_theta ** (-torch.arange(half, device=ids.device) / half)
        angles = positions[:, None, :, None] * frequencies  # (rows, 1, tokens, half)
        cos, sin = angles.cos(), angles.sin()
        for layer in self.layers:
            x = layer(x, cos, sin, mask)
        return F.rms_norm(x, (self.config.hidden,), self.final_norm, self.config.norm_eps)

    def head(self, hidden: Tensor) -> Tensor:
        """(n, hidden) -> logits (n, vocab); the embedding's own matrix."""
        return F.linear(hidden, self.embedding.weight)

    def forward(self, rows: Rows) -> Tensor:
        """All logits (rows, tokens, vocab)."""
        return self.head(self.body(rows.ids, rows.positions, rows.mask()))


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Element i turns with element i + head_dim / 2; in x's own type."""
    left, right = x.chunk(2, dim=-1)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    return torch.cat([left * cos - right * sin, right * cos + left * sin], dim=-1)


def load_weights(network: Network, weights: Weights) -> None:
    """Fill the network; the shapes must be its own. ValueError for biases and a head apart."""
    if weights.head is not None or any(layer.qkv_bias is not None for layer in weights.layers):
        raise ValueError("weights with biases or a head apart cannot be trained")
    with torch.no_grad():
        _fill(network.embedding.weight, weights.embedding)
        _fill(network.final_norm, weights.final_norm)
        for layer, given in zip(network.layers, weights.layers, strict=True):
            assert isinstance(layer, Layer)
            _fill(layer.attention_norm, given.attention_norm)
            _fill(layer.qkv.weight, given.q, given.k, given.v)
            _fill(layer.output.weight, given.output)
            _fill(layer.ffn_norm, given.ffn_norm)
            _fill(layer.gate_up.weight, given.gate, given.up)
            _fill(layer.down.weight, given.down)


def _fill(parameter: Tensor, *parts: FloatArray) -> None:
    parameter.copy_(torch.cat([torch.from_numpy(part.copy()) for part in parts]))


def read_weights(network: Network) -> Weights:
    """The network's weights as the exporter takes them."""
    config = network.config
    q, kv = config.heads * config.head_dim, config.kv_heads * config.head_dim

    def layer(given: nn.Module) -> LayerWeights:
        assert isinstance(given, Layer)
        qkv, gate_up = _matrix(given.qkv), _matrix(given.gate_up)
        return LayerWeights(
            attention_norm=_array(given.attention_norm),
            q=qkv[:q],
            k=qkv[q : q + kv],
            v=qkv[q + kv :],
            output=_matrix(given.output),
            ffn_norm=_array(given.ffn_norm),
            gate=gate_up[: config.ffn],
            up=gate_up[config.ffn :],
            down=_matrix(given.down),
        )

    layers = tuple(layer(given) for given in network.layers)
    return Weights(_array(network.embedding.weight), layers, _array(network.final_norm))


def _matrix(linear: nn.Module) -> FloatArray:
    if isinstance(linear, LowRank):
        return _array(linear.inner.weight + linear.up @ linear.down)
    assert isinstance(linear, nn.Linear)
    return _array(linear.weight)


def _array(parameter: Tensor) -> FloatArray:
    found: FloatArray = parameter.detach().float().cpu().numpy()
    return found
