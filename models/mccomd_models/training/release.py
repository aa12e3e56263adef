"""A run's checkpoint -> a model folder that the engine reads, proved to compute what was trained."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mccomd.engine.artifact import TOKENIZER_FILE, load_manifest
from mccomd.engine.session import EngineOptions, Session
from mccomd_models.architecture import FloatArray, LlamaConfig, Weights
from mccomd_models.export import Description, export
from mccomd_models.graph import Precision
from mccomd_models.training.network import Network, Rows, load_weights
from mccomd_models.training.samples import CONVENTION
from mccomd_models.training.shards import Data

__all__ = ["Parity", "release", "require_parity"]

PARITY = 0.02  # nats of a logit; a wrong graph is off by whole ones
END_IDS = (0, 2)  # <|endoftext|>, <|im_end|>
CHECKED_SAMPLES = 40


@dataclass(frozen=True, slots=True)
class Parity:
    """How the exported graphs compare with the network, over the middles of some samples."""

    float_difference: float  # largest, of a logit, of the float32 graph
    agreement: float  # share of most probable tokens that the shipped precision keeps
    float_nats: float  # a token
    nats: float  # of the shipped precision


def release(
    folder: Path,
    config: LlamaConfig,
    weights: Weights,
    tokenizer: Path,
    precision: Precision,
    name: str,
    origin: str,
    held_out: Data,
) -> Parity:
    """Write a model folder. ValueError, and no folder is complete, when the graph computes something else."""
    description = Description(name, CONVENTION, END_IDS, origin, "Apache-2.0")
    checked = [held_out.alone(i) for i in range(min(CHECKED_SAMPLES, len(held_out)))]
    samples, middles = [ids.astype(np.int64) for ids, _ in checked], [middle for _, middle in checked]
    expected = _network_logits(config, weights, samples, middles)
    with tempfile.TemporaryDirectory() as scratch:
        exact = Path(scratch)
        shutil.copy(tokenizer / TOKENIZER_FILE, exact / TOKENIZER_FILE)
        export(exact, config, weights, Precision("fp32"), description)
        float_graph = _engine_logits(exact, samples, middles)
    folder.mkdir(parents=True, exist_ok=True)
    difference = require_parity(expected, float_graph)
    shutil.copy(tokenizer / TOKENIZER_FILE, folder / TOKENIZER_FILE)
    export(folder, config, weights, precision, description)
    shipped = _engine_logits(folder, samples, middles)
    return compare(expected, shipped, [s[m:] for s, m in zip(samples, middles, strict=True)], difference)


def require_parity(expected: list[FloatArray], found: list[FloatArray]) -> float:
    """The largest difference of a logit; ValueError when it is more than rounding."""
    difference = max(float(np.abs(a - b).max()) for a, b in zip(expected, found, strict=True))
    if not difference <= PARITY:
        raise ValueError(f"the float32 graph's logits are up to {difference:.3f} off: nothing was written")
    return difference


def compare(
    expected: list[FloatArray],
    shipped: list[FloatArray],
    targets: list[NDArray[np.int64]],
    difference: float,
) -> Parity:
    same = np.concatenate(
        [a.argmax(axis=1) == b.argmax(axis=1) for a, b in zip(expected, shipped, strict=True)]
    )
    return Parity(difference, float(same.mean()), _nats(expected, targets), _nats(shipped, targets))


def _nats(logits: list[FloatArray], targets: list[NDArray[np.int64]]) -> float:
    total, count = 0.0, 0
    for rows, wanted in zip(logits, targets, strict=True):
        shifted = rows.astype(np.float64) - rows.max(axis=1, keepdims=True)
        chosen = shifted[np.arange(len(wanted)), wanted]
        total += float((np.log(np.exp(shifted).sum(axis=1)) - chosen).sum())
        count += len(wanted)
    return total / count


def _network_logits(
    config: LlamaConfig, weights: Weights, samples: list[NDArray[np.int64]], middles: list[int]
) -> list[FloatArray]:
    """Logits (middle tokens, vocab) of each sample, in float32."""
    network = Network(config)
    load_weights(network, weights)
    found: list[FloatArray] = []
    for sample, middle in zip(samples, middles, strict=True):
        ids = torch.from_numpy(sample)[None]
        with torch.no_grad():
            hidden = network.body(ids, torch.arange(len(sample))[None], Rows(ids, ids).mask())
            found.append(network.head(hidden[0, middle - 1 : -1]).numpy())
    return found


def _engine_logits(folder: Path, samples: list[NDArray[np.int64]], middles: list[int]) -> list[FloatArray]:
    longest = max(map(len, samples))
    session = Session(folder, load_manifest(folder), EngineOptions(context_tokens=longest + 1))
    found = []
    for sample, middle in zip(samples, middles, strict=True):
        session.rewind(0)
        rows = session.forward([int(i) for i in sample[:-1]], len(sample) - middle)
        found.append(np.array(rows, np.float32))
    session.close()
    return found
