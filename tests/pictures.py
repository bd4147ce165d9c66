"""Trees of tiny image files, made with Pillow."""

from pathlib import Path

import numpy as np
from PIL import Image


def picture(number, width=30, height=20):
    """A picture that no other number gives."""
    return Image.fromarray(np.random.RandomState(number).randint(0, 256, (height, width, 3), dtype=np.uint8))


def write(root, *paths, width=30, height=20):
    """One picture for each path below `root`; the ending decides the format. Returns `root`."""
    for number, path in enumerate(paths):
        Path(root, path).parent.mkdir(parents=True, exist_ok=True)
        picture(number, width, height).save(Path(root, path))
    return root


def folder(root, **sets):
    """`sets` names folders of a data set, each with images per class: `folder(root, train={"cat": 3}, ...)`."""
    paths = [
        f"{name}/{label}/{k}.png" for name, counts in sets.items() for label, n in counts.items() for k in range(n)
    ]
    return write(root, *paths)
