"""Readers and downloads, on small files in the genuine formats; their checksums stand in for the published ones."""

import gzip
import hashlib
import io
import pickle
import tarfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torchvision.datasets as tv
import torchvision.datasets.utils as tv_utils
from sklearn.datasets import load_digits

from daso.data.sources import load, readers
from daso.errors import UserError
from daso.schema import DatasetConfig

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
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
    )


def md5(content):
    return hashlib.md5(content).hexdigest()


def images(n, channels, size):
    return RNG.integers(0, 256, (n, channels, size, size), dtype=np.uint8)


class Published:
    """A small data set, published the way the real one is: files, their checksums, an archive at an address."""

    def __init__(self, monkeypatch, published, cls, files):
        folder, address = published
        self.files = files
        self.folder, self.cls, self.archive = cls.base_folder, cls, folder / cls.filename
        with tarfile.open(self.archive, "w:gz") as tar:
            for file, content in files.items():
                info = tarfile.TarInfo(f"{self.folder}/{file}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        sums = {file: md5(content) for file, content in files.items()}
        for part in ("train_list", "test_list"):
            monkeypatch.setattr(cls, part, [[file, sums[file]] for file, _ in getattr(cls, part)])
        monkeypatch.setattr(cls, "url", f"{address}/{cls.filename}")
        monkeypatch.setattr(cls, "tgz_md5", md5(self.archive.read_bytes()))

    def put_into(self, root):
        (root / self.folder).mkdir(parents=True)
        for file, content in self.files.items():
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


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A folder and the address of a server that hands out its files."""
    folder = tmp_path / "server"
    folder.mkdir()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=folder)) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def cifar10(monkeypatch, published):
    names = [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]
    return Published(monkeypatch, published, tv.CIFAR10, cifar_files(names, "labels", 10))


@pytest.fixture
def cifar100(monkeypatch, published):
    return Published(monkeypatch, published, tv.CIFAR100, cifar_files(["train", "test"], "fine_labels", 100))


@pytest.fixture
def stl10(monkeypatch, published):
    files = {f"{part}_X.bin": images(n, 3, 96).tobytes() for part, n in [("train", 20), ("test", 10), ("unlabeled", 6)]}
    files["train_y.bin"] = bytes(range(1, 11)) * 2
    files["test_y.bin"] = bytes(range(1, 11))
    return Published(monkeypatch, published, tv.STL10, files)


def idx(values):
    """The idx format: two zeros, type 8 (uint8), number of dimensions, sizes (big-endian), values."""
    sizes = np.array(values.shape, ">i4").tobytes()
    return bytes([0, 0, 8, values.ndim]) + sizes + values.astype(np.uint8).tobytes()


def publish_fashion(monkeypatch, contents):
    monkeypatch.setattr(readers, "FASHION_MNIST_MD5", {name: md5(contents[name]) for name in FASHION_FILES})


def recorded_fashion_labels():
    with np.load(Path(__file__).parents[1] / "golden" / "splits.npz") as recorded:
        return recorded["fmnist_labels"]


@pytest.fixture
def fashion(monkeypatch):
    """The unpacked content of four small files: 30 training and 10 test images."""
    sizes = {name: 30 if "train" in name else 10 for name in FASHION_FILES}
    contents = {
        name: idx(images(n, 1, 28)[:, 0] if "images" in name else np.arange(n) % 10) for name, n in sizes.items()
    }
    publish_fashion(monkeypatch, contents)
    return contents


@pytest.fixture
def no_network(monkeypatch):
    def refuse(url, *_):
        raise AssertionError(f"{url} asked for, although every file is there")

    monkeypatch.setattr(tv_utils, "download_url", refuse)


@pytest.mark.parametrize(("name", "per_batch"), [("cifar10", 10), ("cifar100", 100)])
def test_cifar_images_come_as_channels_rows_columns(request, tmp_path, no_network, name, per_batch):
    source = request.getfixturevalue(name)
    source.put_into(tmp_path)
    arrays = load(config(name, tmp_path))
    first = pickle.loads(source.files[source.cls.train_list[0][0]])["data"][3]
    for channel in range(3):  # a CIFAR row: 1024 red, 1024 green, 1024 blue values, row by row
        np.testing.assert_array_equal(arrays.train_x[3, channel].ravel(), first[channel * 1024 : (channel + 1) * 1024])
    assert arrays.test_x.shape == (per_batch, 3, 32, 32)
    assert arrays.train_x.dtype == np.uint8


def test_cifar_images_equal_torchvisions(monkeypatch, tmp_path, cifar10):
    cifar10.put_into(tmp_path)
    monkeypatch.setattr(tv.CIFAR10, "_load_meta", lambda self: None)
    arrays = load(config("cifar10", tmp_path))
    for train, x, y in ((True, arrays.train_x, arrays.train_y), (False, arrays.test_x, arrays.test_y)):
        reference = tv.CIFAR10(tmp_path, train=train)
        np.testing.assert_array_equal(x.transpose(0, 2, 3, 1), reference.data)
        np.testing.assert_array_equal(y, reference.targets)


def test_stl10_images_and_labels_equal_torchvisions(tmp_path, stl10, no_network):
    stl10.put_into(tmp_path)
    arrays = load(config("stl10", tmp_path))
    for split, x, y in (("train", arrays.train_x, arrays.train_y), ("test", arrays.test_x, arrays.test_y)):
        reference = tv.STL10(tmp_path, split=split)
        np.testing.assert_array_equal(x, reference.data)
        np.testing.assert_array_equal(y, reference.labels)
    np.testing.assert_array_equal(arrays.unlabeled_x, tv.STL10(tmp_path, split="unlabeled").data)


def test_stl10_images_are_views_of_the_mapped_files(tmp_path, stl10):
    stl10.put_into(tmp_path)
    arrays = load(config("stl10", tmp_path))
    assert isinstance(arrays.unlabeled_x, np.memmap)
    assert not arrays.unlabeled_x.flags.owndata


@pytest.mark.parametrize("layout", ["", "FashionMNIST/raw"])
@pytest.mark.parametrize("packed", [True, False])
def test_fashion_mnist_is_read_from_either_layout_packed_or_not(tmp_path, fashion, no_network, layout, packed):
    (tmp_path / layout).mkdir(parents=True, exist_ok=True)
    for name, content in fashion.items():
        file = tmp_path / layout / (f"{name}.gz" if packed else name)
        file.write_bytes(gzip.compress(content) if packed else content)
    arrays = load(config("fashion_mnist", tmp_path))
    assert arrays.train_x.shape == (30, 1, 28, 28)
    assert arrays.train_x.tobytes() == fashion["train-images-idx3-ubyte"][16:]
    assert arrays.test_y.tolist() == list(range(10))


@pytest.fixture
def debian_folder(tmp_path, monkeypatch):
    """The package's folder; where it is not installed, one of the same layout with the recorded training labels."""
    if DEBIAN.is_dir():
        return DEBIAN
    contents = {name: idx(images(1, 1, 28)[:, 0] if "images" in name else np.arange(10)) for name in FASHION_FILES}
    contents["train-labels-idx1-ubyte"] = idx(recorded_fashion_labels())
    publish_fashion(monkeypatch, contents)
    for name, content in contents.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
    return tmp_path


def test_fashion_mnist_of_debians_package_has_the_recorded_labels(debian_folder, no_network):
    arrays = load(config("fashion_mnist", debian_folder))
    np.testing.assert_array_equal(arrays.train_y, recorded_fashion_labels())


def test_digits_have_50_test_images_per_class_and_at_least_124_for_training():
    arrays = load(config("digits", "unused"))
    assert np.bincount(arrays.test_y).tolist() == [50] * 10
    assert np.bincount(arrays.train_y).min() == 124


def test_digits_are_tested_on_the_same_images_every_time():
    first, second = (load(config("digits", "unused")) for _ in range(2))
    np.testing.assert_array_equal(first.test_x, second.test_x)
    np.testing.assert_array_equal(first.train_y, second.train_y)


def test_digits_split_every_image_into_train_or_test_once():
    arrays = load(config("digits", "unused"))
    grays = {level: round(level * 255 / 16) for level in range(17)}
    everything = [
        (np.vectorize(grays.get)(image).astype(np.uint8).tobytes(), label)
        for image, label in zip(load_digits().images, load_digits().target)
    ]
    ours = [
        (image.tobytes(), label)
        for x, y in ((arrays.train_x, arrays.train_y), (arrays.test_x, arrays.test_y))
        for image, label in zip(x, y)
    ]
    assert sorted(ours) == sorted(everything)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "stl10"])
