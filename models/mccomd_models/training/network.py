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

__all__ = ["After", "Layer", "LowRank", "Matrix", "Memory", "Network", "Rows", "load_weights", "read_weights"]


Memory = list[tuple[Tensor, Tensor]]
"""What tokens read before left in each layer: keys, turned to their positions, and values; both of shape
(rows, key-value heads, tokens, head_dim)."""


@dataclass(frozen=True, slots=True)
class After:
    """What stands before the tokens that a pass reads, and which of these count.

    real: int64 (n), the places in the flattened rows that are no filling: only they are computed.
    """

    memory: Memory
    real: Tensor


@dataclass(frozen=True, slots=True)
class Rows:
    """Sequences as the network reads them; all int64 (rows, tokens).

    documents: which document of its row a token belongs to, when rows hold several: a token sees only its
    own. None: one document a row, padded on the right, which causal attention never sees.
    trunks, reach: when documents hang on others: which one, and the column of it from which on they see
    nothing; those that hang on none have their own number as trunk. columns: which ones of a row these are;
    None: all.
    """

    ids: Tensor
    positions: Tensor
    documents: Tensor | None = None
    trunks: Tensor | None = None
    reach: Tensor | None = None
    columns: Tensor | None = None

    def mask(self) -> Tensor | None:
        """bool (rows, 1, tokens, tokens): what each token sees; None: all before it."""
        return None if self.documents is None else self.sees(self)

    def sees(self, *others: Rows) -> Tensor:
        """bool (rows, 1, tokens, all their tokens): which tokens of others, in the same rows, each sees."""
        documents, columns = (torch.cat(parts, dim=1) for parts in zip(*map(_places, others), strict=True))
        own, at = _places(self)
        seen = own[:, :, None] == documents[:, None]
        if self.trunks is not None and self.reach is not None:
            hangs = self.trunks[:, :, None] == documents[:, None]
            seen |= hangs & (columns[:, None] < self.reach[:, :, None])
        return (seen & (columns[:, None] <= at[:, :, None]))[:, None]

    def pick(self, which: Tensor, fill: int) -> Rows:
        """The tokens of each row that are marked, moved to the left; which: bool (rows, tokens).

        Short rows are filled up with others, as document `fill` (below 0).
        """
        counts = which.sum(dim=1)
        order = torch.argsort(which.int(), dim=1, descending=True, stable=True)[:, : int(counts.max())]
        filling = torch.arange(order.shape[1], device=order.device) >= counts[:, None]
        documents, columns = _places(self)
        return Rows(
            self.ids.gather(1, order),
            self.positions.gather(1, order),
            documents.gather(1, order).masked_fill(filling, fill),
            None if self.trunks is None else self.trunks.gather(1, order).masked_fill(filling, fill),
            None if self.reach is None else self.reach.gather(1, order),
            columns.gather(1, order),
        )


def _places(rows: Rows) -> tuple[Tensor, Tensor]:
    """(documents, columns)"""
    tokens = rows.ids.shape[1]
    columns = rows.columns
    if columns is None:
        columns = torch.arange(tokens, device=rows.ids.device).expand_as(rows.ids)
    return torch.zeros_like(rows.ids) if rows.documents is None else rows.documents, columns


