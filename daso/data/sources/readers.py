"""One reader per data set, from its files as published to uint8 arrays.

The readers are our own and thin: torchvision's classes keep CIFAR in HWC, demand files that training does not need,
check every file once per split and cannot read Fashion-MNIST from its .gz files.
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from daso.data.sources.arrays import Arrays, Images, Labels
from daso.data.sources.formats import cifar_batch, idx, idx_labels, stl_images, stl_labels

DIGITS_TEST_PER_CLASS = 50

Paths = Mapping[str, Path]
"""The files of a data set, by name."""


def cifar10(paths: Paths) -> Arrays:
    """CIFAR-10: 50,000 + 10,000 images, 3x32x32."""
    *train, test = paths
    return _cifar(paths, train, test, "labels", 10)


def cifar100(paths: Paths) -> Arrays:
    """CIFAR-100: 50,000 + 10,000 images, 3x32x32, fine labels."""
    return _cifar(paths, ["train"], "test", "fine_labels", 100)


def stl10(paths: Paths) -> Arrays:
    """STL-10: 5,000 + 8,000 images, 3x96x96, and, where they are among the files, 100,000 unlabeled ones.

    Images are views of the mapped files: nothing is read before it is used.
    """
    x, test_x = (stl_images(paths[f"{part}_X.bin"]) for part in ("train", "test"))
    y, test_y = (stl_labels(paths[f"{part}_y.bin"], images, 10) for part, images in (("train", x), ("test", test_x)))
    unlabeled = paths.get("unlabeled_X.bin")
    return Arrays(x, y, test_x, test_y, None if unlabeled is None else stl_images(unlabeled))


def fashion_mnist(paths: Paths) -> Arrays:
    """Fashion-MNIST: 60,000 + 10,000 images, 1x28x28."""
    x, test_x = (idx(paths[f"{part}-images-idx3-ubyte"], 3) for part in ("train", "t10k"))
    y, test_y = (
        idx_labels(paths[f"{part}-labels-idx1-ubyte"], images, 10) for part, images in (("train", x), ("t10k", test_x))
    )
    return Arrays(x[:, None], y, test_x[:, None], test_y, None)


def digits(paths: Paths) -> Arrays:
    """scikit-learn's digits, which come with it: 1,797 images, 1x8x8, 0..16 spread over 0..255.

    The test set is 50 images per class, the same in every run; 124 to 133 per class are left for training.
    Its file is read from where scikit-learn is installed: importing scikit-learn takes longer than a hundred steps.
    """
    spec = find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("scikit-learn is not installed")
    table = np.loadtxt(Path(spec.submodule_search_locations[0], "datasets/data/digits.csv.gz"), delimiter=",")
    x = np.rint(table[:, :64].reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    y = table[:, 64].astype(np.int64)
    stream = np.random.RandomState(0)
    chosen = [stream.permutation(np.flatnonzero(y == k))[:DIGITS_TEST_PER_CLASS] for k in range(10)]
    test = np.zeros(len(y), dtype=bool)
    test[np.concatenate(chosen)] = True
    return Arrays(x[~test], y[~test], x[test], y[test], None)


def _cifar(paths: Paths, train: Sequence[str], test: str, label_key: str, classes: int) -> Arrays:
    def read(names: Sequence[str]) -> tuple[Images, Labels]:
        batches = [cifar_batch(paths[name], label_key, classes) for name in names]
        return np.concatenate([x for x, _ in batches]), np.concatenate([y for _, y in batches])

    return Arrays(*read(train), *read([test]), None)
