"""From pixels to the network's input space."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalise(nn.Module):
    """(x / 255 - mean) / std per channel. Its numbers are buffers outside the state dict, so `.to(device)` moves them.

    Args:
        mean, std: one value per channel, for intensities in 0..1.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        centre, spread = (torch.tensor(values, dtype=torch.float64).view(-1, 1, 1) for values in (mean, std))
        self.register_buffer("scale", 1 / (255 * spread), persistent=False)
        self.register_buffer("shift", -centre / spread, persistent=False)

    def forward(self, images: Tensor, dtype: torch.dtype) -> Tensor:
        """uint8 [B,c,H,W] to `dtype`, computed in at least float32."""
        compute = torch.promote_types(dtype, torch.float32)
        return images.to(compute).mul_(self.scale.to(compute)).add_(self.shift.to(compute)).to(dtype)
