"""The random numbers of augmentation, drawn on the CPU apart from their use.

Augmentation is a pure function of (images, draws): forms and devices can be compared byte by byte, and a generator
keyed by the step makes a resumed run see the same images.
"""

from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from daso.data.views.boxes import central_boxes, random_boxes
from daso.data.views.sim_draws import SimDraws, draw_sim
from daso.data.views.spec import ViewSpec
from daso.types import View


class Op(IntEnum):
    """The operations of FixMatch's RandAugment (Sohn et al. 2020, Table 12), in the order of the draw."""

    AUTO_CONTRAST = 0
    BRIGHTNESS = 1
    COLOR = 2
    CONTRAST = 3
    EQUALIZE = 4
    IDENTITY = 5
    POSTERIZE = 6
    ROTATE = 7
    SHARPNESS = 8
    SHEAR_X = 9
    SHEAR_Y = 10
    SOLARIZE = 11
    TRANSLATE_X = 12
    TRANSLATE_Y = 13


class Draws(NamedTuple):
    """One batch's random numbers, CPU tensors. Fields that the view does not use are empty.

    Legend: B images, K operations per image (none for the weak view).
    """

    flip: Tensor  # [B] bool: mirrored left-right
    # [B,2] int64: row and column of the window in the padded image, 0..2*crop_pad; of a resized crop [B,4]: its box
    crop: Tensor
    op: Tensor  # [B,K] int64: an `Op`; -1: the coin fell against it, nothing is done
    level: Tensor  # [B,K] int64: 1..levels of the policy
    sign: Tensor  # [B,K] int64: +1 or -1, used by the geometric operations
    cutout: Tensor  # [B,2] float64: (x, y) of the filled square's centre; [B,3]: and its side; [B,0]: no cutout


def kind_of(view: View) -> type[Draws] | type[SimDraws]:
    """What the random numbers of a view are called."""
    return SimDraws if view is View.SIM else Draws


def draw(view: View, n: int, generator: Generator, spec: ViewSpec, size: Tensor | None = None) -> Draws | SimDraws:
    """Draw what `view` needs for `n` images.

    Weak: flip with probability 1/2, crop offsets uniform, or a random box where the crop is resized. Strong, in
    addition: the policy's operations with replacement, each at a uniform level and sign and, in the paper's code,
    applied with probability 1/2; and a cutout centre uniform over the image it is cut from (FixMatch's variant of
    RandAugment, Cubuk et al. 2020; Cutout, DeVries and Taylor 2017), whose side is uniform too in USB's. Where the crop
    is resized, the identity has a box too: that of the evaluation view.

    Args:
        view, n: which view of how many images.
        generator: where every number comes from; how many it gives depends on nothing but view, `n` and spec.
        spec: how images of the data set are augmented.
        size: [n,2] int64, height and width of each image, where the crop is resized.
    """
    if view is View.SIM:
        return draw_sim(torch.full((n, 2), spec.size) if size is None else size, generator)
    policy = spec.policy
    count = 0 if view is View.IDENTITY else n
    kind = policy.operations if view in (View.STRONG, View.STRONG_LAST) else 0
    side = spec.resolution if view is View.STRONG_LAST or spec.resized_crop else spec.size
    places = [side, side, spec.cutout][: 2 + policy.random_side] if kind and spec.cutout else []

    def integers(low: int, high: int, columns: int) -> Tensor:
        return torch.randint(low, high, (count, columns), generator=generator)

    flip = torch.rand(count, generator=generator) < (0.5 if spec.flip else 0.0)
    if size is None:
        crop = integers(0, 2 * spec.crop_pad + 1, 2)
    elif view is View.IDENTITY:
        flip, crop = torch.zeros(n, dtype=torch.bool), central_boxes(size)
    else:
        crop = random_boxes(size, generator)
    op = integers(0, len(Op), kind)
    if policy.skipped:
        op.masked_fill_(integers(0, 2, kind) == 0, -1)
    return Draws(
        flip=flip,
        crop=crop,
        op=op,
        level=integers(1, policy.levels + 1, kind),
        sign=1 - 2 * integers(0, 2, kind),
        cutout=torch.rand(count, len(places), generator=generator, dtype=torch.float64)
        * torch.tensor(places, dtype=torch.float64),
    )
