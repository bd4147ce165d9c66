"""A store of photos that nobody took, where it does not matter what they show: sizes as in Semi-Aves, random bytes."""

from pathlib import Path

import numpy as np

from daso.data.images.decode import Rule
from daso.data.images.index import Index
from daso.data.images.source import Gallery, Held
from daso.data.images.store import Store
from daso.data.split import Split

BLOCK = 64 << 20  # bytes that the pixels repeat
LABELED = 5  # every so many images one is labeled, about as in Semi-Aves with U_in


def sizes_of(images: int, short: int, seed: int = 0) -> np.ndarray:
    """[N,2] heights and widths: long sides of 500, short ones about 363, a quarter upright, shrunk to `short`."""
    random, rule = np.random.RandomState(seed), Rule("fit", short)
    sides = random.normal(363, 35, images).clip(64, 500).astype(int).tolist()
    upright = (random.rand(images) < 0.25).tolist()
    both = [(500, side) if up else (side, 500) for side, up in zip(sides, upright)]
    return np.array([rule.size(*one) for one in both], dtype=np.int64)


def synthetic(
    folder: Path, images: int, short: int, side: int, classes: int, held_out: int = 256, sparse: bool = False
) -> tuple[Gallery, Split]:
    """A data set whose training images lie in one store.

    Args:
        folder: where to.
        images: N, a fifth of them labeled.
        short: side that they are shrunk to.
        side: of the images that are evaluated.
        classes: C; sizes fall from the first to the last by a factor of four.
        held_out: images that are evaluated.
        sparse: leave the pixels black, which takes no room on a disk.
    """
    size = sizes_of(images, short)
    ends = np.cumsum(size.prod(1) * 3)
    store = Store(folder, f"synthetic-{images}-{short}", size, np.zeros(images, np.int64), {}, 0)
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.RandomState(0)
    with store.pixels.open("wb") as file:
        if not sparse:
            block = random.bytes(BLOCK)
            for start in range(0, int(ends[-1]), BLOCK):
                file.write(block[: int(ends[-1]) - start])
        file.truncate(int(ends[-1]))
    labeled = images // LABELED
    share = 4.0 ** -np.linspace(0, 1, classes)
    y = np.sort(random.choice(classes, images, p=share / share.sum()))
    y[:classes] = np.arange(classes)  # none is without a label
    random.shuffle(y[classes:])
    test = Held(random.randint(0, 256, (held_out, 3, side, side), dtype=np.uint8), np.arange(held_out) % classes)
    names = tuple(map(str, range(classes)))
    paths = tuple(map(str, range(images + held_out)))
    index = Index(
        root=folder,
        names=names,
        original=names,
        parts=(("labeled", labeled), ("unlabeled", images - labeled), ("test", held_out)),
        paths=paths,
        labels=np.concatenate([y[:labeled], np.full(images - labeled, -1), test.y]),
        bytes=np.zeros(len(paths), np.int64),
        truth=y[labeled:],
    )
    nothing = np.zeros(0, np.int64)
    gallery = Gallery(index, [store], y, None, test, nothing, [])
    return gallery, Split(np.arange(labeled), np.arange(labeled, images), nothing)