def test_an_absent_data_set_is_downloaded_and_unpacked(request, tmp_path, name):
    source = request.getfixturevalue(name)
    load(config(name, tmp_path / "new" / "data"))
    for file, content in source.files.items():
        assert (tmp_path / "new" / "data" / source.folder / file).read_bytes() == content


def test_an_archive_put_by_hand_is_unpacked_without_a_download(tmp_path, cifar10, no_network):
    (tmp_path / cifar10.archive.name).write_bytes(cifar10.archive.read_bytes())
    assert len(load(config("cifar10", tmp_path)).train_y) == 50


def test_absent_fashion_mnist_is_downloaded_in_torchvisions_layout(tmp_path, published, fashion, monkeypatch):
    resources = []
    for name, content in fashion.items():
        (published[0] / f"{name}.gz").write_bytes(gzip.compress(content))
        resources.append((f"{name}.gz", md5((published[0] / f"{name}.gz").read_bytes())))
    monkeypatch.setattr(tv.FashionMNIST, "mirrors", [f"{published[1]}/"])
    monkeypatch.setattr(tv.FashionMNIST, "resources", resources)
    load(config("fashion_mnist", tmp_path / "data"))
    installed = {path.name for path in (tmp_path / "data" / "FashionMNIST" / "raw").iterdir()}
    assert installed == {name for name, _ in resources}


