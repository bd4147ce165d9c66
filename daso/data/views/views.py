"""Batched, Pillow-exact image views: uint8 in, the network's input out."""

from typing import TypeVar

import torch
from torch import Tensor, nn

from daso.data.views import grouped, static
from daso.data.views.crop import Form, Ragged, ResizedCrop
from daso.data.views.draws import Draws
from daso.data.views.geometry import Geometry
from daso.data.views.normalise import Normalise
from daso.data.views.photometric import Photometric
from daso.data.views.resize import Resize
from daso.data.views.sim import Sim
from daso.data.views.sim_draws import SimDraws
from daso.data.views.spec import ViewSpec
from daso.types import View

AnyDraws = TypeVar("AnyDraws", Draws, SimDraws)
PIXELS_AT_ONCE = 1 << 23  # through RandAugment where nothing is fused: more images than that are taken in parts
_RANDAUGMENT = {"grouped": grouped.randaugment, "static": static.randaugment}


class Views(nn.Module):
    """Prepare uint8 images as a `View`. Tables are buffers outside the state dict, so `.to(device)` moves them.

    Two forms give the same bytes: `grouped` sorts the images by operation (CPU), `static` has no data-dependent shape
    or branch (CUDA graphs, `torch.compile(fullgraph=True)`).
    Legend: B images, c channels, S = spec.size, r = spec.resolution.

    Args:
        spec: how images of the data set are augmented.
        form: which of the two.
        longest: longest side of a box, of a resized crop in static form (`longest_box`).
    """

    def __init__(self, spec: ViewSpec, form: Form = "grouped", longest: int = 0) -> None:
        super().__init__()
        self.spec = spec
        self.form: Form = form
        resized = spec.resolution != spec.size and not spec.resized_crop
        self.resized_crop = ResizedCrop(spec.resolution, longest, form) if spec.resized_crop else None
        size = spec.resolution if spec.resized_crop else spec.size
        self.source = Geometry(size, spec.crop_pad, spec.padding, spec.policy)
        self.final = Geometry(spec.resolution, 0, policy=spec.policy) if resized else self.source
        self.resize = Resize(spec.size, spec.resolution) if resized else nn.Identity()
        self.photometric = Photometric(spec.policy)
        self.sim = Sim(self.resized_crop or ResizedCrop(spec.resolution, spec.size, form), form)
        self._normalise = Normalise(spec.mean, spec.std)

    def forward(self, images: Tensor | Ragged, view: View, draws: Draws | SimDraws, dtype: torch.dtype) -> Tensor:
        """Augment and normalise: uint8 [B,c,S,S], or images of unequal size, to `dtype` [B,c,r,r]."""
        return self.normalise(self.augment(images, view, draws), dtype)

    def augment(self, images: Tensor | Ragged, view: View, draws: Draws | SimDraws) -> Tensor:
        """The view as an image: uint8 [B,c,S,S], or images of unequal size, to [B,c,r,r]. The input is left as it is.

        The grouped form takes draws on the CPU; the static form moves them to the device of `images`.
        """
        if isinstance(draws, SimDraws):
            there = images.bytes.device if isinstance(images, Ragged) else images.device
            out: Tensor = self.sim(images, self._local(draws, there))
            return out
        if isinstance(images, Ragged):
            local = self._local(draws, images.bytes.device)
            assert self.resized_crop is not None, "images of unequal size are cropped to one"
            x: Tensor = self.resized_crop(images, local.crop, local.flip)
            return self._strong(x, local, self.final) if view in (View.STRONG, View.STRONG_LAST) else x
        if view is View.IDENTITY:
            return self._resized(images)
        local = self._local(draws, images.device)
        x = self.source.crop(images, local.flip, local.crop)
        if view is View.STRONG:
            x = self._strong(x, local, self.source)
        x = self._resized(x)
        return self._strong(x, local, self.final) if view is View.STRONG_LAST else x

    def normalise(self, images: Tensor, dtype: torch.dtype) -> Tensor:
        """As `Normalise`: uint8 to `dtype`."""
        normalised: Tensor = self._normalise(images, dtype)
        return normalised

    def _local(self, draws: AnyDraws, device: torch.device) -> AnyDraws:
        return type(draws)(*(t.to(device, non_blocking=True) for t in draws)) if self.form == "static" else draws

    def _strong(self, x: Tensor, draws: Draws, geometry: Geometry) -> Tensor:
        at_once = max(PIXELS_AT_ONCE // geometry.size**2, 1)
        if len(x) > at_once and not torch.compiler.is_compiling():
            pieces = zip(*(torch.split(t, at_once) for t in (x, *draws)))
            return torch.cat([self._strong(piece, Draws(*some), geometry) for piece, *some in pieces])
        x = _RANDAUGMENT[self.form](x, draws, geometry, self.photometric)
        return geometry.cutout(x, draws.cutout, self.spec.cutout) if self.spec.cutout else x

    def _resized(self, images: Tensor) -> Tensor:
        resized: Tensor = self.resize(images)
        return resized
