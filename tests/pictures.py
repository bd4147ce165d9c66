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


def photos(root):
    """Thirty labeled pictures of three classes, twelve unlabeled ones, two of them of no class, a validation and a test
    set; of unequal size. Returns `root`.
    """
    train = {"dog": 14, "cat": 10, "hen": 6}
    paths = [f"train/{name}/{k}.png" for name, n in train.items() for k in range(n)]
    paths += [f"unlabeled/{name}/{k}.png" for name, n in (("dog", 6), ("hen", 4), ("out", 2)) for k in range(n)]
    paths += [f"{name}/{label}/{k}.png" for name in ("valid", "test") for label in train for k in range(3)]
    for k, path in enumerate(paths):
        Path(root, path).parent.mkdir(parents=True, exist_ok=True)
        picture(k, 18 + k % 9, 17 + k % 13).save(Path(root, path))
    return root


def data_set(root, name):
    """The overrides that choose an option of `dataset`; where it reads image files, a few are written into `root`."""
    if name == "folder":
        folder(root, train={"a": 3, "b": 2}, unlabeled={"x": 4}, test={"a": 1, "b": 1})
    elif name == "csv":
        write(root, *(f"{k}.png" for k in range(5)))
        lines = ["0.png,a,labeled", "1.png,b,labeled", "2.png,a,test", "3.png,b,test", "4.png,,unlabeled"]
        Path(root, "index.csv").write_text("\n".join(["path,label,split", *lines]))
    elif name == "semi_aves":
        lists = {"l_train_val": ["trainval_images/3/0.jpg 3", "trainval_images/7/0.jpg 7"], "test": ["test/0.jpg 3"]}
        lists |= {"u_train_in": ["u_train_in/0.jpg -1"], "u_train_out": ["u_train_out/0.jpg -1"]}
        write(root, *(line.split()[0] for lines in lists.values() for line in lines))
        for stem, lines in lists.items():
            Path(root, f"{stem}.txt").write_text("\n".join(lines))
    else:
        return [f"dataset={name}"]
    small = ["train.batch_size=1", "train.mu=1"] if name == "semi_aves" else []  # its lengths are epochs
    return [f"dataset={name}", f"dataset.root={root}", *small]
