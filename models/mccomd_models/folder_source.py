"""What stands in a model folder that graph.py wrote: dimensions, and the weights that its blocks stand for.

The other way round from export.py. Knows llamas in 8 and 4 bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from mccomd_models.architecture import FloatArray, LayerWeights, LlamaConfig, Weights
from mccomd_models.quantise import Blocks, dequantise

__all__ = ["FolderModel", "read_model_folder"]


@dataclass(frozen=True, slots=True)
class FolderModel:
    config: LlamaConfig
    weights: Weights
    bits: int  # of the layers' matrices; the embedding has 8


def read_model_folder(folder: Path) -> FolderModel:
    """Read a model; ValueError for all but a quantised llama of ours, its head tied, without biases."""
    graph = onnx.load(folder / "model.onnx", load_external_data=False).graph
    arrays = {one.name: _array(folder, one) for one in graph.initializer}
    nodes = {node.output[0]: _attributes(node) for node in graph.node}
    attention = next((nodes[n.output[0]] for n in graph.node if n.op_type == "GroupQueryAttention"), None)
    if attention is None or any(name.endswith(".qkv.b") for name in arrays) or "table.q" in arrays:
        raise ValueError(f"{folder} holds no llama")
    if "logits.q" not in arrays:
        raise ValueError(f"{folder} holds no weights in 8 or 4 bits")
    bits = {name: int(found["bits"]) for name, found in nodes.items() if f"{name}.q" in arrays}
    matrices = {name: _matrix(arrays, bits[name], name) for name in bits}
    count = sum(name.endswith(".mid.g") for name in arrays)
    heads, kv_heads = int(attention["num_heads"]), int(attention["kv_num_heads"])
    layers = tuple(_layer(arrays, matrices, i, heads, kv_heads) for i in range(count))
    embedding = matrices["logits"]
    config = LlamaConfig(
        layers=count,
        hidden=embedding.shape[1],
        ffn=len(layers[0].gate),
        heads=heads,
        kv_heads=kv_heads,
        vocab=len(embedding),
        rope_theta=_rope_theta(arrays["cos"], arrays["sin"]),
        norm_eps=_short(nodes["layer.0.in"]["epsilon"]),
        context_tokens=len(arrays["cos"]),
    )
    return FolderModel(config, Weights(embedding, layers, arrays[f"layer.{count}.in.g"]), bits["layer.0.qkv"])


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}


def _layer(
    arrays: Mapping[str, Any], matrices: Mapping[str, FloatArray], i: int, heads: int, kv_heads: int
) -> LayerWeights:
    packed, both = matrices[f"layer.{i}.qkv"], matrices[f"layer.{i}.gate_up"]
    kv = kv_heads * (len(packed) // (heads + 2 * kv_heads))
    return LayerWeights(
        attention_norm=arrays[f"layer.{i}.in.g"],
        q=packed[: -2 * kv],
        k=packed[-2 * kv : -kv],
        v=packed[-kv:],
        output=matrices[f"layer.{i}.attention"],
        ffn_norm=arrays[f"layer.{i}.mid.g"],
        gate=both[: len(both) // 2],
        up=both[len(both) // 2 :],
        down=matrices[f"layer.{i}.down"],
    )


def _rope_theta(cos: FloatArray, sin: FloatArray) -> float:
    """From the slowest angle at position 1, theta ** -((half - 1) / half): small, its sine is exact."""
    half = cos.shape[1]
    slowest = np.arctan2(float(sin[1, -1]), float(cos[1, -1]))
    return _short(slowest ** (-half / (half - 1)))


def _short(value: float) -> float:
    """As somebody wrote it, before it went through float32."""
    return float(f"{value:.6g}")


def _array(folder: Path, tensor: onnx.TensorProto) -> Any:
    """A tensor's values, wherever they lie; onnx itself refuses files with hard links, as uv makes them."""
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return numpy_helper.to_array(tensor)
    place = {entry.key: entry.value for entry in tensor.external_data}
    kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    length = int(place["length"]) // kind.itemsize
    found = np.fromfile(folder / place["location"], kind, length, offset=int(place["offset"]))
    return found.reshape(tuple(tensor.dims))


def _matrix(arrays: Mapping[str, Any], bits: int, name: str) -> FloatArray:
    """(out, in)"""
    values, scales = arrays[f"{name}.q"], arrays[f"{name}.s"]
    if bits == 4:  # two nibbles a byte, the low one first
        values = np.stack([values & 15, values >> 4], axis=3)
    return dequantise(Blocks(values.reshape(*scales.shape, -1), scales, bits))
