"""A model folder as a GGUF file for llama.cpp: `python -m mccomd_models.gguf_target SOURCE TARGET [FOLDER]`.

SOURCE is the GGUF that the weights, or the weights they were trained from, came in: its tokenizer and its
dimensions are kept. The matrices are FOLDER's, in as many bits (Q8_0 or Q4_0, whose blocks of 32 are ours but
for the scales' last digits); without a FOLDER they are SOURCE's in Q8_0.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import onnx
from gguf.quants import dequantize, quantize
from onnx import numpy_helper

from mccomd_models.architecture import FloatArray, interleaved_order
from mccomd_models.quantise import Blocks, dequantise

__all__ = ["main", "read_folder", "write_gguf"]

_WRITTEN_BY_US = ("general.architecture", "general.file_type", "general.quantization_version")

Tensors = Mapping[str, tuple[FloatArray, int]]  # GGUF name -> values and bits; 32 for vectors


def write_gguf(source: Path, target: Path, folder: Path | None = None) -> None:
    """Raises ValueError when a file is not what it should be, or the two do not belong together."""
    reader = gguf.GGUFReader(source)
    tensors = _own(reader) if folder is None else read_folder(folder)
    shapes = {one.name: tuple(int(n) for n in reversed(one.shape)) for one in reader.tensors}
    if shapes != {name: values.shape for name, (values, _) in tensors.items()}:
        raise ValueError(f"{folder} has other matrices than {source}")
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name not in _WRITTEN_BY_US:
            types: list[Any] = field.types
            writer.add_key_value(name, field.contents(), types[0], types[1] if len(types) > 1 else None)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    kinds = {8: gguf.GGMLQuantizationType.Q8_0, 4: gguf.GGMLQuantizationType.Q4_0}
    for name, (values, bits) in tensors.items():
        if bits in kinds:
            writer.add_tensor(name, quantize(values, kinds[bits]), raw_dtype=kinds[bits])
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _own(reader: Any) -> Tensors:
    values = {
        one.name: np.asarray(dequantize(one.data, one.tensor_type), np.float32) for one in reader.tensors
    }
    return {name: (array, 8 if array.ndim == 2 else 32) for name, array in values.items()}


def read_folder(folder: Path) -> Tensors:
    """What an exported llama holds, under GGUF's names and in GGUF's order of rotary rows.

    ValueError for graphs that graph.py did not write, and for biases.
    """
    graph = onnx.load(folder / "model.onnx", load_external_data=False).graph
    arrays = {one.name: _array(folder, one) for one in graph.initializer}
    attention = next((node for node in graph.node if node.op_type == "GroupQueryAttention"), None)
    if attention is None or any(name.endswith(".qkv.b") for name in arrays):
        raise ValueError(f"{folder} holds no llama")
    attributes = {one.name: one.i for one in attention.attribute}
    bits_of = {
        node.output[0]: next(one.i for one in node.attribute if one.name == "bits")
        for node in graph.node
        if node.op_type == "MatMulNBits"
    }
    heads, kv_heads = attributes["num_heads"], attributes["kv_num_heads"]
    found: dict[str, tuple[FloatArray, int]] = {"token_embd.weight": _matrix(arrays, bits_of, "logits")}
    layers = sum(name.endswith(".mid.g") for name in arrays)
    for i in range(layers):
        packed, bits = _matrix(arrays, bits_of, f"layer.{i}.qkv")
        kv = kv_heads * (len(packed) // (heads + 2 * kv_heads))
        q, k, v = packed[: -2 * kv], packed[-2 * kv : -kv], packed[-kv:]
        both, wide_bits = _matrix(arrays, bits_of, f"layer.{i}.gate_up")
        matrices = {
            "attn_q": (interleaved_order(q, heads), bits),
            "attn_k": (interleaved_order(k, kv_heads), bits),
            "attn_v": (v, bits),
            "attn_output": _matrix(arrays, bits_of, f"layer.{i}.attention"),
            "ffn_gate": (both[: len(both) // 2], wide_bits),
            "ffn_up": (both[len(both) // 2 :], wide_bits),
            "ffn_down": _matrix(arrays, bits_of, f"layer.{i}.down"),
            "attn_norm": (arrays[f"layer.{i}.in.g"], 32),
            "ffn_norm": (arrays[f"layer.{i}.mid.g"], 32),
        }
        found |= {f"blk.{i}.{name}.weight": given for name, given in matrices.items()}
    found["output_norm.weight"] = arrays[f"layer.{layers}.in.g"], 32
    return found


def _array(folder: Path, tensor: onnx.TensorProto) -> Any:
    """A tensor's values, wherever they lie; onnx itself refuses files with hard links, as uv makes them."""
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return numpy_helper.to_array(tensor)
    place = {entry.key: entry.value for entry in tensor.external_data}
    kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    length = int(place["length"]) // kind.itemsize
    found = np.fromfile(folder / place["location"], kind, length, offset=int(place["offset"]))
    return found.reshape(tuple(tensor.dims))


def _matrix(arrays: Mapping[str, Any], bits: Mapping[str, int], name: str) -> tuple[FloatArray, int]:
    """(out, in) and its bits; bits: of each matrix, by the name of its product."""
    values, scales = arrays[f"{name}.q"], arrays[f"{name}.s"]
    if bits[name] == 4:  # two nibbles a byte, the low one first
        values = np.stack([values & 15, values >> 4], axis=3)
    return dequantise(Blocks(values.reshape(*scales.shape, -1), scales, bits[name])), bits[name]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m mccomd_models.gguf_target", description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("folder", type=Path, nargs="?")
    options = parser.parse_args(arguments)
    write_gguf(options.source, options.target, options.folder)


if __name__ == "__main__":
    main()
