"""Weights that were stored in few bits, put anywhere between the steps that they lie on.

What is read from a 4-bit folder lies half a step from where it would be rounded to another value, and the
steps of an hour of training are shorter than that: nothing moves. Spread evenly over its step each weight
is still rounded to what it was, and the small steps carry a share of them across that grows with the step:
on average the rounded weights follow.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from mccomd_models.architecture import FloatArray, LayerWeights, Weights
from mccomd_models.quantise import dequantise, quantise

__all__ = ["scattered"]

MARGIN = 0.999
"""Of half a step: nothing may lie on the border itself."""


def scattered(weights: Weights, bits: int, block: int, seed: int) -> Weights:
    """The layers' matrices anew; rounded they are what they would have been rounded to before."""
    rng = np.random.default_rng(seed)

    def layer(given: LayerWeights) -> LayerWeights:
        matrices = {f.name: getattr(given, f.name) for f in fields(given)}
        return replace(
            given,
            **{
                name: _scattered(matrix, bits, block, rng)
                for name, matrix in matrices.items()
                if matrix is not None and matrix.ndim == 2
            },
        )

    return replace(weights, layers=tuple(layer(given) for given in weights.layers))


def _scattered(matrix: FloatArray, bits: int, block: int, rng: np.random.Generator) -> FloatArray:
    blocks = quantise(matrix, block, bits)
    centred = blocks.values.astype(np.float32) - 2 ** (bits - 1)
    steps = np.repeat(blocks.scales, block, axis=1)
    moved = rng.uniform(-MARGIN / 2, MARGIN / 2, steps.shape).astype(np.float32) * steps
    largest = np.abs(centred) >= 2 ** (bits - 1) - (
        bits == 8
    )  # the step itself follows from these: they stay
    return np.where(largest.reshape(steps.shape), 0, moved) + dequantise(blocks)
