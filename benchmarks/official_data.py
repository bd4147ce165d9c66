"""The per-image Pillow data path, as the public code of the paper family does it: the baseline of `augment.py`.

One image at a time: stored as float32 and cast back at every access; flip and reflect-padded crop by torchvision,
RandAugment and Cutout by Pillow, tensor conversion and normalisation by torchvision, in `Dataset.__getitem__` behind a
`DataLoader`. That is what is timed, each image's random numbers being drawn by torchvision, Python and NumPy.
To compare bytes, `augment` does the same with random numbers that are handed in.
"""

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision import transforms as T

from daso.data.views import Draws, ViewSpec
from daso.types import View

OPS = (
    "AutoContrast", "Brightness", "Color", "Contrast", "Equalize", "Identity", "Posterize", "Rotate", "Sharpness",
    "ShearX", "ShearY", "Solarize", "TranslateX", "TranslateY",
)  # fmt: skip
STRONG = (View.STRONG, View.STRONG_LAST)


class Strong(NamedTuple):
    """The random numbers of RandAugment and Cutout for one image."""

    ops: tuple[tuple[int, int, int], ...] = ()  # (index in OPS or -1, level, sign)
    cutout: tuple[float, float] | None = None  # centre x, y


class Row(NamedTuple):
    """All random numbers of one image."""

    flip: bool
    crop: tuple[int, int]  # row, column of the window in the padded image
    strong: Strong


def random_strong(view: View, spec: ViewSpec) -> Strong:
    """Draw for RandAugment and Cutout of one image, number by number."""
    if view not in STRONG:
        return Strong()
    ops = []
    for op in random.choices(range(len(OPS)), k=2):
        applied = random.random() <= 0.5
        ops.append((op if applied else -1, int(np.random.randint(1, 10)), -1 if random.random() < 0.5 else 1))
    side = spec.resolution if view is View.STRONG_LAST else spec.size
    centre = (float(np.random.uniform(0, side)), float(np.random.uniform(0, side))) if spec.cutout else None
    return Strong(tuple(ops), centre)


def per_image(draws: Draws, n: int) -> list[Row]:
    """The rows of `n` images from a batch of draws; images that the view draws nothing for get a row of nothing."""
    if not len(draws.flip):
        return [Row(False, (0, 0), Strong())] * n
    flip, crop, op, level, sign, centre = (t.tolist() for t in draws)
    return [
        Row(flip[k], tuple(crop[k]), Strong(tuple(zip(op[k], level[k], sign[k])), tuple(centre[k]) or None))
        for k in range(n)
    ]


def apply_op(image: Image.Image, op: int, level: int, sign: int) -> Image.Image:
    """One RandAugment operation at a level of 1 to 9."""
    name = OPS[op]
    if name in ("Brightness", "Color", "Contrast", "Sharpness"):
        return getattr(ImageEnhance, name)(image).enhance(level * 0.9 / 10 + 0.05)
    value = sign * level * 0.3 / 10
    affine: Callable[..., Image.Image] = image.transform
    match name:
        case "AutoContrast":
            return ImageOps.autocontrast(image)
        case "Equalize":
            return ImageOps.equalize(image)
        case "Posterize":
            return ImageOps.posterize(image, int(level * 4 / 10) + 4)
        case "Solarize":
            return ImageOps.solarize(image, 256 - int(level * 256 / 10))
        case "Rotate":
            return image.rotate(sign * int(level * 30 / 10))
        case "ShearX":
            return affine(image.size, Image.Transform.AFFINE, (1, value, 0, 0, 1, 0))
        case "ShearY":
            return affine(image.size, Image.Transform.AFFINE, (1, 0, 0, value, 1, 0))
        case "TranslateX":
            return affine(image.size, Image.Transform.AFFINE, (1, 0, int(value * image.size[0]), 0, 1, 0))
        case "TranslateY":
            return affine(image.size, Image.Transform.AFFINE, (1, 0, 0, 0, 1, int(value * image.size[1])))
    return image


def cutout(image: Image.Image, centre: tuple[float, float], side: int) -> Image.Image:
    """A gray square; Pillow's rectangle includes both ends."""
    width, height = image.size
    x0, y0 = (int(max(0.0, c - side / 2)) for c in centre)
    x1, y1 = int(min(width, x0 + side)), int(min(height, y0 + side))
    image = image.copy()
    ImageDraw.Draw(image).rectangle((x0, y0, x1, y1), 127 if image.mode == "L" else (127, 127, 127))
    return image


def crop(image: Image.Image, offset: tuple[int, int], pad: int) -> Image.Image:
    """Pad by reflection and cut a window of the image's own size."""
    array = np.asarray(image)
    padded = Image.fromarray(np.pad(array, ((pad, pad), (pad, pad)) + ((0, 0),) * (array.ndim - 2), mode="reflect"))
    (i, j), (width, height) = offset, image.size
    return padded.crop((j, i, j + width, i + height))


def augment(image: Image.Image, view: View, row: Row, spec: ViewSpec) -> Image.Image:
    """One image through one view, up to the conversion to a tensor, by random numbers that are handed in."""
    if view is not View.IDENTITY:
        if row.flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        image = crop(image, row.crop, spec.crop_pad)
    return after_crop(image, view, row.strong, spec)


def after_crop(image: Image.Image, view: View, draws: Strong, spec: ViewSpec) -> Image.Image:
    """RandAugment and Cutout, before or after the change of size, as the view has it."""
    if view is View.STRONG:
        image = strong(image, draws, spec)
    if spec.resolution != image.size[0]:
        image = image.resize((spec.resolution, spec.resolution), Image.Resampling.BILINEAR)
    return strong(image, draws, spec) if view is View.STRONG_LAST else image


def strong(image: Image.Image, draws: Strong, spec: ViewSpec) -> Image.Image:
    """RandAugment and Cutout."""
    for op, level, sign in draws.ops:
        if op >= 0:
            image = apply_op(image, op, level, sign)
    return cutout(image, draws.cutout, spec.cutout) if draws.cutout else image


class Images(Dataset[tuple[Tensor, ...]]):
    """Images [N,H,W,3] (or [N,H,W]) of 0..255 with labels; an item is its views, the label and the index."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, views: tuple[View, ...], spec: ViewSpec) -> None:
        self.images, self.labels, self.views, self.spec = images.astype(np.float32), labels, views, spec
        moves: list[object] = [T.RandomHorizontalFlip()] if spec.flip else []
        moves.append(T.RandomCrop(spec.size, padding=spec.crop_pad, padding_mode="reflect"))
        self.move, self.normalize = T.Compose(moves), T.Compose([T.ToTensor(), T.Normalize(spec.mean, spec.std)])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[object, ...]:
        image = Image.fromarray(self.images[index].astype(np.uint8))
        return (*(self.transform(image, view) for view in self.views), int(self.labels[index]), index)

    def transform(self, image: Image.Image, view: View) -> Tensor:
        if view is not View.IDENTITY:
            image = self.move(image)
        tensor: Tensor = self.normalize(after_crop(image, view, random_strong(view, self.spec), self.spec))
        return tensor


class Order(Sampler[int]):
    """A fixed list of indices."""

    def __init__(self, indices: list[int]) -> None:
        self.indices = indices

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)


def loader(dataset: Images, indices: list[int], batch: int, workers: int) -> DataLoader[tuple[Tensor, ...]]:
    """Batches of a dataset in the given order."""
    return DataLoader(dataset, batch_size=batch, sampler=Order(indices), num_workers=workers, drop_last=True)
