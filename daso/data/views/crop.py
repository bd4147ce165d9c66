"""Random resized crop of images of unequal size, equal byte for byte to two one-axis resizes of Pillow.

Integer arithmetic: each pass sums 8-bit values with 22-bit weights and rounds to 8 bits, first along x, then along y.
Taps stop at the border of the box: first cropped, then resized, as torchvision does it.
Legend: B images, H W an image's pixels, S side of what comes out, L longest side of a box, K taps.
"""

import math
from typing import Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from daso.data.images.decode import resized
from daso.data.views.resize import BITS, taps

CHANNELS = 3
AT_ONCE = 32  # images of the static form in flight where nothing is fused: 250 MB at 384 px

Form = Literal["grouped", "static"]


class Ragged(NamedTuple):
    """Images of unequal size in one buffer."""

    bytes: Tensor  # [total] uint8, RGB [H,W,3] an image
    start: Tensor  # [B] int64, first byte of each image; offsets pass 2^31
    size: Tensor  # [B,2] int64, height and width


class ResizedCrop(nn.Module):
    """Cut a box out of each image, resize it to a square, mirror it.

    Two forms give the same bytes: `grouped` calls Pillow image by image (CPU), `static` has no data-dependent shape or
    branch (CUDA graphs, `torch.compile(fullgraph=True)`).

    Buffers of the static form: `first` [L+1,S] int64 and `weight` [L+1,S,K] int32, by the length of a box's side.

    Args:
        resolution: S.
        longest: L, from `longest_box`; the grouped form needs none.
        form: which form.
    """

    first: Tensor
    weight: Tensor

    def __init__(self, resolution: int, longest: int = 0, form: Form = "grouped") -> None:
        super().__init__()
        self.resolution, self.longest, self.form = resolution, longest, form
        if form == "static":
            count = 2 * math.ceil(max(longest / resolution, 1.0)) + 1
            first = np.zeros((longest + 1, resolution), dtype=np.int64)
            weight = np.zeros((longest + 1, resolution, count), dtype=np.int32)
            for length in range(1, longest + 1):
                first[length], own = taps(length, resolution)
                weight[length, :, : own.shape[1]] = own
            self.register_buffer("first", torch.from_numpy(first), persistent=False)
            self.register_buffer("weight", torch.from_numpy(weight), persistent=False)

    def forward(self, images: Ragged, box: Tensor, flip: Tensor) -> Tensor:
        """uint8 [B,3,S,S] from boxes [B,4] int64 and flips [B] bool, on the device of the images.

        The grouped form takes boxes and flips on the CPU.
        """
        out: Tensor = _CROP[self.form](self, images, box, flip)
        return out


def _grouped(crop: ResizedCrop, images: Ragged, box: Tensor, flip: Tensor) -> Tensor:
    side = crop.resolution
    out = torch.empty((len(box), CHANNELS, side, side), dtype=torch.uint8)
    source, target = images.bytes.numpy(), out.numpy()
    rows = zip(images.start.tolist(), images.size.tolist(), box.tolist(), flip.tolist(), target, strict=True)
    for start, (height, width), (y, x, h, w), mirrored, square in rows:
        whole = source[start : start + height * width * CHANNELS].reshape(height, width, CHANNELS)
        cut = np.asarray(resized(Image.fromarray(whole[y : y + h, x : x + w]), side, side))
        square[:] = (cut[:, ::-1] if mirrored else cut).transpose(2, 0, 1)
    return out


def _static(crop: ResizedCrop, images: Ragged, box: Tensor, flip: Tensor) -> Tensor:
    # compiled, a pass is one kernel and nothing of its size is kept; else few images are taken at a time
    at_once = len(box) if torch.compiler.is_compiling() else AT_ONCE
    pieces = (torch.split(t, at_once) for t in (images.start, images.size, box, flip))
    parts = [_passes(crop, Ragged(images.bytes, start, size), *rest) for start, size, *rest in zip(*pieces)]
    return torch.cat(parts)


def _passes(crop: ResizedCrop, images: Ragged, box: Tensor, flip: Tensor) -> Tensor:
    y, x, h, w = (t.view(-1, 1) for t in box.unbind(1))  # [B,1] each
    line = images.size[:, 1:] * CHANNELS  # [B,1] bytes
    axis = torch.arange(crop.longest, device=box.device)
    channel = torch.arange(CHANNELS, device=box.device).view(1, -1, 1, 1)

    # along x: every line of the box, padded to L lines by its last one
    rows = images.start.view(-1, 1) + (y + torch.minimum(axis, h - 1)) * line  # [B,L] first byte
    first, weight = crop.first[w.squeeze(1)], crop.weight[w.squeeze(1)]  # [B,S], [B,S,K]
    first = torch.where(flip.view(-1, 1), first.flip(1), first)
    weight = torch.where(flip.view(-1, 1, 1), weight.flip(1), weight)
    total = torch.full((), 1 << (BITS - 1), dtype=torch.int32, device=box.device)
    for k in range(weight.shape[2]):
        columns = (x + torch.minimum(first + k, w - 1)) * CHANNELS  # [B,S]
        at = rows[:, None, :, None] + columns[:, None, None, :] + channel  # [B,3,L,S]
        total = total + images.bytes[at].int() * weight[:, None, None, :, k]
    wide = _eight_bits(total)

    # along y
    first, weight = crop.first[h.squeeze(1)], crop.weight[h.squeeze(1)]
    total = torch.full((), 1 << (BITS - 1), dtype=torch.int32, device=box.device)
    for k in range(weight.shape[2]):
        at = torch.minimum(first + k, h - 1)[:, None, :, None].expand(-1, CHANNELS, -1, crop.resolution)  # [B,3,S,S]
        total = total + wide.gather(2, at).int() * weight[:, None, :, None, k]
    return _eight_bits(total)


def _eight_bits(total: Tensor) -> Tensor:
    return total.bitwise_right_shift(BITS).clamp(max=255).to(torch.uint8)


_CROP = {"grouped": _grouped, "static": _static}
