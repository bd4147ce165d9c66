"""What a pixel's value becomes: the photometric operations, exactly as Pillow rounds them.

Everything here is a table or integer arithmetic, so no compiler can move a rounding by fusing a multiply with an add.
Legend: B images, c channels, S side, P = S*S pixels of a flattened image, R = B*c.
"""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from daso.data.views.draws import Op
from daso.data.views.policy import POLICIES, Policy

ENHANCE = (0.9, 0.05)  # maximum and bias of the enhancement factors, which only ever weaken
SAME = 0  # the first row: values stay


@lru_cache(maxsize=2)
def _rows(policy: Policy) -> NDArray[np.uint8]:
    """Lookup tables, [rows, 256] uint8: every value map that the operations can need.

    Behind the first row: posterize and solarize by level; blends by level and degenerate value; stretches by index of
    (lowest, highest).
    """
    value = np.arange(256)
    levels = range(1, policy.levels + 1)
    posterize = np.stack([value & -(16 >> int(policy.magnitude(level, 4))) for level in levels])
    threshold = np.array([256 - int(policy.magnitude(level, 256)) for level in levels])[:, None]
    solarize = np.where(value < threshold, value, 255 - value)

    factor = _factors(policy)[1:]
    degenerate = value.astype(np.float32)[:, None]
    blend = degenerate + factor[:, None, None] * (value.astype(np.float32) - degenerate)

    stretch = [_stretch(low, value) for low in range(256)]
    return np.concatenate(
        [value[None], posterize, solarize, blend.reshape(-1, 256), *stretch], dtype=np.uint8, casting="unsafe"
    )


def _factors(policy: Policy) -> NDArray[np.float32]:
    """Enhancement factors by level; the first, of level 0, is never drawn."""
    return np.array([policy.magnitude(level, *ENHANCE) for level in range(policy.levels + 1)], dtype=np.float32)


def _stretch(low: int, value: NDArray[np.int_]) -> NDArray[np.uint8]:
    """Tables [256-low, 256] that stretch low..high to 0..255, by high; a single value stays."""
    scale = 255.0 / np.arange(256 - low)[1:, None]
    wide = value * scale + -low * scale
    return np.concatenate([value[None], wide.clip(0, 255)], dtype=np.uint8, casting="unsafe")


class Photometric(nn.Module):
    """The value tables: `rows` [rows,256] uint8, `row_of` [15,levels+1] int64, first row by (op + 1, level), and
    `factor` [levels+1] float32, the enhancement factors.
    """

    rows: Tensor
    row_of: Tensor
    factor: Tensor
    bins: Tensor

    def __init__(self, policy: Policy = POLICIES["paper"]) -> None:
        super().__init__()
        levels = policy.levels
        blend = 1 + 2 * levels
        row_of = np.full((len(Op) + 1, levels + 1), SAME)
        for level in range(1, levels + 1):
            row_of[Op.POSTERIZE + 1, level] = level
            row_of[Op.SOLARIZE + 1, level] = levels + level
            for op in (Op.BRIGHTNESS, Op.CONTRAST, Op.COLOR, Op.SHARPNESS):
                row_of[op + 1, level] = blend + 256 * (level - 1)
        row_of[Op.AUTO_CONTRAST + 1] = blend + 256 * levels
        self.register_buffer("rows", torch.from_numpy(_rows(policy)), persistent=False)
        self.register_buffer("factor", torch.from_numpy(_factors(policy)), persistent=False)
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
    """Row, counted from the first stretch, of the table that stretches low..high to 0..255: int tensors alike."""
    return (low * (511 - low)).bitwise_right_shift(1) + high


def smooth(x: Tensor) -> Tensor:
    """Weighted 3x3 mean (centre 5, neighbours 1, of 13), rounded; the border stays: int32 [B,c,S,S]."""
    lines = x[..., :-2] + x[..., 1:-1] + x[..., 2:]
    total = lines[..., :-2, :] + lines[..., 1:-1, :] + lines[..., 2:, :]
    total = total.add_(x[..., 1:-1, 1:-1], alpha=4)
    out = x.clone()
    out[..., 1:-1, 1:-1] = (2 * total + 13).mul_(40330).bitwise_right_shift_(20)  # = (2 * total + 13) // 26
    return out
