"""SimCLR's view (Chen et al. 2020): a resized crop, colour jitter, gray, blur; equal byte for byte to Pillow's.

What is done, and in which order, is torchvision's.
Legend: B images, S side of what comes out, H W pixels.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from daso.data.views.crop import CHANNELS, Form, Ragged, ResizedCrop
from daso.data.views.photometric import luma, mean
from daso.data.views.sim_draws import ONE, PASSES, SimDraws

BRIGHTNESS, CONTRAST, SATURATION, TURN = range(4)  # the operations of the jitter
PIXELS_AT_ONCE = 1 << 21  # where nothing is fused: more than that are taken in parts


class Sim(nn.Module):
    """uint8 [B,c,H,W], or images of unequal size, to [B,c,S,S].

    Args:
        crop: the resized crop to S.
        form: `grouped` does an operation on the images that have it drawn, `static` on all.
    """

    def __init__(self, crop: ResizedCrop, form: Form) -> None:
        super().__init__()
        self.crop, self.form = crop, form

    def forward(self, images: Tensor | Ragged, draws: SimDraws) -> Tensor:
        """The view; draws are where the images are."""
        gray = not isinstance(images, Ragged) and images.shape[1] == 1
        x: Tensor = self.crop(images if isinstance(images, Ragged) else side_by_side(images), draws.crop, draws.flip)
        out = self._coloured(x, draws)
        return out[:, :1] if gray else out

    def _coloured(self, x: Tensor, draws: SimDraws) -> Tensor:
        at_once = max(PIXELS_AT_ONCE // (x.shape[2] * x.shape[3]), 1)
        if len(x) > at_once and not torch.compiler.is_compiling():
            pieces = zip(*(torch.split(t, at_once) for t in (x, *draws)), strict=True)
            return torch.cat([self._coloured(piece, SimDraws(*some)) for piece, *some in pieces])
        x, on = x.int(), _ON[self.form]
        for k in range(draws.order.shape[1]):
            for operation, work in enumerate((brightened, contrasted, saturated)):
                x = on(draws.order[:, k] == operation, work, x, draws.factor[:, operation])
            x = on(draws.order[:, k] == TURN, turned, x, draws.hue)
        x = on(draws.gray, grayed, x)
        x = on(draws.taps[:, 1] > 0, blurred, x, draws.taps)
        return x.to(torch.uint8)


def _on_some(chosen: Tensor, work: Callable[..., Tensor], x: Tensor, *numbers: Tensor) -> Tensor:
    rows = chosen.nonzero().squeeze(1)
    return x.index_copy(0, rows, work(x[rows], *(n[rows] for n in numbers))) if len(rows) else x


def _on_all(chosen: Tensor, work: Callable[..., Tensor], x: Tensor, *numbers: Tensor) -> Tensor:
    return torch.where(chosen.view(-1, 1, 1, 1), work(x, *numbers), x)


_ON = {"grouped": _on_some, "static": _on_all}


def side_by_side(images: Tensor) -> Ragged:
    """Square images [B,c,H,H] as those of unequal size are given; gray ones in three equal channels."""
    count, side = len(images), images.shape[2]
    pixels = images.expand(-1, CHANNELS, -1, -1).permute(0, 2, 3, 1).flatten()
    start = torch.arange(count, device=images.device) * (side * side * CHANNELS)
    return Ragged(pixels, start, torch.full((count, 2), side, device=images.device))


def blended(base: Tensor, x: Tensor, factor: Tensor) -> Tensor:
    """`base` + factor * (x - base), product and sum rounded to single precision apart, as Pillow does; int32.

    The product is exact in double precision, so that no compiler can merge it with the sum.
    """
    step = ((x - base).double() * factor.double().view(-1, 1, 1, 1)).float()
    return (base.float() + step).clamp(0, 255).int()


def brightened(x: Tensor, factor: Tensor) -> Tensor:
    """int32 [B,3,H,W] pulled to black, or away from it, by `factor` [B]."""
    return blended(torch.zeros_like(x), x, factor)


def contrasted(x: Tensor, factor: Tensor) -> Tensor:
    """The same with the mean gray of the image."""
    return blended(mean(luma(x).flatten(2)).int().view(-1, 1, 1, 1).expand_as(x), x, factor)


def saturated(x: Tensor, factor: Tensor) -> Tensor:
    """The same with the gray of the pixel."""
    return blended(luma(x).expand_as(x), x, factor)


def grayed(x: Tensor) -> Tensor:
    """int32 [B,3,H,W] in gray."""
    return luma(x).expand_as(x).contiguous()


def turned(x: Tensor, hue: Tensor) -> Tensor:
    """int32 [B,3,H,W] with `hue` [B] added to its hue, by way of Pillow's 8-bit HSV."""
    h, s, v = hsv(x)
    return rgb((h + hue.view(-1, 1, 1)) % 256, s, v)


def hsv(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue, saturation, value, int64 [B,H,W] each in 0..255, of int32 [B,3,H,W], as Pillow rounds them."""
    most, least = x.amax(1), x.amin(1)
    width = (most - least).clamp(min=1).double()
    r, g, b = ((most.unsqueeze(1) - x).double() / width.unsqueeze(1)).float().double().unbind(1)
    h = torch.where(x[:, 0] == most, b - g, torch.where(x[:, 1] == most, 2.0 + r - b, 4.0 + g - r)).float()
    h = torch.fmod(h.double() / 6.0 + 1.0, 1.0).float()
    s = ((most - least).double() / most.clamp(min=1).double()).float()
    flat = most == least
    h, s = ((value.double() * 255.0).long().masked_fill(flat, 0) for value in (h, s))
    return h, s, most.long()


def rgb(h: Tensor, s: Tensor, v: Tensor) -> Tensor:
    """int32 [B,3,H,W] of hue, saturation, value, int64 [B,H,W] each in 0..255, as Pillow rounds them."""
    turn = h.double() * 6.0 / 255.0
    sixth = turn.floor()
    f, fs = (turn - sixth).float().double(), (s.double() / 255.0).float().double()
    value = v.double()
    p = value * (1.0 - fs)
    q = value * (1.0 - (fs * f).float().double())
    t = value * (1.0 - fs * (1.0 - f))
    p, q, t = ((part + 0.5).floor().clamp(0, 255).long() for part in (p, q, t))
    case = sixth.long() % 6
    sides = ((v, t, p), (q, v, p), (p, v, t), (p, q, v), (t, p, v), (v, p, q))
    channels = []
    for channel in range(CHANNELS):
        out = sides[0][channel]
        for k in range(1, 6):
            out = torch.where(case == k, sides[k][channel], out)
        channels.append(out)
    return torch.stack(channels, 1).int()


def blurred(x: Tensor, taps: Tensor) -> Tensor:
    """int32 [B,3,H,W] after three box filters along x, then along y; beyond the border its pixels go on."""
    middle, near, far = (taps[:, k].view(-1, 1, 1, 1) for k in range(3))
    wide = x.long()
    for axis in (3, 2):
        at = torch.arange(wide.shape[axis], device=x.device)
        places = [(at + k).clamp(0, wide.shape[axis] - 1) for k in (-2, -1, 1, 2)]
        for _ in range(PASSES):
            farther, left, right, farthest = (wide.index_select(axis, place) for place in places)
            total = middle * wide + near * (left + right) + far * (farther + farthest)
            wide = (total + ONE // 2).bitwise_right_shift(24)
    return wide.int()
