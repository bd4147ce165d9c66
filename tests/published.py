"""Small data sets, published the way the real ones are: `from tests.published import Published`."""

import hashlib
import io
import pickle
import tarfile
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler

import numpy as np

from daso.data.sources import SOURCES
from daso.schema import DatasetConfig

SHAPES = {
    "cifar10": (10, 3, 32),
    "cifar100": (100, 3, 32),
    "stl10": (10, 3, 96),
    "fashion_mnist": (10, 1, 28),
    "digits": (10, 1, 8),
}  # classes, channels, pixels per side
FASHION_FILES = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
RNG = np.random.default_rng(0)


def config(name, root, **changes):
    classes, channels, size = SHAPES.get(name, (10, 3, 32))
    size = changes.get("source_size", size)
    channels = changes.get("channels", channels)
    return DatasetConfig(
        name=name,
        root=str(root),
        num_classes=changes.get("num_classes", classes),
        class_size=100,
        channels=channels,
        source_size=size,
        resolution=size,
        mean=[0.5] * channels,
        std=[0.5] * channels,
        crop_pad=1,
        unknown_unlabeled=changes.get("unknown_unlabeled", name == "stl10"),
        verify=changes.get("verify", True),
        files_checksum=changes.get("files_checksum", ""),
    )


def md5(content):
    return hashlib.md5(content).hexdigest()


def images(n, channels, size):
    return RNG.integers(0, 256, (n, channels, size, size), dtype=np.uint8)


def packed(files, mode="w:gz"):
    """A tar archive of files: place -> content."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode=mode) as tar:
        for place, content in files.items():
            info = tarfile.TarInfo(place)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return archive.getvalue()


class Published:
    """A small data set, published the way the real one is: files, their checksums, an archive at an address."""

    def __init__(self, monkeypatch, published, name, files):
        folder, address = published
        real = SOURCES[name]
        assert files.keys() == real.files.keys()
        self.files, self.folder, self.archive = files, real.folder, folder / real.name
        self.archive.write_bytes(packed(self.in_folder(files)))
        self.source = replace(
            real,
            files={file: md5(files[file]) for file in real.files},
            url=f"{address}/{real.name}",
            md5=md5(self.archive.read_bytes()),
        )
        monkeypatch.setitem(SOURCES, name, self.source)

    def in_folder(self, files):
        return {f"{self.folder}/{file}": content for file, content in files.items()}

    def put_into(self, root, **changed):
        (root / self.folder).mkdir(parents=True)
        for file, content in (self.files | changed).items():
            (root / self.folder / file).write_bytes(content)


def cifar_files(names, label_key, per_batch):
    batches = {}
    for name in names:
        batch = {"data": images(per_batch, 3, 32).reshape(per_batch, -1), label_key: list(range(per_batch))}
        batches[name] = pickle.dumps(batch, protocol=2)
    return batches


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def idx(values):
    """The idx format: two zeros, type 8 (uint8), number of dimensions, sizes (big-endian), values."""
    sizes = np.array(values.shape, ">i4").tobytes()
    return bytes([0, 0, 8, values.ndim]) + sizes + values.astype(np.uint8).tobytes()


def publish_fashion(monkeypatch, contents, **more):
    files = {name: md5(contents[name]) for name in FASHION_FILES}
    monkeypatch.setitem(SOURCES, "fashion_mnist", replace(SOURCES["fashion_mnist"], files=files, **more))
