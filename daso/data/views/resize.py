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


def _weights(size: int, resolution: int) -> NDArray[np.int32]:
    """Triangle filter [size, resolution], widened by the scale when shrinking, each column summing to about 2^22."""
    scale = size / resolution
    support = max(scale, 1.0)
    weights = np.zeros((size, resolution), dtype=np.int32)
    for out in range(resolution):
        centre = (out + 0.5) * scale
        first = max(int(centre - support + 0.5), 0)
        last = min(int(centre + support + 0.5), size)
        taps = [max(0.0, 1.0 - abs((x - centre + 0.5) / support)) for x in range(first, last)]
        total = sum(taps)
        weights[first:last, out] = [math.floor(0.5 + tap / total * (1 << BITS)) for tap in taps]
    return weights
