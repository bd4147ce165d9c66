"""From an image file to the bytes that are kept of it, with Pillow, which gives equal bytes wherever it runs.

Whatever the file holds becomes upright RGB of 8 bits a channel. Every change of size is two calls, first along x, then
along y: Pillow 13 chooses the order of one call by cost, and other versions give other bytes.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from PIL import ExifTags, Image, UnidentifiedImageError

ARITHMETIC = 1  # raised when the same file would give other bytes
SIDEWAYS = (5, 6, 7, 8)  # turns by 90 degrees among the eight of EXIF
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
DEEP = ("I", "F")  # modes of more than 8 bits a channel begin so
NO_IMAGE = (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError)
FAILURES = (*NO_IMAGE, struct.error, zlib.error, Image.DecompressionBombError)  # what Pillow raises at damaged files


class Broken(Exception):  # noqa: N818  a state of a file, which a sentence continues
    """A file that cannot be used: the message goes on after its name, such as `is truncated`."""


class Rule(NamedTuple):
    """What is kept of an image.

    `fit`: the whole of it, shrunk so that its short side is `short`, never enlarged. `centre`: scaled to a short side
    of `short`, then the square of `side` in its middle: the usual evaluation view (of torchvision's size and place).
    """

    kind: str
    short: int
    side: int = 0

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of what is kept of an image; of one that has none, what its place is."""
        if self.kind == "centre":
            return self.side, self.side
        least = min(height, width)
        if least <= self.short:
            return height, width
        long = (2 * max(height, width) * self.short + least) // (2 * least)  # to the nearest, halves up
        return (self.short, long) if height < width else (long, self.short)

    def render(self, image: Image.Image) -> Image.Image:
        """What is kept of an upright RGB image."""
        if self.kind == "fit":
            height, width = self.size(image.height, image.width)
            return resized(image, width, height)
        least = min(image.size)
        width, height = (int(self.short * n / least) for n in image.size)
        scaled = resized(image, width, height)
        left, top = (round((n - self.side) / 2) for n in scaled.size)
        return scaled.crop((left, top, left + self.side, top + self.side))


def resized(image: Image.Image, width: int, height: int) -> Image.Image:
    """Scaled with Pillow's antialiased bilinear filter, first along x, then along y."""
    if image.width != width:
        image = image.resize((width, image.height), Image.Resampling.BILINEAR)
    if image.height != height:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return image


def measure(path: Path, size: int) -> tuple[int, int]:
    """Height and width of an image as it is upright, from the head of its file.

    Args:
        path: the file.
        size: its length in bytes, as the index has it.

    Raises:
        Broken: it is no image, not an 8-bit one, or not the file of the index.
    """
    with _opened(path, size) as image:
        width, height = image.size
        # Pillow turns a TIFF file's size by itself
        sideways = image.format != "TIFF" and _turn(image) in SIDEWAYS
    return (width, height) if sideways else (height, width)


def decode(path: Path, size: int) -> tuple[Image.Image, bool]:
    """An image, upright and in RGB, and whether parts of it were transparent, where white shows through.

    Raises:
        Broken: as `measure`; or the file is damaged.
    """
    with _opened(path, size) as image:
        return upright(image)


def upright(image: Image.Image) -> tuple[Image.Image, bool]:
    """The same of an image that is open, or was never a file.

    Raises:
        Broken: its file is damaged; it is not an 8-bit one.
    """
    with _told():
        if _bits(image) > 8:
            raise Broken("has more than 8 bits a channel")
        turn = _turn(image)
        image.load()
        if image.format == "TIFF":
            turn = _turn(image)  # 1, if Pillow has turned it
        plain, transparent = _rgb(image)
    return (plain.transpose(TURNS[turn]) if turn in TURNS else plain), transparent


@contextmanager
def _opened(path: Path, size: int) -> Iterator[Image.Image]:
    """The image in a file; whatever Pillow says about it while the block runs becomes `Broken`."""
    with _told(), path.open("rb") as file:
        found = os.fstat(file.fileno()).st_size
        if found != size:
            raise Broken(f"has {found} bytes, and had {size} when the index was made")
        if not size:
            raise Broken("is empty")
        with Image.open(file) as image:
            if _bits(image) > 8:
                raise Broken("has more than 8 bits a channel")
            yield image


@contextmanager
def _told() -> Iterator[None]:
    """What Pillow and the disk say about a file becomes `Broken`."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise Broken("is no image") from error
    except FileNotFoundError as error:
        raise Broken("is not there") from error
    except FAILURES as error:
        if isinstance(error, OSError) and error.strerror:
            raise Broken(f"cannot be read ({error.strerror})") from error
        raise Broken(f"is damaged ({str(error).strip().rstrip('.') or type(error).__name__})") from error


def _bits(image: Image.Image) -> int:
    """8, or 16 for anything finer; Pillow's mode does not tell it of a colour image."""
    tiles = getattr(image, "tile", [])  # how the file's parts are decoded: codec, extent, offset, arguments
    raw = [tile[3] if isinstance(tile[3], str) else tile[3][0] for tile in tiles if tile[3]]
    deep = image.mode.startswith(DEEP) or any(isinstance(name, str) and ";16" in name for name in raw)
    return 16 if deep else 8


def _turn(image: Image.Image) -> int:
    """How the image is turned (EXIF orientation, 1: upright), as its head says: pixels are not read for it."""
    turn = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    return turn if isinstance(turn, int) else 1


def _rgb(image: Image.Image) -> tuple[Image.Image, bool]:
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        lowest, _ = layer.getchannel("A").getextrema()
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB"), lowest != 255
    return image.convert("RGB"), False
