"""What a pixel's value becomes: the photometric operations, exactly as Pillow rounds them.

Everything here is a table or integer arithmetic, so no compiler can move a rounding by fusing a multiply with an add.
Legend: B images, c channels, S side, P = S*S pixels of a flattened image, R = B*c.
"""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from daso.data.views.draws import LEVELS, Op
from daso.data.views.geometry import magnitude

ENHANCE = (0.9, 0.05)  # maximum and bias of the enhancement factors: 0.14 to 0.86, which only ever weaken
SAME, POSTERIZE, SOLARIZE = 0, 0, LEVELS  # row = start + level
BLEND = 1 + 2 * LEVELS  # row = BLEND + 256 * (level - 1) + degenerate value
STRETCH = BLEND + 256 * LEVELS  # row = STRETCH + index of (lowest, highest)

_LEVEL = range(1, LEVELS + 1)


@lru_cache(maxsize=1)
def _rows() -> NDArray[np.uint8]:
    """Lookup tables, [rows, 256] uint8: every value map that the operations can need."""
    value = np.arange(256)
    posterize = np.stack([value & -(16 >> int(magnitude(level, 4))) for level in _LEVEL])
    threshold = np.array([256 - int(magnitude(level, 256)) for level in _LEVEL])[:, None]
    solarize = np.where(value < threshold, value, 255 - value)

    factor = np.array([magnitude(level, *ENHANCE) for level in _LEVEL], dtype=np.float32)
    degenerate = value.astype(np.float32)[:, None]
    blend = degenerate + factor[:, None, None] * (value.astype(np.float32) - degenerate)

    stretch = [_stretch(low, value) for low in range(256)]
    return np.concatenate(
        [value[None], posterize, solarize, blend.reshape(-1, 256), *stretch], dtype=np.uint8, casting="unsafe"
    )


def _stretch(low: int, value: NDArray[np.int_]) -> NDArray[np.uint8]:
    """Tables [256-low, 256] that stretch low..high to 0..255, by high; a single value stays."""
    scale = 255.0 / np.arange(256 - low)[1:, None]
    wide = value * scale + -low * scale
    return np.concatenate([value[None], wide.clip(0, 255)], dtype=np.uint8, casting="unsafe")


class Photometric(nn.Module):
    """The value tables: `rows` [35219,256] uint8 and `row_of` [15,10] int64, first row by (op + 1, level)."""

    rows: Tensor
    row_of: Tensor
    bins: Tensor

    def __init__(self) -> None:
        super().__init__()
        row_of = np.full((len(Op) + 1, LEVELS + 1), SAME)
        for level in _LEVEL:
            row_of[Op.POSTERIZE + 1, level] = POSTERIZE + level
            row_of[Op.SOLARIZE + 1, level] = SOLARIZE + level
            for op in (Op.BRIGHTNESS, Op.CONTRAST, Op.COLOR, Op.SHARPNESS):
                row_of[op + 1, level] = BLEND + 256 * (level - 1)
        row_of[Op.AUTO_CONTRAST + 1] = STRETCH
        self.register_buffer("rows", torch.from_numpy(_rows()), persistent=False)
        self.register_buffer("row_of", torch.from_numpy(row_of), persistent=False)
        self.register_buffer("bins", torch.arange(256, dtype=torch.int32), persistent=False)

    def equalize(self, x: Tensor) -> Tensor:
        """The lookup table that flattens each histogram: int64 [R,P] to uint8 [R,256]."""
        one = torch.ones((), dtype=torch.int32, device=x.device)
        counts = torch.zeros(x.shape[0], 256, dtype=torch.int32, device=x.device)
        counts.scatter_add_(1, x, one.expand_as(x))
        top = counts.gather(1, x.amax(1, keepdim=True))
        step = (x.shape[1] - top).div(255, rounding_mode="floor")
        below = counts.cumsum(1, dtype=torch.int32) - counts + step.div(2, rounding_mode="floor")
        flat = below.div(step.clamp(min=1), rounding_mode="floor").clamp(max=255)
        return torch.where(step > 0, flat, self.bins).to(torch.uint8)


def luma(x: Tensor) -> Tensor:
    """Gray value by ITU-R 601 in 16-bit fixed point: int [B,c,...] to [B,1,...]; gray images stay."""
    if x.shape[1] == 1:
        return x
    red, green, blue = x[:, 0:1], x[:, 1:2], x[:, 2:3]
    return (red * 19595).add_(green, alpha=38470).add_(blue, alpha=7471).add_(32768).bitwise_right_shift_(16)


def mean(x: Tensor) -> Tensor:
    """Mean over the pixels, halves rounded up: int [B,1,P] to int64 [B,1]."""
    pixels = x.shape[2]
    return (2 * x.sum(2, dtype=torch.int64) + pixels).div(2 * pixels, rounding_mode="floor")


def stretch_row(low: Tensor, high: Tensor) -> Tensor:
    """Row, counted from `STRETCH`, of the table that stretches low..high to 0..255: int tensors alike."""
    return (low * (511 - low)).bitwise_right_shift(1) + high


def smooth(x: Tensor) -> Tensor:
    """Weighted 3x3 mean (centre 5, neighbours 1, of 13), rounded; the border stays: int32 [B,c,S,S]."""
    lines = x[..., :-2] + x[..., 1:-1] + x[..., 2:]
    total = lines[..., :-2, :] + lines[..., 1:-1, :] + lines[..., 2:, :]
    total = total.add_(x[..., 1:-1, 1:-1], alpha=4)
    out = x.clone()
    out[..., 1:-1, 1:-1] = (2 * total + 13).mul_(40330).bitwise_right_shift_(20)  # = (2 * total + 13) // 26
    return out
