"""The views of other code bases equal Pillow, image by image: black padding, USB's RandAugment and cutout."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from daso.data.views import Views, ViewSpec, draw
from daso.data.views.policy import POLICIES
from daso.schema import Padding
from daso.types import View
from tests.unit.test_views_pillow import picture

HALF = (0.5,) * 3
USB = ViewSpec(32, 32, 3, True, 4, 16, HALF, HALF, strong="usb")
OPS = (
    "AutoContrast", "Brightness", "Color", "Contrast", "Equalize", "Identity", "Posterize", "Rotate", "Sharpness",
    "ShearX", "ShearY", "Solarize", "TranslateX", "TranslateY",
)  # fmt: skip
FORMS = ["grouped", "static"]


def images(n=4, size=32):
    return torch.from_numpy(np.stack([picture(kind % 4, size, 3) for kind in range(n)]))


def padded(image, flip, row, column, pad):
    """Flip, four sides of black, and the drawn window."""
    image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else image
    width, height = image.size
    return ImageOps.expand(image, pad, fill=0).crop((column, row, column + width, row + height))


def reflected(image, flip, row, column, pad):
    image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else image
    array = np.pad(np.asarray(image), ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
    return Image.fromarray(array).crop((column, row, column + image.size[0], row + image.size[1]))


def usb(image, op, share, sign):
    """One of USB's operations at a share, 0 to 1, of its range."""
    affine, size = Image.Transform.AFFINE, image.size
    match OPS[op]:
        case "AutoContrast":
            return ImageOps.autocontrast(image)
        case "Equalize":
            return ImageOps.equalize(image)
        case "Brightness" | "Color" | "Contrast" | "Sharpness":
            return getattr(ImageEnhance, OPS[op])(image).enhance(0.05 + 0.9 * share)
        case "Posterize":
            return ImageOps.posterize(image, int(4 + 4 * share))
        case "Solarize":
            return ImageOps.solarize(image, 256 - 256 * share)
        case "Rotate":
            return image.rotate(sign * 30 * share)
        case "ShearX":
            return image.transform(size, affine, (1, sign * 0.3 * share, 0, 0, 1, 0))
        case "ShearY":
            return image.transform(size, affine, (1, 0, 0, sign * 0.3 * share, 1, 0))
        case "TranslateX":
            return image.transform(size, affine, (1, 0, sign * 0.3 * share * size[0], 0, 1, 0))
        case "TranslateY":
            return image.transform(size, affine, (1, 0, 0, 0, 1, sign * 0.3 * share * size[1]))
    return image


def box(image, x, y, side):
    """USB's cutout: a box of its colour, shifted at the left and top border."""
    x0, y0 = int(max(0, x - side / 2)), int(max(0, y - side / 2))
    image = image.copy()
    last = int(min(image.size[0], x0 + side)), int(min(image.size[1], y0 + side))
    ImageDraw.Draw(image).rectangle((x0, y0, *last), (125, 123, 114))
    return image


def chw(image):
    return np.moveaxis(np.asarray(image), -1, 0)


def hwc(image):
    return Image.fromarray(np.moveaxis(image.numpy(), 0, -1).copy())


@pytest.mark.parametrize("form", FORMS)
def test_a_crop_padded_with_black_equals_pillow_s(form):
    spec = replace(USB, strong="paper", padding=Padding.zero)
    x = images(16)
    draws = draw(View.WEAK, len(x), torch.Generator().manual_seed(1), spec)
    got = Views(spec, form).augment(x, View.WEAK, draws)
    for k, image in enumerate(x):
        flip, (row, column) = bool(draws.flip[k]), draws.crop[k].tolist()
        assert_array_equal(got[k], chw(padded(hwc(image), flip, row, column, 4)))


@pytest.mark.parametrize("form", FORMS)
def test_every_operation_of_usb_at_every_strength_equals_pillow(form):
    levels = POLICIES["usb"].levels
    op, level, sign = (t.reshape(-1, 1) for t in torch.meshgrid(
        torch.arange(14), torch.arange(1, levels + 1, 7), torch.tensor([-1, 1]), indexing="ij"))  # fmt: skip
    spec = replace(USB, crop_pad=0, flip=False, cutout=0)
    draws = draw(View.STRONG, len(op), torch.Generator().manual_seed(0), spec)
    draws = draws._replace(op=op, level=level, sign=sign)
    for kind in (0, 2):
        image = torch.from_numpy(picture(kind, 32, 3))
        got = Views(spec, form).augment(image.expand(len(op), -1, -1, -1), View.STRONG, draws)
        for k in range(len(op)):
            expected = usb(hwc(image), int(op[k]), (int(level[k]) - 0.5) / levels, int(sign[k]))
            assert_array_equal(got[k], chw(expected), f"{OPS[int(op[k])]} at level {int(level[k])}")


@pytest.mark.parametrize("form", FORMS)
def test_a_whole_strong_view_of_usb_equals_pillow(form):
    x, levels = images(24), POLICIES["usb"].levels
    draws = draw(View.STRONG, len(x), torch.Generator().manual_seed(2), USB)
    got = Views(USB, form).augment(x, View.STRONG, draws)
    for k, image in enumerate(x):
        flip, (row, column) = bool(draws.flip[k]), draws.crop[k].tolist()
        done = reflected(hwc(image), flip, row, column, 4)
        for op, level, sign in zip(*(t[k].tolist() for t in (draws.op, draws.level, draws.sign))):
            done = usb(done, op, (level - 0.5) / levels, sign)
        assert_array_equal(got[k], chw(box(done, *draws.cutout[k].tolist())))


def test_usb_draws_three_operations_that_are_all_applied_and_a_box_of_any_side():
    n = 20_000
    draws = draw(View.STRONG, n, torch.Generator().manual_seed(3), USB)
    assert draws.op.shape == (n, 3)
    assert torch.bincount(draws.op.flatten()).tolist() == pytest.approx([3 * n / 14] * 14, rel=0.1)
    level = draws.level.double()
    assert (int(level.min()), int(level.max())) == (1, 60)
    assert float(level.mean()) == pytest.approx(30.5, abs=0.3)
    x, y, side = draws.cutout.unbind(1)
    assert [float(t.mean()) for t in (x, y, side)] == pytest.approx([16, 16, 8], rel=0.03)
    assert float(side.max()) < 16 < float(side.max()) + 0.1


def test_a_gray_image_gets_a_gray_box():
    spec = replace(USB, channels=1, mean=(0.5,), std=(0.5,))
    draws = draw(View.STRONG, 8, torch.Generator().manual_seed(4), spec)._replace(op=torch.full((8, 3), 5))
    got = Views(spec).augment(torch.zeros(8, 1, 32, 32, dtype=torch.uint8), View.STRONG, draws)
    assert set(got.unique().tolist()) == {0, 123}
