"""The random numbers of SimCLR's view (Chen et al. 2020), in the ranges of Zhou, Fang et al. (NeurIPS 2024).

Legend: B images.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from daso.data.views.boxes import random_boxes

SCALE = (0.2, 1.0)  # share of the image that the crop shows
JITTERED, GRAYED, BLURRED = 0.8, 0.2, 0.5  # shares of the images
STRENGTH, HUE = 0.4, 0.1  # a factor is uniform in 1 +- STRENGTH; the hue turns by up to this share of a circle
RADIUS = (0.1, 2.0)  # of the blur, as Pillow counts it
ONE = 1 << 24  # Pillow's fixed point of a blur
PASSES = 3  # of a box filter, which together are Pillow's Gaussian one


class SimDraws(NamedTuple):
    """One batch's random numbers, CPU tensors."""

    flip: Tensor  # [B] bool: mirrored left-right
    crop: Tensor  # [B,4] int64: the box
    order: Tensor  # [B,4] int64: which operation of the jitter is done when; -1: none is
    factor: Tensor  # [B,3] float32: of brightness, contrast, saturation
    hue: Tensor  # [B] int64: 0..255, added to the hue
    gray: Tensor  # [B] bool
    taps: Tensor  # [B,3] int64: the box filter, from its middle outwards, in parts of 2^24


def draw_sim(size: Tensor, generator: Generator) -> SimDraws:
    """What the view needs for images of heights and widths `size` [B,2]; how many numbers depends on B alone."""
    count = len(size)

    def uniform(columns: int, low: float, high: float) -> Tensor:
        drawn = torch.rand(count, columns, generator=generator, dtype=torch.float64)
        return low + (high - low) * drawn

    crop = random_boxes(size, generator, SCALE)
    flip, jittered, gray, blurred = (uniform(4, 0, 1) < torch.tensor([0.5, JITTERED, GRAYED, BLURRED])).unbind(1)
    order = uniform(4, 0, 1).argsort(1)
    factor = uniform(3, 1 - STRENGTH, 1 + STRENGTH).float()
    hue = (uniform(1, -HUE, HUE) * 255).trunc().long().squeeze(1) % 256
    taps = box_taps(uniform(1, *RADIUS).squeeze(1))
    still = torch.tensor([ONE, 0, 0])
    return SimDraws(
        flip,
        crop,
        torch.where(jittered[:, None], order, -1),
        factor,
        hue,
        gray,
        torch.where(blurred[:, None], taps, still),
    )


def box_taps(radius: Tensor) -> Tensor:
    """[B,3] int64: middle, next and last weight of the box filter for a Gaussian of Pillow's `radius` [B], at most 2.

    Gwosdek et al. 2011, Eq. 7, 11, 14, in single precision as Pillow computes them.
    """
    one = np.float32(1)
    variance = np.square(radius.numpy().astype(np.float32)) / np.float32(PASSES)
    length = np.sqrt(12.0 * variance.astype(np.float64) + 1.0).astype(np.float32)
    whole = np.floor((length.astype(np.float64) - 1.0) / 2.0).astype(np.float32)
    part = (2 * whole + one) * (whole * (whole + one) - 3 * variance)
    box = whole + part / (6 * (variance - (whole + one) * (whole + one)))
    inner = (np.float32(ONE) / (box * 2 + one)).astype(np.int64)
    reach = box.astype(np.int64)  # 0 or 1
    outer = (ONE - (reach * 2 + 1) * inner) // 2
    return torch.from_numpy(np.stack([inner, np.where(reach > 0, inner, outer), np.where(reach > 0, outer, 0)], 1))
