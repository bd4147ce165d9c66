"""SimCLR's view equals Pillow, image by image, byte for byte."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from PIL import Image, ImageEnhance, ImageFilter

from daso.data.views import Views, ViewSpec, draw, sim, sim_draws
from daso.types import View

ENHANCERS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)


def pictures(n, channels, size, seed=0):
    """Noise, dark pictures and nearly gray ones, [n,c,S,S]."""
    rng = np.random.RandomState(seed)
    noise = rng.randint(0, 256, (n, channels, size, size))
    noise[1::3] //= 5
    noise[2::3] = 120 + noise[2::3] % 4
    return torch.from_numpy(noise.astype(np.uint8))


def turned(image, hue):
    """Hue by way of Pillow's HSV; what has no colour has no hue."""
    if image.mode == "L":
        return image
    h, s, v = image.convert("HSV").split()
    return Image.merge("HSV", (h.point(lambda value: (value + hue) % 256), s, v)).convert("RGB")


def pillow(image, draws, radius, k, resolution):
    """The view of one image [c,S,S], operation by operation."""
    pixels = np.moveaxis(image.numpy(), 0, -1)
    out = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    y, x, h, w = draws.crop[k].tolist()
    out = out.crop((x, y, x + w, y + h)).resize((resolution, resolution), Image.Resampling.BILINEAR)
    if draws.flip[k]:
        out = out.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for operation in draws.order[k].tolist():
        if operation == sim.TURN:
            out = turned(out, int(draws.hue[k]))
        elif operation >= 0:
            out = ENHANCERS[operation](out).enhance(float(draws.factor[k, operation]))
    if draws.gray[k]:
        out = out.convert("L").convert(out.mode)
    if draws.taps[k, 1] > 0:
        out = out.filter(ImageFilter.GaussianBlur(float(radius[k])))
    done = np.asarray(out)
    return done[None] if done.ndim == 2 else np.moveaxis(done, -1, 0)


@pytest.mark.parametrize("form", ["grouped", "static"])
@pytest.mark.parametrize(("channels", "size", "resolution"), [(3, 32, 32), (3, 96, 32), (1, 28, 28), (1, 8, 8)])
def test_the_view_equals_pillow(channels, size, resolution, form, monkeypatch):
    radii = []
    taps = sim_draws.box_taps
    monkeypatch.setattr(sim_draws, "box_taps", lambda radius: radii.append(radius) or taps(radius))
    spec = ViewSpec(size, resolution, channels, True, 4, 16, (0.5,) * channels, (0.5,) * channels)
    images = pictures(60, channels, size, seed=size)
    draws = draw(View.SIM, len(images), torch.Generator().manual_seed(size), spec)
    ours = Views(spec, form).augment(images, View.SIM, draws)
    theirs = [pillow(image, draws, radii[0], k, resolution) for k, image in enumerate(images)]
    assert_array_equal(ours.numpy(), np.stack(theirs))


def test_every_colour_has_pillow_s_hue_and_every_hue_pillow_s_colour():
    first = np.arange(0, 256, 5)
    cube = np.stack(np.meshgrid(first, np.arange(256), np.arange(0, 256, 3), indexing="ij"), -1).astype(np.uint8)
    flat = cube.reshape(len(first), -1, 3)
    colours = torch.from_numpy(flat).permute(2, 0, 1)[None]
    ours = torch.stack(sim.hsv(colours.int()), -1)[0]
    assert_array_equal(ours.numpy(), np.asarray(Image.fromarray(flat).convert("HSV")))
    back = sim.rgb(*colours[0].long()[:, None].unbind(0))[0]
    theirs = np.asarray(Image.frombytes("HSV", flat.shape[1::-1], flat.tobytes()).convert("RGB"))
    assert_array_equal(back.permute(1, 2, 0).numpy(), theirs)


def test_the_shares_and_ranges_are_the_published_ones():
    draws = sim_draws.draw_sim(torch.full((20_000, 2), 100), torch.Generator().manual_seed(0))
    jittered = (draws.order >= 0).all(1)
    assert torch.equal(jittered, (draws.order >= 0).any(1))
    assert (draws.order[jittered].sort(1).values == torch.arange(4)).all()
    shares = [draws.flip, jittered, draws.gray, draws.taps[:, 1] > 0]
    assert [float(share.double().mean()) for share in shares] == pytest.approx([0.5, 0.8, 0.2, 0.5], abs=0.015)
    assert draws.factor.min() >= 0.6
    assert draws.factor.max() <= 1.4
    hue = (draws.hue + 128) % 256 - 128
    assert (int(hue.min()), int(hue.max())) == (-25, 25)
    area = draws.crop[:, 2:].prod(1) / 100**2
    assert area.min() == pytest.approx(0.2, abs=0.01)
    assert area.max() > 0.95
