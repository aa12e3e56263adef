"""How float weights become blocks of 8 or 4 bits.

A block is `block` consecutive weights of one output row that share a float32 scale. Values are stored
unsigned around 2 ** (bits - 1), which is the implied zero point of ONNX Runtime's MatMulNBits and, in 8 bits,
of GatherBlockQuantized.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mccomd_models.architecture import FloatArray

__all__ = ["Blocks", "dequantise", "quantise"]


@dataclass(frozen=True, slots=True)
class Blocks:
    """An (out, in) matrix in blocks."""

    values: NDArray[np.uint8]  # (out, in / block, block); 0 .. 2 ** bits - 1
    scales: FloatArray  # (out, in / block)
    bits: int

    @property
    def packed(self) -> NDArray[np.uint8]:
        """As MatMulNBits reads them: (out, in / block, block * bits / 8); the low nibble comes first."""
        if self.bits == 8:
            return self.values
        low, high = self.values[:, :, 0::2], self.values[:, :, 1::2]
        return low | np.left_shift(high, np.uint8(4))


def quantise(matrix: FloatArray, block: int, bits: int = 8) -> Blocks:
    """Symmetric round to nearest.

    In 8 bits the largest weight of a block becomes +-127. In 4 bits it becomes -8, whatever its sign, for its
    scale may be negative: of sixteen values none is wasted.
    matrix: (out, in); ValueError when `in` is no multiple of `block`.
    """
    out, inner = matrix.shape
    if inner % block:
        raise ValueError(f"{inner} inputs are no multiple of the block size {block}")
    blocks = matrix.reshape(out, inner // block, block)
    scales = _scales(blocks, bits)
    divisors = np.where(scales == 0, np.float32(1), scales)
    zero = 2 ** (bits - 1)
    values = np.clip(np.rint(blocks / divisors[:, :, None]), -zero, zero - 1) + zero
    return Blocks(values.astype(np.uint8), scales, bits)


def _scales(blocks: FloatArray, bits: int) -> FloatArray:
    if bits == 8:
        scales: FloatArray = np.abs(blocks).max(axis=2) / np.float32(127)
        return scales
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=2)[:, :, None], axis=2)[:, :, 0]
    negative: FloatArray = largest / np.float32(-(2 ** (bits - 1)))
    return negative


def dequantise(blocks: Blocks) -> FloatArray:
    """The (out, in) matrix that the blocks stand for."""
    centred = blocks.values.astype(np.float32) - 2 ** (blocks.bits - 1)
    matrix: FloatArray = (centred * blocks.scales[:, :, None]).reshape(len(centred), -1)
    return matrix
