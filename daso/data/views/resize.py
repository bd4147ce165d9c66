"""Antialiased bilinear resizing, equal to Pillow's for 8-bit images."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

BITS = 22  # Pillow's fixed-point precision for 8-bit channels


class Resize(nn.Module):
    """Resize square images from `size` to `resolution` pixels per side: first along x, then along y.

    Weights are 22-bit fixed-point integers. The sums stay below 2^53, so float64 products are exact in any order.
    """

    weight: Tensor

    def __init__(self, size: int, resolution: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.from_numpy(_weights(size, resolution)), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """uint8 [B,c,size,size] to uint8 [B,c,resolution,resolution]."""
        weight = self.weight.to(torch.float64)
        wide = _rounded(images.to(torch.float64) @ weight)
        return _rounded(weight.T @ wide).to(torch.int32).to(torch.uint8)


def _rounded(total: Tensor) -> Tensor:
    return total.add_(2 ** (BITS - 1)).mul_(2.0**-BITS).floor_().clamp_(0, 255)


def taps(size: int, resolution: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Pillow's triangle filter, widened by the scale when shrinking.

    Returns:
        [resolution] the first source pixel of each pixel, and [resolution, K] the fixed-point weights from there on,
        which sum to about 2^22; beyond the last source pixel they are 0.
    """
    scale = size / resolution
    support = max(scale, 1.0)
    centre = (np.arange(resolution) + 0.5) * scale
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + support + 0.5).astype(np.int64), size)
    weights = np.zeros((resolution, 2 * math.ceil(support) + 1))
    total = np.zeros(resolution)
    for k in range(weights.shape[1]):  # tap by tap: the order of the sum is Pillow's
        tap = np.maximum(0.0, 1.0 - np.abs((first + k - centre + 0.5) * (1.0 / support)))
        weights[:, k] = np.where(first + k < last, tap, 0.0)
        total += weights[:, k]
    return first, np.floor(0.5 + weights / total[:, None] * (1 << BITS)).astype(np.int32)


def _weights(size: int, resolution: int) -> NDArray[np.int32]:
    """The same as a matrix [size, resolution]."""
    weights = np.zeros((size, resolution), dtype=np.int32)
    first, own = taps(size, resolution)
    for k in range(own.shape[1]):
        at = np.minimum(first + k, size - 1)
        weights[at, np.arange(resolution)] += own[:, k]
    return weights
