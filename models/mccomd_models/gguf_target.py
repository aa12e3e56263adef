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
from gguf.quants import dequantize, quantize

from mccomd_models.architecture import FloatArray, interleaved_order
from mccomd_models.folder_source import read_model_folder

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

    ValueError: see read_model_folder.
    """
    model = read_model_folder(folder)
    config, weights, bits = model.config, model.weights, model.bits
    found: dict[str, tuple[FloatArray, int]] = {
        "token_embd.weight": (weights.embedding, 8),
        "output_norm.weight": (weights.final_norm, 32),
    }
    for i, layer in enumerate(weights.layers):
        tensors = {
            "attn_q": (interleaved_order(layer.q, config.heads), bits),
            "attn_k": (interleaved_order(layer.k, config.kv_heads), bits),
            "attn_v": (layer.v, bits),
            "attn_output": (layer.output, bits),
            "ffn_gate": (layer.gate, bits),
            "ffn_up": (layer.up, bits),
            "ffn_down": (layer.down, bits),
            "attn_norm": (layer.attention_norm, 32),
            "ffn_norm": (layer.ffn_norm, 32),
        }
        found |= {f"blk.{i}.{name}.weight": given for name, given in tensors.items()}
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m mccomd_models.gguf_target", description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("folder", type=Path, nargs="?")
    options = parser.parse_args(arguments)
    write_gguf(options.source, options.target, options.folder)


if __name__ == "__main__":
    main()