class Matrix(nn.Linear):
    """A linear map without bias whose weights may be seen rounded."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)
        self.bits = 0  # 0: as they are
        self.block = 32
        self._seen: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self._seen is not None:
            return F.linear(x, self._seen)
        weight = rounded(self.weight, self.bits, self.block) if self.bits else self.weight
        return F.linear(x, weight)

    def hold(self) -> None:
        """Round now, once for all passes until `let_go`: the weights must not change meanwhile."""
        if self.bits:
            seen = rounded(self.weight.detach(), self.bits, self.block).to(torch.bfloat16)
            self._seen = seen.requires_grad_(self.weight.requires_grad)

    def let_go(self) -> None:
        """Hand the gradient of what was seen to the weights."""
        if self._seen is not None and self._seen.grad is not None:
            self.weight.grad = self._seen.grad.to(self.weight.dtype)
        self._seen = None


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

    def forward(
        self,
        x: Tensor,
        cos: Tensor,
        sin: Tensor,
        mask: Tensor | None,
        past: tuple[Tensor, Tensor] | None = None,
        real: Tensor | None = None,
        kept: Memory | None = None,
    ) -> Tensor:
        eps, width = self.config.norm_eps, (self.config.hidden,)
        x = x + self._attention(
            F.rms_norm(x, width, self.attention_norm, eps), cos, sin, mask, past, real, kept
        )
        gate, up = self.gate_up(F.rms_norm(x, width, self.ffn_norm, eps)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)

    def matrices(self) -> list[nn.Module]:
        return [self.qkv, self.output, self.gate_up, self.down]

    def round(self, bits: int, block: int) -> None:
        """See the four matrices in so many bits."""
        for matrix in (self.qkv, self.output, self.gate_up, self.down):
            matrix.bits, matrix.block = bits, block

    def adapt(self, rank: int) -> None:
        """Let the four matrices learn in low rank."""
        for name in ("qkv", "output", "gate_up", "down"):
            setattr(self, name, LowRank(getattr(self, name), rank))

    def _attention(
        self,
        x: Tensor,
        cos: Tensor,
        sin: Tensor,
        mask: Tensor | None,
        past: tuple[Tensor, Tensor] | None,
        real: Tensor | None,
        kept: Memory | None,
    ) -> Tensor:
        heads, kv, size = self.config.heads, self.config.kv_heads, self.config.head_dim
        rows, _, tokens, _ = cos.shape
        packed = _spread(self.qkv(x), real, rows * tokens)
        packed = packed.view(rows, tokens, heads + 2 * kv, size).transpose(1, 2)
        q, k, v = packed.split([heads, kv, kv], dim=1)  # (rows, heads, tokens, head_dim)
        q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
        if kept is not None:
            kept.append((k, v))
        if past is not None:
            k, v = (torch.cat(pair, dim=2) for pair in zip(past, (k, v), strict=True))
        if past is not None and mask is not None and x.device.type == "cpu":
            mixed = _attend(q, k, v, mask)
        else:
            k, v = (part.repeat_interleave(heads // kv, dim=1) for part in (k, v))
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        mixed = mixed.transpose(1, 2).reshape(rows, tokens, -1)
        return self.output(mixed if real is None else mixed.flatten(0, 1)[real])


class Network(nn.Module):
    """`body` gives hidden states, `head` turns those wanted into logits: most need none."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab, config.hidden)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.final_norm = nn.Parameter(torch.ones(config.hidden))

    def body(
        self,
        ids: Tensor,
        positions: Tensor,
        mask: Tensor | None,
        after: After | None = None,
        kept: Memory | None = None,
    ) -> Tensor:
        """Hidden states (rows, tokens, hidden), normed.

        after: what stands before these tokens, which the mask speaks of too; kept: an empty list to fill.
        """
        half = self.config.head_dim // 2
        frequencies = self.config.rope_theta ** (-torch.arange(half, device=ids.device) / half)
        angles = positions[:, None, :, None] * frequencies  # (rows, 1, tokens, half)
        cos, sin = angles.cos(), angles.sin()
        real = None if after is None else after.real
        x = self.embedding(ids if real is None else ids.flatten()[real])
        for index, layer in enumerate(self.layers):
            x = layer(x, cos, sin, mask, None if after is None else after.memory[index], real, kept)
        x = F.rms_norm(x, (self.config.hidden,), self.final_norm, self.config.norm_eps)
        return x if real is None else _spread(x, real, ids.numel()).view(*ids.shape, -1)

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


def _spread(values: Tensor, real: Tensor | None, places: int) -> Tensor:
    """(n, width) -> (places, width), zeros where nothing is real; None: everything is."""
    if real is None:
        return values
    return values.new_zeros(places, values.shape[1]).index_copy(0, real, values)


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Few queries over many keys: with its gradient half the time of torch's own attention on a CPU.

    q: (rows, heads, queries, head_dim); k, v: (rows, key-value heads, keys, head_dim); mask: see Rows.sees.
    """
    rows, heads, queries, size = q.shape
    kv = k.shape[1]
    grouped = q.reshape(rows * kv, heads // kv * queries, size)
    scores = torch.bmm(grouped, k.flatten(0, 1).transpose(1, 2)).view(rows, heads, queries, -1)
    hidden = scores.new_zeros(mask.shape).masked_fill(~mask, float("-inf"))
    with torch.autocast(q.device.type, enabled=False):  # which would keep the shares twice, once in float32
        shares = torch.softmax(scores * size**-0.5 + hidden, dim=-1)
    mixed = torch.bmm(shares.view(rows * kv, heads // kv * queries, -1), v.flatten(0, 1))
    return mixed.view(rows, heads, queries, size)


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
