"""Training a model for the bits that it will be stored in.

The forward pass multiplies with the weights as quantise.py will round them; the gradient passes through as
if they had not been rounded (straight-through estimator, Bengio et al. 2013), so that the weights
settle where rounding costs least.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["rounded"]


def rounded(weight: Tensor, bits: int, block: int) -> Tensor:
    """dequantise(quantise(weight, block, bits)) with the gradient of `weight`.  weight: (out, in)."""
    blocks = weight.detach().unflatten(1, (-1, block))
    smallest, largest = torch.aminmax(blocks, dim=2, keepdim=True)
    zero = 2 ** (bits - 1)
    if bits == 8:
        scales = torch.maximum(largest, -smallest) / 127
    else:
        scales = torch.where(-smallest >= largest, smallest, largest) / -zero
    divisors = torch.where(scales == 0, 1.0, scales)
    nearest = (blocks / divisors).round().clamp(-zero, zero - 1) * scales
    return weight + (nearest.flatten(1) - weight.detach())
