"""RandAugment with static shapes: every image goes through every kind of operation, tables select what takes effect.

No shape and no branch depends on the draws, so the form can be traced whole and captured in a CUDA graph.
Legend: B images, c channels, S side, P = S*S pixels of a flattened image, K operations per image.
"""

import torch
from torch import Tensor

from daso.data.views.draws import Draws, Op
from daso.data.views.geometry import Geometry
from daso.data.views.photometric import Photometric, luma, mean, smooth, stretch_row


def randaugment(x: Tensor, draws: Draws, geometry: Geometry, tables: Photometric) -> Tensor:
    """Apply the drawn operations in turn: uint8 [B,c,S,S] to the same shape, with draws on the device of `x`."""
    for k in range(draws.op.shape[1]):
        op, level, negative = draws.op[:, k], draws.level[:, k], (draws.sign[:, k] < 0).long()
        moved = geometry.warp(x.flatten(2), geometry.warp_of[op + 1, level, negative])
        x = _revalue(moved.view_as(x), op, tables.row_of[op + 1, level], tables)
    return x


def _revalue(x: Tensor, op: Tensor, row: Tensor, tables: Photometric) -> Tensor:
    """Map the values of `x` (uint8 [B,c,S,S]) by table row `row` [B], moved on by what the image itself contributes."""

    def only(kind: Op, values: Tensor) -> Tensor:
        return values * (op == kind.value).view(-1, 1, 1)

    pulled = smooth(x.int()).flatten(2)
    # int32: a compiled amin of uint8 returns 0 on the CPU (pytorch issue 191499)
    values = x.flatten(2).int()
    gray = luma(values)
    low, high = values.amin(2, keepdim=True), values.amax(2, keepdim=True)
    shift = (
        only(Op.CONTRAST, mean(gray).unsqueeze(2))
        + only(Op.AUTO_CONTRAST, stretch_row(low, high))
        + only(Op.COLOR, gray)
        + only(Op.SHARPNESS, pulled)
    )
    at = ((row.view(-1, 1, 1) + shift) * 256 + values).long()
    mapped = tables.rows.flatten()[at]
    index = values.long().flatten(0, 1)
    flat = tables.equalize(index).gather(1, index).view_as(values)
    return torch.where((op == Op.EQUALIZE.value).view(-1, 1, 1), flat, mapped).view_as(x)
