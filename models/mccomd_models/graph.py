"""The ONNX graph of a llama, written node by node for ONNX Runtime's CPU kernels.

Inputs, n = tokens of this pass, m = wanted rows of logits:
    input_ids int64 (1, n)              the ids at the positions past .. past + n - 1
    logit_idx int64 (m)                 which of the n rows get logits
    seqlens_k int32 (1)                 past + n - 1
    total_sequence_length int32 ()      past + n
    past.I.key, past.I.value float32 (1, kv_heads, length, head_dim)
Outputs:
    logits float32 (1, m, vocab)
    present.I.key, present.I.value      the same buffers as past, when the caller binds them so

Every node costs about 7 microseconds whatever it does (2 cores, ORT 1.32), so nodes are saved: q, k, v are
one matrix, gate and up are one, attention rotates by itself, the residual sum and the norm are one node,
and no mask or position is computed inside. After the last attention only the wanted rows are carried on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, ValueInfoProto, helper

from mccomd_models.architecture import FloatArray, LayerWeights, LlamaConfig, Weights
from mccomd_models.quantise import Blocks, quantise
from mccomd_models.storage import TensorStore

__all__ = ["Precision", "write_onnx"]

MICROSOFT = "com.microsoft"
OPSET = 17
ACCURACY_INT8 = 4  # MatMulNBits quantises the activations to int8, block by block


@dataclass(frozen=True, slots=True)
class Precision:
    """How the matrices are stored and multiplied."""

    kind: Literal["int8", "int4", "fp32"] = "int8"
    block: int = 32  # weights to a scale, int8 and int4

    @property
    def bits(self) -> int:
        """Of the layers' matrices; the embedding and the head have 8 where these have fewer."""
        return {"int8": 8, "int4": 4, "fp32": 32}[self.kind]


@dataclass(slots=True)
class _Graph:
    """The nodes so far; each method appends and returns the name of what it computes."""

    config: LlamaConfig
    precision: Precision
    store: TensorStore
    nodes: list[NodeProto] = field(default_factory=list)

    def node(
        self, op: str, inputs: list[str], outputs: list[str], domain: str = MICROSOFT, **attributes: Any
    ) -> str:
        self.nodes.append(helper.make_node(op, inputs, outputs, name=outputs[0], domain=domain, **attributes))
        return outputs[0]

    def linear(self, x: str, matrix: FloatArray, out: str) -> str:
        """x (1, n, in) -> (1, n, out); matrix is (out, in)."""
        if self.precision.kind == "fp32":
            return self.node("MatMul", [x, self.store.add(f"{out}.w", matrix.T)], [out], domain="")
        return self._quantised(x, quantise(matrix, self.precision.block, self.precision.bits), out)

    def _quantised(self, x: str, blocks: Blocks, out: str) -> str:
        values, scales = self.store.add(f"{out}.q", blocks.packed), self.store.add(f"{out}.s", blocks.scales)
        out_width, count, block = blocks.values.shape
        return self._matmul_bits(x, values, scales, (out_width, count * block), blocks.bits, out)

    def _matmul_bits(
        self, x: str, values: str, scales: str, shape: tuple[int, ...], bits: int, out: str
    ) -> str:
        return self.node(
            "MatMulNBits",
            [x, values, scales],
            [out],
            N=shape[0],
            K=shape[1],
            bits=bits,
            block_size=self.precision.block,
            accuracy_level=ACCURACY_INT8,
        )

    def embed(self, embedding: FloatArray) -> str:
        """input_ids -> (1, n, hidden); a quantised table is a tied head's matrix too, stored once."""
        if self.precision.kind == "fp32":
            table = self.store.add("embedding", embedding)
            return self.node("Gather", [table, "input_ids"], ["embedded"], domain="", axis=0)
        blocks = quantise(embedding, self.precision.block)
        name = "logits" if self.config.tied else "table"
        values = self.store.add(f"{name}.q", blocks.values)
        table = self.store.alias("embedding", of=values, shape=embedding.shape)
        scales = self.store.add(f"{name}.s", blocks.scales)
        return self.node(
            "GatherBlockQuantized",
            [table, "input_ids", scales],
            ["embedded"],
            bits=8,
            block_size=self.precision.block,
            gather_axis=0,
            quantize_axis=1,
        )

    def head(self, x: str, weights: Weights) -> str:
        """(1, m, hidden) -> logits (1, m, vocab)."""
        if self.precision.kind == "fp32":
            return self.linear(x, weights.embedding if weights.head is None else weights.head, "logits")
        if weights.head is not None:
            return self._quantised(x, quantise(weights.head, self.precision.block), "logits")
        return self._matmul_bits(x, "logits.q", "logits.s", weights.embedding.shape, 8, "logits")

    def norm(self, x: str, gain: FloatArray, out: str) -> str:
        attributes = {"epsilon": self.config.norm_eps, "axis": -1, "stash_type": 1}
        return self.node(
            "SimplifiedLayerNormalization",
            [x, self.store.add(f"{out}.g", gain)],
            [out],
            domain="",
            **attributes,
        )

    def add_norm(self, x: str, residual: str, gain: FloatArray, out: str) -> tuple[str, str]:
        """(norm(x + residual), x + residual)"""
        inputs, outputs = [x, residual, self.store.add(f"{out}.g", gain)], [out, "", "", f"{out}.sum"]
        self.node("SkipSimplifiedLayerNormalization", inputs, outputs, epsilon=self.config.norm_eps)
        return out, f"{out}.sum"

    def attention(self, x: str, layer: LayerWeights, i: int) -> str:
        """Rotary grouped-query attention over past and present, without the output matrix."""
        packed = self.linear(x, np.concatenate([layer.q, layer.k, layer.v]), f"layer.{i}.qkv")
        if layer.qkv_bias is not None:
            bias = self.store.add(f"layer.{i}.qkv.b", layer.qkv_bias)
            packed = self.node("Add", [packed, bias], [f"layer.{i}.qkv.biased"], domain="")
        past = [f"past.{i}.key", f"past.{i}.value", "seqlens_k", "total_sequence_length", "cos", "sin"]
        return self.node(
            "GroupQueryAttention",
            [packed, "", "", *past],
            [f"layer.{i}.attended", f"present.{i}.key", f"present.{i}.value"],
            num_heads=self.config.heads,
            kv_num_heads=self.config.kv_heads,
            scale=self.config.head_dim**-0.5,
            do_rotary=1,
            rotary_interleaved=0,
        )

    def swiglu(self, x: str, layer: LayerWeights, i: int) -> str:
        """down(silu(gate(x)) * up(x)); QuickGelu with alpha 1 is SiLU in one node."""
        gate, up = f"layer.{i}.gate", f"layer.{i}.up"
        both = self.linear(x, np.concatenate([layer.gate, layer.up]), f"layer.{i}.gate_up")
        self.node("Split", [both], [gate, up], domain="", axis=-1)
        silu = self.node("QuickGelu", [gate], [f"layer.{i}.silu"], alpha=1.0)
        product = self.node("Mul", [silu, up], [f"layer.{i}.product"], domain="")
        return self.linear(product, layer.down, f"layer.{i}.down")

    def wanted_rows(self, x: str) -> str:
        return self.node("Gather", [x, "logit_idx"], [f"{x}.wanted"], domain="", axis=1)


