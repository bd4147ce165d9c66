"""Views equal Pillow, image by image, byte for byte."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from PIL import Image

from benchmarks.official_data import augment, per_image
from daso.data.views import Draws, Views, ViewSpec, draw
from daso.data.views.resize import Resize
from daso.types import View

MODES = {"gray": 1, "rgb": 3}
SIZES = [8, 28, 32, 96]
CUTOUT = {8: 3, 28: 14, 32: 16, 96: 16}
PAD = {8: 1, 28: 3, 32: 4, 96: 4}


def spec_of(size: int, channels: int, resolution: int | None = None) -> ViewSpec:
    half = (0.5,) * channels
    return ViewSpec(size, resolution or size, channels, True, PAD[size], CUTOUT[size], half, half)


def picture(kind: int, size: int, channels: int) -> np.ndarray:
    """Four kinds [c,S,S]: noise, a narrow range of values, a slope, a constant with one odd pixel."""
    rng = np.random.RandomState(kind * 100 + size)
    slope = np.add.outer(np.arange(size) * 5, np.arange(size) * 2) + np.arange(channels)[:, None, None] * 31
    constant = np.full((channels, size, size), 77)
    constant[0, size // 2, size // 3] = 200
    shape = (channels, size, size)
    kinds = [rng.randint(0, 256, shape), rng.randint(100, 131, shape), slope % 256, constant]
    return kinds[kind].astype(np.uint8)


def pillow(images: torch.Tensor, view: View, draws: Draws, spec: ViewSpec) -> np.ndarray:
    out = []
    for image, row in zip(images.numpy(), per_image(draws, len(images))):
        pixels = image[0] if spec.channels == 1 else np.moveaxis(image, 0, -1).copy()
        done = np.asarray(augment(Image.fromarray(pixels), view, row, spec))
        out.append(done[None] if spec.channels == 1 else np.moveaxis(done, -1, 0))
    return np.stack(out)


@pytest.mark.parametrize("form", ["grouped", "static"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", SIZES)
def test_every_operation_level_and_sign_under_a_cutout_equals_pillow(size: int, mode: str, form: str) -> None:
    spec = spec_of(size, MODES[mode])
    views = Views(spec, form)
    op, level, sign = (t.reshape(-1, 1) for t in torch.meshgrid(
        torch.arange(-1, 14), torch.arange(1, 10), torch.tensor([-1, 1]), indexing="ij"))  # fmt: skip
    n = len(op)
    weak = draw(View.STRONG, n, torch.Generator().manual_seed(size), spec)
    draws = weak._replace(op=op, level=level, sign=sign)
    for kind in range(4):
        images = torch.from_numpy(picture(kind, size, spec.channels)).expand(n, -1, -1, -1)
        expected = pillow(images, View.STRONG, draws, spec)
        assert_array_equal(views.augment(images, View.STRONG, draws), expected, f"picture {kind}")


@given(seed=st.integers(0, 2**31), size=st.sampled_from(SIZES), channels=st.sampled_from([1, 3]),
       view=st.sampled_from([view for view in View if view is not View.SIM]), form=st.sampled_from(["grouped", "static"]))  # fmt: skip
def test_any_draw_of_any_view_equals_pillow(seed: int, size: int, channels: int, view: View, form: str) -> None:
    spec = spec_of(size, channels, 32)
    images = torch.from_numpy(np.stack([picture(kind, size, channels) for kind in range(4)] * 2))
    draws = draw(view, len(images), torch.Generator().manual_seed(seed), spec)
    assert_array_equal(Views(spec, form).augment(images, view, draws), pillow(images, view, draws, spec))


@given(size=st.integers(2, 100), resolution=st.integers(2, 100), seed=st.integers(0, 1000))
def test_resizing_equals_pillow_at_any_scale(size: int, resolution: int, seed: int) -> None:
    image = np.random.RandomState(seed).randint(0, 256, (size, size)).astype(np.uint8)
    expected = Image.fromarray(image).resize((resolution, resolution), Image.Resampling.BILINEAR)
    got = Resize(size, resolution)(torch.from_numpy(image)[None, None])
    assert_array_equal(got[0, 0], np.asarray(expected))


@pytest.mark.parametrize("cutout", [1, 2, 3, 5, 16, 40])
def test_cutout_of_any_side_equals_pillow(cutout: int) -> None:
    spec = ViewSpec(28, 28, 1, False, 0, cutout, (0.5,), (0.5,))
    draws = draw(View.STRONG, 64, torch.Generator().manual_seed(cutout), spec)._replace(op=torch.full((64, 2), -1))
    images = torch.from_numpy(picture(0, 28, 1)).expand(64, -1, -1, -1)
    assert_array_equal(Views(spec).augment(images, View.STRONG, draws), pillow(images, View.STRONG, draws, spec))
