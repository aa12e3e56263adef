"""Weights in files small enough to travel: to a machine with a GPU and back.

A folder of part-NNN.npz, each at most `part_bytes`, in float16 (the weights begin as 4-bit blocks and end as
8-bit ones: float16 rounds far finer), and config.json, written last. Needs numpy alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mccomd_models.architecture import FloatArray, LayerWeights, LlamaConfig, Weights

__all__ = ["CONFIG_FILE", "PART_BYTES", "read_parts", "write_parts"]

CONFIG_FILE = "config.json"
PART_BYTES = 15_000_000
LARGEST = float(np.finfo(np.float16).max)


def write_parts(
    folder: Path, config: LlamaConfig, weights: Weights, part_bytes: int = PART_BYTES
) -> list[Path]:
    """Write a folder; ValueError for weights that float16 cannot hold."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob("part-*.npz"), folder / CONFIG_FILE):
        old.unlink(missing_ok=True)
    written: list[Path] = []
    held: dict[str, NDArray[np.float16]] = {}
    for name, array in _slices(weights, part_bytes // 2):
        if not np.abs(array).max(initial=0) <= LARGEST:
            raise ValueError(f"{name} holds values beyond float16, or none at all")
        if held and sum(a.nbytes for a in held.values()) + array.size * 2 > part_bytes:
            written.append(_write(folder, len(written), held))
            held = {}
        held[name] = array.astype(np.float16)
    written.append(_write(folder, len(written), held))
    about = {"config": asdict(config), "parts": len(written)}
    (folder / CONFIG_FILE).write_text(json.dumps(about) + "\n")
    return written


def read_parts(folder: Path) -> tuple[LlamaConfig, Weights]:
    """Read a folder; ValueError when it is not complete."""
    try:
        about = json.loads((folder / CONFIG_FILE).read_text())
    except OSError as error:
        raise ValueError(f"{folder}: no {CONFIG_FILE}; it is written last") from error
    paths = sorted(folder.glob("part-*.npz"))
    if len(paths) != about["parts"]:
        raise ValueError(f"{folder}: {len(paths)} parts of {about['parts']}")
    slices: dict[str, FloatArray] = {}
    for path in paths:
        with np.load(path, allow_pickle=False) as file:
            slices.update((name, file[name].astype(np.float32)) for name in file.files)
    return LlamaConfig(**about["config"]), _weights(slices)


def _write(folder: Path, number: int, arrays: dict[str, NDArray[np.float16]]) -> Path:
    path = folder / f"part-{number:03}.npz"
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **_any(arrays))
    return path


def _any(arrays: dict[str, NDArray[np.float16]]) -> dict[str, Any]:
    return dict(arrays)


def _slices(weights: Weights, most: int) -> Iterator[tuple[str, FloatArray]]:
    """Every matrix, in rows of at most `most` weights, as `name.first_row`."""
    named = [("embedding", weights.embedding), ("final_norm", weights.final_norm)]
    for number, layer in enumerate(weights.layers):
        arrays = ((name, getattr(layer, name)) for name in layer.__slots__)
        named += [(f"layer {number} {name}", array) for name, array in arrays if array is not None]
    for name, array in named:
        rows = max(1, most * len(array) // array.size)
        for first in range(0, len(array), rows):
            yield f"{name}.{first}", array[first : first + rows]


def _weights(slices: dict[str, FloatArray]) -> Weights:
    whole: dict[str, list[tuple[int, FloatArray]]] = {}
    for key, array in slices.items():
        name, _, first = key.rpartition(".")
        whole.setdefault(name, []).append((int(first), array))
    arrays = {
        name: np.concatenate([array for _, array in sorted(parts, key=lambda part: part[0])])
        for name, parts in whole.items()
    }
    count = 1 + max(int(name.split()[1]) for name in arrays if name.startswith("layer "))
    layers = tuple(
        LayerWeights(
            **{
                name: arrays[f"layer {number} {name}"]
                for name in LayerWeights.__slots__
                if f"layer {number} {name}" in arrays  # a llama has no biases
            }
        )
        for number in range(count)
    )
    return Weights(arrays["embedding"], layers, arrays["final_norm"])
