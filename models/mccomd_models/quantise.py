"""How float weights become 8-bit blocks.

A block is `block` consecutive weights of one output row that share a float32 scale. Values are stored as
uint8 around 128, which is the implied zero point of ONNX Runtime's MatMulNBits and GatherBlockQuantized.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mccomd_models.architecture import FloatArray

__all__ = ["ZERO_POINT", "Blocks", "dequantise", "quantise"]

ZERO_POINT = 128


@dataclass(frozen=True, slots=True)
class Blocks:
    """An (out, in) matrix in 8-bit blocks."""

    values: NDArray[np.uint8]  # (out, in / block, block)
    scales: FloatArray  # (out, in / block)


def quantise(matrix: FloatArray, block: int) -> Blocks:
    """Symmetric round to nearest; the largest weight of a block becomes +-127.

    matrix: (out, in); ValueError when `in` is no multiple of `block`.
    """
    out, inner = matrix.shape
    if inner % block:
        raise ValueError(f"{inner} inputs are no multiple of the block size {block}")
    blocks = matrix.reshape(out, inner // block, block)
    scales = (np.abs(blocks).max(axis=2) / 127).astype(np.float32)
    divisors = np.where(scales == 0, np.float32(1), scales)
    values = np.rint(blocks / divisors[:, :, None]) + ZERO_POINT
    return Blocks(values.astype(np.uint8), scales)


def dequantise(blocks: Blocks) -> FloatArray:
    """The (out, in) matrix that the blocks stand for."""
    centred = blocks.values.astype(np.float32) - ZERO_POINT
    matrix: FloatArray = (centred * blocks.scales[:, :, None]).reshape(len(centred), -1)
    return matrix
