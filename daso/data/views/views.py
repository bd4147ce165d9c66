"""Batched, Pillow-exact image views: uint8 in, the network's input out."""

from typing import Literal

import torch
from torch import Tensor, nn

from daso.data.views import grouped, static
from daso.data.views.draws import Draws
from daso.data.views.geometry import Geometry
from daso.data.views.photometric import Photometric
from daso.data.views.resize import Resize
from daso.data.views.spec import ViewSpec
from daso.types import View

Form = Literal["grouped", "static"]
_RANDAUGMENT = {"grouped": grouped.randaugment, "static": static.randaugment}


class Views(nn.Module):
    """Prepare uint8 images as a `View`. Tables are buffers outside the state dict, so `.to(device)` moves them.

    Two forms give the same bytes: `grouped` sorts the images by operation (CPU), `static` has no data-dependent shape
    or branch (CUDA graphs, `torch.compile(fullgraph=True)`).
    Legend: B images, c channels, S = spec.size, r = spec.resolution.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, spec: ViewSpec, form: Form = "grouped") -> None:
        super().__init__()
        self.spec = spec
        self.form: Form = form
        resized = spec.resolution != spec.size
        self.source = Geometry(spec.size, spec.crop_pad)
        self.final = Geometry(spec.resolution, 0) if resized else self.source
        self.resize = Resize(spec.size, spec.resolution) if resized else nn.Identity()
        self.photometric = Photometric()
        mean, std = (torch.tensor(v, dtype=torch.float64).view(-1, 1, 1) for v in (spec.mean, spec.std))
        self.register_buffer("scale", 1 / (255 * std), persistent=False)
        self.register_buffer("shift", -mean / std, persistent=False)

    def forward(self, images: Tensor, view: View, draws: Draws, dtype: torch.dtype) -> Tensor:
        """Augment and normalise: uint8 [B,c,S,S] to `dtype` [B,c,r,r]."""
        return self.normalise(self.augment(images, view, draws), dtype)

    def augment(self, images: Tensor, view: View, draws: Draws) -> Tensor:
        """The view as an image: uint8 [B,c,S,S] to [B,c,r,r]. The input is left as it is.

        The grouped form takes draws on the CPU; the static form moves them to the device of `images`.
        """
        if view is View.IDENTITY:
            return self._resized(images)
        local = draws
        if self.form == "static":
            local = Draws(*(t.to(images.device, non_blocking=True) for t in draws))
        x = self.source.crop(images, local.flip, local.crop)
        if view is View.STRONG:
            x = self._strong(x, local, self.source)
        x = self._resized(x)
        return self._strong(x, local, self.final) if view is View.STRONG_LAST else x

    def normalise(self, images: Tensor, dtype: torch.dtype) -> Tensor:
        """(x / 255 - mean) / std per channel: uint8 to `dtype`, computed in at least float32."""
        compute = torch.promote_types(dtype, torch.float32)
        return images.to(compute).mul_(self.scale.to(compute)).add_(self.shift.to(compute)).to(dtype)

    def _strong(self, x: Tensor, draws: Draws, geometry: Geometry) -> Tensor:
        x = _RANDAUGMENT[self.form](x, draws, geometry, self.photometric)
        return geometry.cutout(x, draws.cutout, self.spec.cutout) if self.spec.cutout else x

    def _resized(self, images: Tensor) -> Tensor:
        resized: Tensor = self.resize(images)
        return resized
