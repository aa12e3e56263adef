"""Float weights behind a model that was stored in few bits, as far as they can be told.

Training moves a weight by much less than a 4-bit step, so the float weight that was rounded lay near the
one that training had begun with, and within its step. How far weights moved is known of the largest of each
block, which rounding leaves as they were. Of the places within its step, but for so much at its borders,
each weight is put at the nearest to the untrained one. Rounded again the model is what it was.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from mccomd_models.architecture import FloatArray, LayerWeights, Weights
from mccomd_models.quantise import dequantise, quantise

__all__ = ["unrounded"]

LEAST = 0.01
MOST = 0.25
"""Of a step, that a border is kept away from."""


def unrounded(stored: Weights, untrained: Weights, bits: int, block: int) -> Weights:
    """The stored weights, the layers' matrices as near to the untrained ones as their steps allow."""

    def layer(given: LayerWeights, before: LayerWeights) -> LayerWeights:
        names = [f.name for f in fields(given) if getattr(given, f.name) is not None]
        pairs = {name: (getattr(given, name), getattr(before, name)) for name in names}
        matrices = {name: pair for name, pair in pairs.items() if pair[0].ndim == 2}
        return replace(given, **{name: _nearest(*pair, bits, block) for name, pair in matrices.items()})

    layers = zip(stored.layers, untrained.layers, strict=True)
    return replace(stored, layers=tuple(layer(given, before) for given, before in layers))


def _nearest(stored: FloatArray, untrained: FloatArray, bits: int, block: int) -> FloatArray:
    blocks = quantise(stored, block, bits)
    steps = np.abs(np.repeat(blocks.scales, block, axis=1))
    centred = blocks.values.reshape(stored.shape) - 2.0 ** (bits - 1)
    largest = np.abs(centred) >= 2 ** (bits - 1) - (bits == 8)  # the step follows from these: they stay
    on_steps = dequantise(blocks)
    moved = float(np.abs(on_steps - untrained)[largest].mean())
    most = np.where(largest, 0, 0.5 * steps - np.clip(moved, LEAST * steps, MOST * steps))
    found: FloatArray = (on_steps + np.clip(untrained - on_steps, -most, most)).astype(np.float32)
    return found
