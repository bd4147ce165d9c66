"""From whatever a person has for an image to the pixels that a run's evaluation would have seen of it.

Legend: N images, c channels of the data set, S pixels per side before the network's own resizing.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from daso.data.images.decode import Broken, decode, upright
from daso.data.images.source import rules
from daso.errors import UserError
from daso.machine.devices import usable_cores
from daso.schema import DatasetConfig

Pixels = npt.NDArray[np.uint8]
Picture = str | Path | Image.Image | Pixels
"""A path, an image of Pillow, or uint8 [H,W], [H,W,1], [H,W,3], [H,W,4]."""

NO_IMAGE = "is no image: a path, an image of Pillow, or an array of uint8 [H,W] or [H,W,C] would be"
CHANNELS = (1, 3, 4)  # gray, colour, colour with transparency: what a last axis of channels may be


def several(pictures: Any, channels: int = 1) -> Sequence[Picture]:
    """One picture or many as a sequence of pictures; nothing is opened yet.

    An array of three axes is one picture if its last axis has 1, 3 or 4 entries, else N gray ones. Three or four of
    these are not believed where a run saw colours: that is one picture whose channels come first.

    Args:
        pictures: one picture, several, or an array of them.
        channels: of the run's images.

    Raises:
        UserError: an array of another kind or shape, or nothing that may be pictures.
    """
    if isinstance(pictures, str | Path | Image.Image):
        return [pictures]
    if not hasattr(pictures, "__array__"):
        if not isinstance(pictures, Iterable):
            raise UserError(f"{pictures!r} {NO_IMAGE}.")
        return list(pictures)
    array = np.asarray(pictures)
    if array.dtype != np.uint8:
        raise UserError(f"Images of {array.dtype} are not possible: uint8, 0 to 255, is what a run was trained on.")
    last = array.shape[-1] if array.ndim else 0
    gray = array.ndim == 3 and (channels == 1 or array.shape[0] not in CHANNELS[1:])
    if array.ndim == 2 or (array.ndim == 3 and last in CHANNELS):
        array = array[None]
    elif not (gray or (array.ndim == 4 and last in CHANNELS)):
        axis = array.ndim - 3
        first = axis in (0, 1) and array.shape[axis] in CHANNELS
        hint = f" (channels come last here: np.moveaxis(images, {axis}, -1))" * first
        forms = "[H,W], [H,W,C], [N,H,W,C] or, of gray images, [N,H,W]"
        raise UserError(f"Images of shape {list(array.shape)} are not possible: {forms}{hint}.")
    if 0 in array.shape[1:]:
        raise UserError(f"Images of shape {list(array.shape)} are not possible: they have no pixels.")
    return array  # type: ignore[return-value]


class Lens:
    """Shows pictures as a run's evaluation shows its test images.

    Those of a data set of image files are scaled and cut by the same rule as its files. To runs on square images of one
    size a picture of that size is shown as it is; another one is scaled to it by its short side and cut to its middle.
    """

    def __init__(self, dataset: DatasetConfig) -> None:
        self.channels = dataset.channels
        _, self.rule = rules(dataset)
        self.side = self.rule.side

    def __call__(self, pictures: Sequence[Picture]) -> Pixels:
        """[N,c,S,S] of pictures as `several` gives them; files are decoded on all CPUs that this process may use.

        Raises:
            UserError: a picture that cannot be used.
        """
        if isinstance(pictures, np.ndarray) and self._fits(pictures[0] if len(pictures) else pictures):
            return np.ascontiguousarray(pictures.reshape(-1, self.side, self.side, self.channels).transpose(0, 3, 1, 2))
        found, broken = self.try_all(pictures)
        if broken:
            place, why = next(iter(broken.items()))
            raise UserError(f"{_called(pictures[place], place)} {why}.")
        return found

    def try_all(self, pictures: Sequence[Picture]) -> tuple[Pixels, dict[int, str]]:
        """Those that can be used, and why the others cannot, by their places: a clause that goes on after a name."""
        with ThreadPoolExecutor(len(usable_cores())) as pool:
            found = list(pool.map(self._shown, pictures))
        good = [one for one in found if not isinstance(one, str)]
        shape = (len(good), self.channels, self.side, self.side)
        return np.array(good, dtype=np.uint8).reshape(shape), {
            place: one for place, one in enumerate(found) if isinstance(one, str)
        }

    def _fits(self, array: Pixels) -> bool:
        """Whether a picture has the size and the channels of the run's images."""
        sides = (self.side, self.side)
        return array.shape == (*sides, self.channels) or (array.shape == sides and self.channels == 1)

    def _shown(self, picture: Picture) -> Pixels | str:
        try:
            image = self.rule.render(_opened(picture))
        except Broken as broken:
            return str(broken)
        if self.channels == 1:
            return np.asarray(image.convert("L"))[None]
        return np.moveaxis(np.asarray(image), -1, 0)


def _opened(picture: Any) -> Image.Image:
    """Upright and in RGB."""
    if isinstance(picture, str | Path):
        path = Path(picture).expanduser()
        if not path.is_file():
            raise Broken("is a folder" if path.is_dir() else "is not there")
        return decode(path, path.stat().st_size)[0]
    if isinstance(picture, Image.Image):
        return upright(picture)[0]
    if not hasattr(picture, "__array__") or len(found := several(picture)) != 1:
        raise Broken(NO_IMAGE)
    array = np.asarray(found[0])
    return upright(Image.fromarray(array[..., 0] if array.shape[2:] == (1,) else array))[0]


def _called(picture: Picture, place: int) -> str:
    return str(picture) if isinstance(picture, str | Path) else f"Image {place}"


def chunks(pictures: Sequence[Picture], size: int) -> Iterable[Sequence[Picture]]:
    """`pictures` in parts of at most `size`."""
    return (pictures[start : start + size] for start in range(0, len(pictures), size))
