"""What is kept of an image file."""

import io
import struct
import zlib

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image, ImageOps
from torchvision.transforms import functional as T

from daso.data.images.decode import Broken, Rule, decode, measure, resized
from tests.pictures import picture


def saved(path, image, **options):
    image.save(path, **options)
    return path, path.stat().st_size


def written(path, content):
    path.write_bytes(content)
    return path, len(content)


def oriented(turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    return exif


def jpeg(image=None, **options):
    content = io.BytesIO()
    (image or picture(0, 60, 40)).save(content, "JPEG", **options)
    return content.getvalue()


def png_of_16_bits(channels):
    """A PNG file of 5 x 4 pixels, which Pillow cannot write in colour."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 5, 4, 16, {1: 0, 3: 2, 2: 4, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + b"\1\2" * (5 * channels) for _ in range(4))
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif", "bmp", "gif", "ppm"])
def test_a_file_gives_the_pixels_that_pillow_reads(tmp_path, ending):
    path, size = saved(tmp_path / f"x.{ending}", picture(1))
    image, transparent = decode(path, size)
    assert_array_equal(np.asarray(image), np.asarray(Image.open(path).convert("RGB")))
    assert measure(path, size) == (20, 30)
    assert not transparent


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_every_turn_of_exif_gives_the_upright_image(tmp_path, ending, turn):
    upright = picture(2)
    undo = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[turn]  # the transposition that the turn takes back
    stored = upright if undo is None else upright.transpose(undo)
    path, size = saved(tmp_path / f"x.{ending}", stored, exif=oriented(turn))
    with Image.open(path) as image:
        expected = ImageOps.exif_transpose(image).convert("RGB")
    assert expected.size == upright.size
    if ending in ("png", "tif"):
        assert_array_equal(np.asarray(expected), np.asarray(upright))
    image, _ = decode(path, size)
    assert_array_equal(np.asarray(image), np.asarray(expected))
    assert measure(path, size) == (20, 30)


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr"])
def test_other_colours_become_rgb(tmp_path, mode):
    ending = "png" if mode in "L1P" else "jpg" if mode == "CMYK" else "tif"
    path, size = saved(tmp_path / f"x.{ending}", picture(3).convert(mode))
    image, _ = decode(path, size)
    assert image.mode == "RGB"
    assert_array_equal(np.asarray(image), np.asarray(Image.open(path).convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_white_shows_through_what_is_transparent(tmp_path, mode):
    image = picture(4).convert("RGBA")
    image.putalpha(Image.fromarray(np.where(np.arange(30) < 10, 0, 255).astype(np.uint8)[None].repeat(20, 0)))
    if mode == "LA":
        image = image.convert("LA")
    if mode == "P":
        image = image.convert("RGB").quantize(16)
        image.info["transparency"] = int(np.asarray(image)[0, 0])
    path, size = saved(tmp_path / "x.png", image)
    got, transparent = decode(path, size)
    assert transparent
    assert got.getpixel((0, 0)) == (255, 255, 255)
    if mode != "P":
        assert_array_equal(np.asarray(got)[:, 10:], np.asarray(image.convert("RGB"))[:, 10:])


def test_an_alpha_channel_that_hides_nothing_is_not_counted(tmp_path):
    image, transparent = decode(*saved(tmp_path / "x.png", picture(5).convert("RGBA")))
    assert not transparent
    assert_array_equal(np.asarray(image), np.asarray(picture(5)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"no image at all", "is no image"),
        (jpeg()[:-100], r"is damaged \(image file is truncated"),
        (jpeg()[:20], r"is (damaged|no image)"),
        (png_of_16_bits(1), "has more than 8 bits a channel"),
        (png_of_16_bits(3), "has more than 8 bits a channel"),
        (png_of_16_bits(4), "has more than 8 bits a channel"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path, content, reason):
    with pytest.raises(Broken, match=reason):
        decode(*written(tmp_path / "x.jpg", content))


def test_a_16_bit_tiff_is_refused(tmp_path):
    path, size = saved(tmp_path / "x.tif", Image.fromarray(np.zeros((4, 5), np.uint16)))
    with pytest.raises(Broken, match="has more than 8 bits a channel"):
        measure(path, size)


def test_a_damaged_png_is_found(tmp_path):
    content = bytearray(saved(tmp_path / "x.png", picture(6))[0].read_bytes())
    content[100] ^= 255
    with pytest.raises(Broken, match="is damaged"):
        decode(*written(tmp_path / "x.png", bytes(content)))


def test_a_file_that_vanished_or_changed_since_the_index_is_found(tmp_path):
    path, size = saved(tmp_path / "x.jpg", picture(7))
    with pytest.raises(Broken, match=rf"has {size} bytes, and had {size + 1} when the index was made"):
        measure(path, size + 1)
    path.unlink()
    with pytest.raises(Broken, match="is not there"):
        measure(path, size)


def test_a_wrong_ending_does_no_harm(tmp_path):
    image, _ = decode(*written(tmp_path / "x.png", jpeg()))
    assert image.size == (60, 40)


@pytest.mark.parametrize(("height", "width"), [(30, 20), (20, 30), (20, 20), (60, 21), (40, 317), (10, 30), (7, 7)])
def test_fitting_shrinks_to_the_short_side_and_never_enlarges(height, width):
    kept = Rule("fit", 16).render(picture(8, width, height))
    assert (kept.height, kept.width) == Rule("fit", 16).size(height, width)
    assert min(kept.size) == min(16, height, width)
    assert abs(kept.width / kept.height - width / height) * min(kept.size) <= 0.5 * max(1, width / height)


@pytest.mark.parametrize(("height", "width"), [(30, 20), (20, 31), (64, 64), (53, 300), (9, 12)])
def test_the_evaluation_view_is_that_of_torchvision(height, width):
    image = picture(9, width, height)
    short = T.resize(image, 32)
    expected = T.center_crop(resized(image, *short.size), [28, 28])
    assert_array_equal(np.asarray(Rule("centre", 32, 28).render(image)), np.asarray(expected))


def test_a_change_of_size_goes_along_x_first():
    image = picture(10, 90, 70)
    along_x = image.resize((33, 70), Image.Resampling.BILINEAR)
    expected = along_x.resize((33, 41), Image.Resampling.BILINEAR)
    assert_array_equal(np.asarray(resized(image, 33, 41)), np.asarray(expected))
