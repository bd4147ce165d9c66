"""Which part of an image a resized crop shows.

Legend: B images.
"""

import math

import torch
from torch import Generator, Tensor

SCALE = (0.08, 1.0)  # share of the image's area that a box takes
RATIO = (3 / 4, 4 / 3)  # width over height of a box
TRIES = 10  # boxes drawn for an image, of which the first that fits is taken
CENTRAL = 224 / 256  # share of the short side that the evaluation view shows


def random_boxes(size: Tensor, generator: Generator, scale: tuple[float, float] = SCALE) -> Tensor:
    """A box in each image: [B,2] heights and widths to [B,4] int64, y, x, height, width; its area a share in `scale`.

    The distribution is that of torchvision's RandomResizedCrop: a share of the area and a ratio, drawn anew while the
    box does not fit; after ten, the largest central box of an allowed ratio. All ten are drawn in any case, so that how
    many random numbers are drawn depends on nothing but B.
    """
    count = len(size)
    height, width = size.double().unsqueeze(2).unbind(1)  # [B,1] each
    share, ratio = torch.rand(2, count, TRIES, generator=generator, dtype=torch.float64)
    place = torch.rand(count, 2, generator=generator, dtype=torch.float64)
    area = height * width * (scale[0] + share * (scale[1] - scale[0]))
    low, high = (math.log(bound) for bound in RATIO)
    ratio = (low + ratio * (high - low)).exp()
    w, h = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    fits = (w >= 1) & (h >= 1) & (w <= width) & (h <= height)
    first, any_fits = fits.long().argmax(1, keepdim=True), fits.any(1, keepdim=True)
    drawn = torch.cat([h.gather(1, first), w.gather(1, first)], 1)
    side = torch.where(any_fits, drawn, _largest(height, width))
    free = size - side
    corner = torch.where(any_fits, (place * (free + 1)).floor(), (free / 2).floor())
    return torch.cat([corner, side], 1).long()


def central_boxes(size: Tensor) -> Tensor:
    """The square in the middle of each image that the evaluation view shows: [B,2] to [B,4] int64."""
    side = (size.amin(1, keepdim=True) * CENTRAL).round().clamp(min=1).long().expand(-1, 2)
    return torch.cat([(size - side).div(2, rounding_mode="floor"), side], 1)


def longest_box(size: Tensor) -> int:
    """The longest side that a box can have in any of the images [B,2]: what the static form's tables hold."""
    short, long = size.amin(1), size.amax(1)
    bound = ((short + 0.5) * RATIO[1] + 0.5).floor().long()
    return int(torch.minimum(long, bound).max())


def _largest(height: Tensor, width: Tensor) -> Tensor:
    """[B,2] height and width of the largest box of an allowed ratio, from [B,1] each."""
    tall = torch.where(width / height < RATIO[0], (width / RATIO[0]).round(), height)
    wide = torch.where(width / height > RATIO[1], (height * RATIO[1]).round(), width)
    return torch.cat([tall, wide], 1)
