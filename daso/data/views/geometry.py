"""Where a pixel comes from: flip, padded crop, the geometric operations, cutout.

Every move is a table of source positions, built once per image size, so that applying it is one gather.
Legend: B images, c channels, S side, P = S*S pixels of a flattened image, p crop padding.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from daso.data.views.draws import Op
from daso.data.views.policy import POLICIES, Policy
from daso.schema import Padding

WARPS = (Op.ROTATE, Op.SHEAR_X, Op.SHEAR_Y, Op.TRANSLATE_X, Op.TRANSLATE_Y)
_Affine = tuple[float, float, float, float, float, float]


class Geometry(nn.Module):
    """The position tables of one image size.

    Buffers: `rows` [2p+1,S] and `cols` [2,2p+1,S] (unflipped, flipped), source row and column of a crop, and `within`
    [2p+1,S] uint8 (255, or 0 where black is filled in) of either; `source` [M,P] int64 and `inside` [M,P] uint8
    likewise, the geometric operations (M = 1 + 10 levels); `warp_of` [15,levels+1,2] int64, row of `source` by
    (op + 1, level, negative), 0 = stay; `fill` [3,1,1] uint8, the cutout's colour.

    Args:
        size: S.
        pad: p.
        padding: what the crop adds.
        policy: the numbers of the strong views.
    """

    rows: Tensor
    cols: Tensor
    source: Tensor
    inside: Tensor
    warp_of: Tensor
    axis: Tensor
    within: Tensor
    fill: Tensor

    def __init__(
        self, size: int, pad: int, padding: Padding = Padding.reflect, policy: Policy = POLICIES["paper"]
    ) -> None:
        super().__init__()
        self.size, self.black = size, padding is Padding.zero
        offset = np.arange(2 * pad + 1)[:, None] - pad
        shifted = np.arange(size) + offset
        self._table("within", np.where((shifted >= 0) & (shifted < size), 255, 0).astype(np.uint8))
        reflected = np.abs(shifted)
        reflected = np.minimum(reflected, 2 * (size - 1) - reflected)
        self._table("rows", reflected * size)
        self._table("cols", np.stack([reflected, size - 1 - reflected]))

        maps = [np.arange(size * size)]
        warp_of = np.zeros((len(Op) + 1, policy.levels + 1, 2), dtype=np.int64)
        for op in WARPS:
            for level in range(1, policy.levels + 1):
                for negative in (0, 1):
                    warp_of[op + 1, level, negative] = len(maps)
                    maps.append(_positions(_affine(op, level, -1 if negative else 1, size, policy), size))
        source = np.stack(maps)
        self._table("source", np.maximum(source, 0))
        self._table("inside", np.where(source >= 0, 255, 0).astype(np.uint8))
        self._table("warp_of", warp_of)
        self._table("axis", np.arange(size))
        self._table("fill", np.array(policy.fill, dtype=np.uint8).reshape(-1, 1, 1))

    def _table(self, name: str, values: NDArray[np.generic]) -> None:
        self.register_buffer(name, torch.from_numpy(values), persistent=False)

    def crop(self, images: Tensor, flip: Tensor, crop: Tensor) -> Tensor:
        """Flip, pad and cut the drawn window: uint8 [B,c,S,S] to the same shape."""
        rows = self.rows.index_select(0, crop[:, 0])
        cols = self.cols[flip.long(), crop[:, 1]]
        at = (rows.unsqueeze(2) + cols.unsqueeze(1)).flatten(1)
        out = _pick(images.flatten(2), at).view_as(images)
        if self.black:
            within = self.within.index_select(0, crop.flatten()).view(-1, 2, self.size)  # [B,row and column,S]
            out.bitwise_and_((within[:, 0].unsqueeze(2) & within[:, 1].unsqueeze(1)).unsqueeze(1))
        return out

    def warp(self, x: Tensor, rows: Tensor) -> Tensor:
        """Move the pixels of `x` (uint8 [B,c,P]) by the maps in `rows` ([B]); black comes in from outside."""
        return _pick(x, self.source.index_select(0, rows)).bitwise_and_(self.inside.index_select(0, rows).unsqueeze(1))

    def cutout(self, x: Tensor, drawn: Tensor, side: int) -> Tensor:
        """Fill a square (uint8 [B,c,S,S]) around the drawn centres.

        The square spans side + 1 pixels. It is shifted at the left and top border and cut at the right and bottom one.

        Args:
            x: images.
            drawn: [B,2], x and y; or [B,3], and the side of each square.
            side: of all squares, where none is drawn.
        """
        centre, sides = drawn[:, :2], drawn[:, 2:] if drawn.shape[1] > 2 else side
        first = (centre - sides / 2).clamp(min=0).long()
        last = (first + sides).long() if isinstance(sides, Tensor) else first + sides
        at = self.axis
        hit = ((at >= first.unsqueeze(2)) & (at <= last.unsqueeze(2))).to(torch.uint8) * 255
        hole = (hit[:, 1].unsqueeze(2) & hit[:, 0].unsqueeze(1)).unsqueeze(1)
        fill = self.fill if x.shape[1] > 1 else self.fill[1:2]
        return (x & ~hole) | (hole & fill)


def _pick(x: Tensor, at: Tensor) -> Tensor:
    return x.gather(2, at.unsqueeze(1).expand(-1, x.shape[1], -1))


def _affine(op: Op, level: int, sign: int, size: int, policy: Policy) -> _Affine:
    """The output-to-input map (a, b, c, d, e, f): x_in = a*x + b*y + c, y_in = d*x + e*y + f."""
    if op is Op.ROTATE:
        angle = -math.radians(sign * policy.rounded(policy.magnitude(level, 30)))
        cos, sin = round(math.cos(angle), 15), round(math.sin(angle), 15)
        centre = size / 2.0
        return (
            cos, sin, -cos * centre - sin * centre + centre,
            -sin, cos, sin * centre - cos * centre + centre,
        )  # fmt: skip
    value = sign * policy.magnitude(level, 0.3)
    shift = policy.rounded(value * size)
    return {
        Op.SHEAR_X: (1.0, value, 0.0, 0.0, 1.0, 0.0),
        Op.SHEAR_Y: (1.0, 0.0, 0.0, value, 1.0, 0.0),
        Op.TRANSLATE_X: (1.0, 0.0, shift, 0.0, 1.0, 0.0),
        Op.TRANSLATE_Y: (1.0, 0.0, 0.0, 0.0, 1.0, shift),
    }[op]


def _positions(affine: _Affine, size: int) -> NDArray[np.int64]:
    """Nearest source position of each pixel, -1 outside, in the 16.16 fixed point that Pillow uses."""

    def fixed(value: float) -> int:
        return math.floor(value * 65536.0 + 0.5)

    a, b, c, d, e, f = affine
    y, x = np.mgrid[:size, :size]
    x_in = (fixed(c + a * 0.5 + b * 0.5) + fixed(a) * x + fixed(b) * y) >> 16
    y_in = (fixed(f + d * 0.5 + e * 0.5) + fixed(d) * x + fixed(e) * y) >> 16
    within = (x_in >= 0) & (x_in < size) & (y_in >= 0) & (y_in < size)
    return np.where(within, y_in * size + x_in, -1).astype(np.int64).ravel()