def test_jobs_that_start_together_download_once(tmp_path, cifar10, monkeypatch):
    asked, download_url = [], tv_utils.download_url
    monkeypatch.setattr(tv_utils, "download_url", lambda url, *rest: asked.append(url) or download_url(url, *rest))
    with ThreadPoolExecutor(4) as jobs:
        sizes = list(jobs.map(lambda _: len(load(config("cifar10", tmp_path)).train_y), range(4)))
    assert sizes == [50] * 4
    assert len(asked) == 1


def test_a_download_leaves_no_half_finished_files(tmp_path, cifar10):
    load(config("cifar10", tmp_path / "data"))
    assert {path.name for path in (tmp_path / "data").iterdir()} <= {cifar10.folder, ".download.lock"}


def test_what_a_killed_download_left_behind_is_not_taken_for_data(tmp_path, cifar10):
    (tmp_path / ".incoming").mkdir()
    (tmp_path / ".incoming" / cifar10.archive.name).write_bytes(cifar10.archive.read_bytes()[:100])
    (tmp_path / ".incoming" / "data_batch_1").write_bytes(b"cut off")
    assert len(load(config("cifar10", tmp_path)).train_y) == 50


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "stl10"])
def test_a_failed_download_says_which_archive_to_put_where(request, tmp_path, name):
    source = request.getfixturevalue(name)
    source.archive.unlink()
    with pytest.raises(UserError) as caught:
        load(config(name, tmp_path / "data"))
    message = str(caught.value)
    assert f"put {source.cls.filename} (from {source.cls.url}) into {tmp_path / 'data'}" in message
    assert "\n" not in message


def test_a_failed_download_of_fashion_mnist_names_the_four_files(tmp_path, published, fashion, monkeypatch):
    monkeypatch.setattr(tv.FashionMNIST, "mirrors", [f"{published[1]}/"])
    with pytest.raises(UserError) as caught:
        load(config("fashion_mnist", tmp_path))
    assert all(f"{name}.gz" in str(caught.value) for name in fashion)


def test_a_download_of_something_else_is_refused(tmp_path, cifar10):
    cifar10.archive.write_bytes(b"<html>sign in to this network</html>")
    with pytest.raises(UserError, match="cannot be downloaded"):
        load(config("cifar10", tmp_path / "data"))


@pytest.mark.parametrize(("name", "file"), [("cifar10", "data_batch_3"), ("stl10", "unlabeled_X.bin")])
def test_a_damaged_file_is_named_and_not_downloaded_over(request, tmp_path, no_network, name, file):
    source = request.getfixturevalue(name)
    source.put_into(tmp_path)
    (tmp_path / source.folder / file).write_bytes(source.files[file][:-1])
    with pytest.raises(UserError, match=f"{file} is damaged"):
        load(config(name, tmp_path))


def test_a_damaged_archive_put_by_hand_is_named(tmp_path, cifar10, no_network):
    (tmp_path / cifar10.archive.name).write_bytes(cifar10.archive.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"cifar-10-python\.tar\.gz is damaged"):
        load(config("cifar10", tmp_path))


@pytest.mark.parametrize("spoil", [lambda packed: packed[:-20], lambda packed: b"no gzip", lambda packed: b""])
def test_a_damaged_fashion_mnist_file_is_named(tmp_path, fashion, no_network, spoil):
    for name, content in fashion.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
    spoiled = tmp_path / "train-images-idx3-ubyte.gz"
    spoiled.write_bytes(spoil(spoiled.read_bytes()))
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte\.gz is damaged"):
        load(config("fashion_mnist", tmp_path))


@pytest.mark.parametrize("name", ["cifar10", "stl10", "fashion_mnist"])
def test_a_root_that_cannot_be_written_is_a_sentence(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=f"dataset.root={tmp_path}/file/data: {name} is not there"):
        load(config(name, tmp_path / "file" / "data"))


@pytest.mark.parametrize("name", ["cifar10", "stl10", "fashion_mnist"])
def test_a_root_that_is_a_file_is_a_sentence(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=f"dataset.root={tmp_path}/file is not possible: it is a file; name a folder"):
        load(config(name, tmp_path / "file"))


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UserError, match=r"dataset.name=svhn.*cifar10.*digits"):
        load(config("svhn", "unused"))


@pytest.mark.parametrize(
    ("key", "value"),
    [("num_classes", 9), ("channels", 3), ("source_size", 9), ("unknown_unlabeled", True)],
)
def test_images_that_are_not_what_the_configuration_says_are_refused(key, value):
    with pytest.raises(UserError, match=f"dataset.{key}={value}"):
        load(config("digits", "unused", **{key: value}))
