"""RandAugment with the images sorted by operation, so that each operation touches only its own: fast on a CPU.

Legend: B images, c channels, S side, P = S*S pixels of a flattened image, K operations per image.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from daso.data.views.draws import Draws, Op
from daso.data.views.geometry import WARPS, Geometry
from daso.data.views.photometric import Photometric, luma, mean, smooth, stretch_row

_STAY, _WARP, _FIXED, _CONTRAST, _STRETCH, _EQUALIZE, _COLOR, _SHARPNESS, _END = range(9)
_GROUP = np.full(len(Op) + 1, _STAY)  # by op + 1
_GROUP[[op + 1 for op in WARPS]] = _WARP
_GROUP[[Op.BRIGHTNESS + 1, Op.POSTERIZE + 1, Op.SOLARIZE + 1]] = _FIXED
_GROUP[Op.CONTRAST + 1] = _CONTRAST
_GROUP[Op.AUTO_CONTRAST + 1] = _STRETCH
_GROUP[Op.EQUALIZE + 1] = _EQUALIZE
_GROUP[Op.COLOR + 1] = _COLOR
_GROUP[Op.SHARPNESS + 1] = _SHARPNESS


def randaugment(x: Tensor, draws: Draws, geometry: Geometry, tables: Photometric) -> Tensor:
    """Apply the drawn operations in turn: uint8 [B,c,S,S] to the same shape, on the CPU."""
    place = np.arange(len(x))  # the image that each row holds
    for k in range(draws.op.shape[1]):
        group = _GROUP[draws.op[:, k].numpy()[place] + 1]
        order = np.argsort(group, kind="stable")
        x, place = x.index_select(0, torch.from_numpy(order)), place[order]
        ends = np.searchsorted(group[order], np.arange(_END + 1))
        rows = torch.from_numpy(place)
        at = (draws.op[rows, k] + 1, draws.level[rows, k], (draws.sign[rows, k] < 0).long())
        _warp(x, ends, geometry.warp_of[at], geometry)
        _look_up(x, ends, tables.row_of[at[:2]], tables)
        _blend(x, ends, tables.factor[at[1]])
    return x.index_select(0, torch.from_numpy(np.argsort(place)))


def _warp(x: Tensor, ends: NDArray[np.intp], rows: Tensor, geometry: Geometry) -> None:
    part = slice(ends[_WARP], ends[_WARP + 1])
    x[part] = geometry.warp(x[part].flatten(2), rows[part]).view_as(x[part])


def _look_up(x: Tensor, ends: NDArray[np.intp], rows: Tensor, tables: Photometric) -> None:
    """Operations that map values by one table per channel."""
    part = slice(ends[_FIXED], ends[_EQUALIZE + 1])
    values = x[part].flatten(2).long()
    rows = rows[part].unsqueeze(1).repeat(1, x.shape[1])
    contrast, stretch, equalize = (
        slice(*(ends[[group, group + 1]] - ends[_FIXED])) for group in (_CONTRAST, _STRETCH, _EQUALIZE)
    )
    rows[contrast] += mean(luma(values[contrast].int()))
    rows[stretch] += stretch_row(*values[stretch].aminmax(dim=2))
    lut = tables.rows.index_select(0, rows.flatten()).view(*rows.shape, 256)
    lut[equalize] = tables.equalize(values[equalize].flatten(0, 1)).view_as(lut[equalize])
    x[part] = lut.gather(2, values).view_as(x[part])


def _blend(x: Tensor, ends: NDArray[np.intp], factor: Tensor) -> None:
    """Operations that pull each pixel towards a value of its own, in float32 with product and sum rounded apart."""
    for group, degenerate in ((_COLOR, luma), (_SHARPNESS, smooth)):
        part = slice(ends[group], ends[group + 1])
        values = x[part].int()
        base = degenerate(values).float()
        step = (values - base) * factor[part].view(-1, 1, 1, 1)
        x[part] = step.add_(base).int()