def write_onnx(folder: Path, config: LlamaConfig, weights: Weights, precision: Precision) -> list[str]:
    """Write model.onnx and its data files to `folder`; returns the names of the files."""
    with TensorStore(folder) as store:
        graph = _Graph(config, precision, store)
        _emit(graph, weights)
    model = helper.make_model(
        helper.make_graph(graph.nodes, "llama", _inputs(config), _outputs(config), store.initialisers),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)],
        ir_version=10,
        producer_name="mccomd_models",
    )
    onnx.save_model(model, folder / "model.onnx")
    return ["model.onnx", *store.files]


def _emit(graph: _Graph, weights: Weights) -> None:
    config = graph.config
    for name, table in zip(("cos", "sin"), _rotary_tables(config), strict=True):
        graph.store.add(name, table)
    residual = graph.embed(weights.embedding)
    x = graph.norm(residual, weights.layers[0].attention_norm, "layer.0.in")
    for i, layer in enumerate(weights.layers):
        attended = graph.attention(x, layer, i)
        if i == config.layers - 1:
            attended, residual = graph.wanted_rows(attended), graph.wanted_rows(residual)
        attended = graph.linear(attended, layer.output, f"layer.{i}.attention")
        x, residual = graph.add_norm(attended, residual, layer.ffn_norm, f"layer.{i}.mid")
        fed = graph.swiglu(x, layer, i)
        following = weights.layers[i + 1].attention_norm if i + 1 < config.layers else weights.final_norm
        x, residual = graph.add_norm(fed, residual, following, f"layer.{i + 1}.in")
    graph.head(x, weights)


def _rotary_tables(config: LlamaConfig) -> tuple[FloatArray, FloatArray]:
    """cos and sin, each (context_tokens, head_dim / 2)."""
    half = config.head_dim // 2
    frequencies = config.rope_theta ** (-np.arange(half, dtype=np.float64) / half)
    angles = np.outer(np.arange(config.context_tokens, dtype=np.float64), frequencies)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def _inputs(config: LlamaConfig) -> list[ValueInfoProto]:
    int64, int32 = TensorProto.INT64, TensorProto.INT32
    return [
        helper.make_tensor_value_info("input_ids", int64, [1, "tokens"]),
        helper.make_tensor_value_info("logit_idx", int64, ["rows"]),
        helper.make_tensor_value_info("seqlens_k", int32, [1]),
        helper.make_tensor_value_info("total_sequence_length", int32, []),
        *_cache("past", config),
    ]


def _outputs(config: LlamaConfig) -> list[ValueInfoProto]:
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, "rows", config.vocab])
    return [logits, *_cache("present", config)]


def _cache(side: str, config: LlamaConfig) -> list[ValueInfoProto]:
    shape: list[int | str] = [1, config.kv_heads, "cache_tokens", config.head_dim]
    names = [f"{side}.{i}.{part}" for i in range(config.layers) for part in ("key", "value")]
    return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in names]
