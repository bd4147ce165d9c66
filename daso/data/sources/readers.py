"""One reader per data set, from its files as published to uint8 arrays.

The readers are our own and thin: torchvision's classes keep CIFAR in HWC, demand files that training does not need,
check every file once per split and cannot read Fashion-MNIST from its .gz files. File names, addresses and checksums
of the archives are torchvision's.
"""

import gzip
import hashlib
import pickle
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from daso.data.sources.arrays import Arrays, Images, Labels
from daso.data.sources.files import Archive, check, download, fetch, from_archive

DIGITS_TEST_PER_CLASS = 50
FASHION_MNIST_MD5 = {  # of the unpacked content: packagers repack the .gz files
    "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
    "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
}


def cifar10(root: Path) -> Arrays:
    """CIFAR-10: 50,000 + 10,000 images, 3x32x32."""
    from torchvision.datasets import CIFAR10

    return _cifar(root, "cifar10", CIFAR10, "labels")


def cifar100(root: Path) -> Arrays:
    """CIFAR-100: 50,000 + 10,000 images, 3x32x32, fine labels."""
    from torchvision.datasets import CIFAR100

    return _cifar(root, "cifar100", CIFAR100, "fine_labels")


def stl10(root: Path) -> Arrays:
    """STL-10: 5,000 + 8,000 images, 3x96x96, and 100,000 unlabeled ones.

    Images are views of the mapped files, which hold every channel column by column: nothing is read before it is
    used, and 2.8 GB of unlabeled images cost a run that leaves them alone no memory.
    """
    from torchvision.datasets import STL10

    folder = from_archive(root, "stl10", _archive(STL10))

    def images(name: str) -> Images:
        columns_first = np.memmap(folder / name, np.uint8, mode="c").reshape(-1, 3, 96, 96)
        rows_first: Images = columns_first.transpose(0, 1, 3, 2)
        return rows_first

    def labels(name: str) -> Labels:
        return np.fromfile(folder / name, np.uint8).astype(np.int64) - 1  # stored as 1..10

    return Arrays(
        images("train_X.bin"),
        labels("train_y.bin"),
        images("test_X.bin"),
        labels("test_y.bin"),
        images("unlabeled_X.bin"),
    )


def fashion_mnist(root: Path) -> Arrays:
    """Fashion-MNIST: 60,000 + 10,000 images, 1x28x28.

    The four idx files may lie in `root` itself (as in Debian's package dataset-fashion-mnist) or in torchvision's
    `FashionMNIST/raw`, packed (.gz) or not; they are downloaded to the latter.
    """
    raw = root / "FashionMNIST" / "raw"

    def find(name: str) -> Path | None:
        places = (folder / file for folder in (root, raw) for file in (name, f"{name}.gz"))
        return next((place for place in places if place.is_file()), None)

    def missing() -> list[str]:
        return [name for name in FASHION_MNIST_MD5 if find(name) is None]

    def install(incoming: Path) -> None:
        from torchvision.datasets import FashionMNIST

        raw.mkdir(parents=True, exist_ok=True)
        md5 = dict(FashionMNIST.resources)
        for name in missing():
            download(f"{FashionMNIST.mirrors[0]}{name}.gz", incoming, f"{name}.gz", md5[f"{name}.gz"])
            (incoming / f"{name}.gz").replace(raw / f"{name}.gz")

    names = ", ".join(f"{name}.gz" for name in FASHION_MNIST_MD5)
    fetch(
        root,
        "fashion_mnist",
        missing,
        install,
        f"put {names} into {root}, or install Debian's package dataset-fashion-mnist and set "
        "dataset.root=/usr/share/datasets/fashion-mnist",
    )

    def read(name: str) -> Images:
        path = find(name)
        assert path is not None, name
        try:
            content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        except (OSError, EOFError, zlib.error):
            content = b""  # a damaged packing: as wrong as damaged content
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        check(path, found, FASHION_MNIST_MD5[name], "fashion_mnist", root)
        dims = content[3]  # idx: 0, 0, type (8 = uint8), dimensions; then their sizes, big-endian; then the values
        shape = np.frombuffer(content, ">i4", count=dims, offset=4)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * dims).reshape(shape)

    x, y, test_x, test_y = (read(name) for name in FASHION_MNIST_MD5)
    return Arrays(x[:, None], y.astype(np.int64), test_x[:, None], test_y.astype(np.int64), None)


def digits(root: Path) -> Arrays:
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


def _cifar(root: Path, dataset: str, published: Any, label_key: str) -> Arrays:
    folder = from_archive(root, dataset, _archive(published))

    def read(names: list[str]) -> tuple[Images, Labels]:
        batches = []
        for name in names:
            with (folder / name).open("rb") as file:
                batches.append(pickle.load(file, encoding="latin1"))
        images = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
        return images, np.concatenate([batch[label_key] for batch in batches]).astype(np.int64)

    train = read([name for name, _ in published.train_list])
    test = read([name for name, _ in published.test_list])
    return Arrays(*train, *test, None)


def _archive(published: Any) -> Archive:
    """What torchvision's data set class knows about its archive."""
    files = dict(published.train_list + published.test_list)
    return Archive(published.url, published.filename, published.tgz_md5, published.base_folder, files)
