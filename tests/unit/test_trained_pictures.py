"""What a person may show a trained network, and which pixels it sees of it."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from daso.errors import UserError
from daso.settings.compose import configuration
from daso.trained.pictures import Lens, several
from tests.pictures import picture


def lens(*overrides):
    return Lens(configuration(["algorithm=fixmatch", *overrides]).dataset)


COLOUR, GRAY = lens("dataset=cifar10"), lens("experiment=quickstart")
SQUARE = np.asarray(picture(0, 32, 32))
DIGIT = np.asarray(picture(1, 8, 8))[..., 0]


def shown(look, pictures):
    return look(several(pictures, look.channels))


def test_an_array_of_the_run_s_own_size_is_seen_as_it_is():
    for given in (SQUARE, SQUARE[None], [SQUARE], (SQUARE,), iter([SQUARE])):
        assert_array_equal(shown(COLOUR, given), np.moveaxis(SQUARE, -1, 0)[None])
    for given in (DIGIT, DIGIT[..., None], DIGIT[None], DIGIT[None, ..., None], [DIGIT]):
        assert_array_equal(shown(GRAY, given), DIGIT[None, None])
    assert_array_equal(shown(GRAY, np.stack([DIGIT] * 3)), np.stack([DIGIT[None]] * 3))  # which are no channels there
    many = np.stack([np.asarray(picture(k, 32, 32)) for k in range(5)])
    assert_array_equal(shown(COLOUR, many), np.moveaxis(many, -1, 1))
    assert_array_equal(shown(COLOUR, list(many)), np.moveaxis(many, -1, 1))


def test_files_images_and_arrays_of_one_picture_look_alike(tmp_path):
    for width, height in ((32, 32), (50, 40), (20, 90)):
        image = picture(3, width, height)
        image.save(tmp_path / "a.png")
        short = min(width, height)
        scaled = image.resize((32 * width // short, height), 2).resize((32 * width // short, 32 * height // short), 2)
        left, top = ((n - 32) // 2 for n in scaled.size)
        expected = np.moveaxis(np.asarray(scaled.crop((left, top, left + 32, top + 32))), -1, 0)
        for given in (image, tmp_path / "a.png", str(tmp_path / "a.png"), np.asarray(image)):
            assert_array_equal(shown(COLOUR, given)[0], expected)


def test_colours_follow_the_run_s_images():
    assert_array_equal(
        shown(COLOUR, DIGIT.repeat(4, 0).repeat(4, 1))[0], np.tile(DIGIT.repeat(4, 0).repeat(4, 1), (3, 1, 1))
    )
    colour = picture(2, 8, 8)
    assert_array_equal(shown(GRAY, colour)[0, 0], np.asarray(colour.convert("L")))
    clear = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    assert (shown(COLOUR, clear) == 255).all()
    assert (shown(COLOUR, np.asarray(clear)) == 255).all()


def test_a_turned_photograph_is_seen_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    picture(4, 32, 32).save(tmp_path / "turned.png", exif=exif)
    expected = np.asarray(picture(4, 32, 32).transpose(Image.Transpose.ROTATE_270))
    assert_array_equal(shown(COLOUR, tmp_path / "turned.png")[0], np.moveaxis(expected, -1, 0))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (SQUARE / 255, r"Images of float64 are not possible: uint8"),
        ([SQUARE / 255], r"Images of float64 are not possible: uint8"),
        (np.zeros((5, 3, 32, 32), np.uint8), r"shape \[5, 3, 32, 32\] are not possible: .*channels come last here"),
        (
            np.zeros((3, 32, 32), np.uint8),
            r"shape \[3, 32, 32\] are not possible: .*np\.moveaxis\(images, 0, -1\)\)\.$",
        ),
        (np.zeros((5, 32, 32, 2), np.uint8), r"shape \[5, 32, 32, 2\] are not possible"),
        (np.zeros((0, 32), np.uint8), r"they have no pixels|not possible"),
        (np.zeros(4, np.uint8), r"shape \[4\] are not possible"),
        ("no/such.png", r"^no/such\.png is not there\.$"),
        (["."], r"^\. is a folder\.$"),
        ([3], r"^Image 0 is no image: a path"),
        ([SQUARE, Image.new("I;16", (8, 8))], r"^Image 1 has more than 8 bits a channel\.$"),
    ],
    ids=range(11),
)
def test_what_cannot_be_shown_is_a_sentence(given, sentence):
    with pytest.raises(UserError, match=sentence):
        shown(COLOUR, given)


def test_no_picture_has_no_answer():
    assert shown(COLOUR, []).shape == (0, 3, 32, 32)
    assert shown(COLOUR, np.zeros((0, 32, 32, 3), np.uint8)).shape == (0, 3, 32, 32)
