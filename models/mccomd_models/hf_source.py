"""What stands in a Hugging Face folder of a llama or a Qwen2: config.json, safetensors, tokenizer.json.

Reads safetensors by itself: a header of JSON, then the bytes. Needs no torch and runs nothing of the folder.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mccomd_models.architecture import FloatArray, LayerWeights, LlamaConfig, Weights

__all__ = ["HfModel", "read_folder", "read_safetensors"]

MAX_CONTEXT = 8192
MAX_HEADER_BYTES = 100_000_000
_TYPES: dict[str, tuple[type[np.generic], int]] = {
    "F32": (np.float32, 4),
    "F16": (np.float16, 2),
    "BF16": (np.uint16, 2),
}


@dataclass(frozen=True, slots=True)
class HfModel:
    config: LlamaConfig
    weights: Weights
    tokenizer: Path  # tokenizer.json
    end_ids: tuple[int, ...]


def read_folder(folder: Path) -> HfModel:
    """Read a model; ValueError says what the folder lacks or what is not known here."""
    said = _json(folder / "config.json")
    kind = said.get("model_type")
    if kind not in ("llama", "qwen2"):
        raise ValueError(f"{folder}: model_type is {kind!r}, expected 'llama' or 'qwen2'")
    tokenizer = folder / "tokenizer.json"
    if not tokenizer.is_file():
        raise ValueError(f"{folder}: no tokenizer.json; save the tokenizer in its fast form first")
    tensors = {name: t for path in _weight_files(folder) for name, t in read_safetensors(path).items()}
    config = _config(folder, said, tensors)
    return HfModel(config, _weights(folder, config, tensors), tokenizer, _end_ids(said))


def read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    """Every tensor of a file, mapped and not read; BF16 as uint16. ValueError for a damaged file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
            raise ValueError(f"{path}: no safetensors file (a header of {length} bytes in {size})")
        try:
            header = json.loads(file.read(length))
        except ValueError as error:
            raise ValueError(f"{path}: no safetensors file: {error}") from error
    data = np.memmap(path, np.uint8, "r", 8 + length) if size > 8 + length else np.zeros(0, np.uint8)
    return {
        name: _tensor(path, name, about, data) for name, about in header.items() if name != "__metadata__"
    }


def _tensor(path: Path, name: str, about: dict[str, Any], data: NDArray[np.uint8]) -> NDArray[Any]:
    known = _TYPES.get(about["dtype"])
    if known is None:
        raise ValueError(f"{path}: {name} is {about['dtype']}, expected one of {', '.join(_TYPES)}")
    kind, width = known
    start, end = about["data_offsets"]
    shape = tuple(about["shape"])
    if not 0 <= start <= end <= len(data) or end - start != width * int(np.prod(shape, dtype=np.int64)):
        raise ValueError(f"{path}: {name} of shape {shape} does not fit its place ({start} to {end})")
    return data[start:end].view(kind).reshape(shape)


def _float(array: NDArray[Any]) -> FloatArray:
    """float32; the 16 bits of a bfloat16 are the upper half of one."""
    if array.dtype == np.uint16:
        return (array.astype(np.uint32) << 16).view(np.float32)
    return np.ascontiguousarray(array, np.float32)


def _weight_files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    names = sorted(set(_json(index)["weight_map"].values())) if index.is_file() else ["model.safetensors"]
    paths = [folder / name for name in names]
    for path in paths:
        if path.parent != folder or not path.is_file():
            raise ValueError(f"{folder}: {path.name} is missing")
    return paths


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: a JSON object is expected")
    return found


def _config(folder: Path, said: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> LlamaConfig:
    scaling = said.get("rope_scaling")
    if scaling and (scaling.get("rope_type") or scaling.get("type")) != "default":
        raise ValueError(f"{folder}: positions are scaled (rope_scaling), which is not known here")
    if said.get("hidden_act", "silu") != "silu" or said.get("use_sliding_window"):
        raise ValueError(f"{folder}: hidden_act or sliding windows other than a llama's are not known here")
    heads = int(said["num_attention_heads"])
    config = LlamaConfig(
        layers=int(said["num_hidden_layers"]),
        hidden=int(said["hidden_size"]),
        ffn=int(said["intermediate_size"]),
        heads=heads,
        kv_heads=int(said.get("num_key_value_heads") or heads),
        vocab=int(said["vocab_size"]),
        rope_theta=float(said.get("rope_theta") or 10_000.0),
        norm_eps=float(said["rms_norm_eps"]),
        context_tokens=min(MAX_CONTEXT, int(said["max_position_embeddings"])),
        biases="model.layers.0.self_attn.q_proj.bias" in tensors,
        tied=bool(said.get("tie_word_embeddings")) or "lm_head.weight" not in tensors,
    )
    if said.get("head_dim") not in (None, config.head_dim):
        raise ValueError(f"{folder}: head_dim {said['head_dim']} is not hidden_size / num_attention_heads")
    return config


def _weights(folder: Path, config: LlamaConfig, tensors: dict[str, NDArray[Any]]) -> Weights:
    def get(name: str) -> FloatArray:
        if name not in tensors:
            raise ValueError(f"{folder}: the weights lack {name}")
        return _float(tensors[name])

    def layer(i: int) -> LayerWeights:
        at = f"model.layers.{i}"
        biases = [get(f"{at}.self_attn.{part}_proj.bias") for part in "qkv"] if config.biases else None
        return LayerWeights(
            attention_norm=get(f"{at}.input_layernorm.weight"),
            q=get(f"{at}.self_attn.q_proj.weight"),
            k=get(f"{at}.self_attn.k_proj.weight"),
            v=get(f"{at}.self_attn.v_proj.weight"),
            output=get(f"{at}.self_attn.o_proj.weight"),
            ffn_norm=get(f"{at}.post_attention_layernorm.weight"),
            gate=get(f"{at}.mlp.gate_proj.weight"),
            up=get(f"{at}.mlp.up_proj.weight"),
            down=get(f"{at}.mlp.down_proj.weight"),
            qkv_bias=None if biases is None else np.concatenate(biases),
        )

    head = None if config.tied else get("lm_head.weight")
    layers = tuple(layer(i) for i in range(config.layers))
    return Weights(get("model.embed_tokens.weight"), layers, get("model.norm.weight"), head)


def _end_ids(said: dict[str, Any]) -> tuple[int, ...]:
    found = said.get("eos_token_id")
    return tuple(found) if isinstance(found, list) else () if found is None else (int(found),)
