"""Readers and downloads, on small files in the genuine formats; their checksums stand in for the published ones."""

import gzip
import hashlib
import io
import pickle
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torchvision.datasets as tv
import torchvision.datasets.utils as tv_utils
from sklearn.datasets import load_digits

from daso.data.sources import SOURCES, files_checksum, load, refuse_foreign, remarks
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
    return Published(monkeypatch, published, "cifar10", cifar_files(names, "labels", 10))


@pytest.fixture
def cifar100(monkeypatch, published):
    return Published(monkeypatch, published, "cifar100", cifar_files(["train", "test"], "fine_labels", 100))


@pytest.fixture
def stl10(monkeypatch, published):
    files = {f"{part}_X.bin": images(n, 3, 96).tobytes() for part, n in [("train", 20), ("test", 10), ("unlabeled", 6)]}
    files["train_y.bin"] = bytes(range(1, 11)) * 2
    files["test_y.bin"] = bytes(range(1, 11))
    return Published(monkeypatch, published, "stl10", files)


def idx(values):
    """The idx format: two zeros, type 8 (uint8), number of dimensions, sizes (big-endian), values."""
    sizes = np.array(values.shape, ">i4").tobytes()
    return bytes([0, 0, 8, values.ndim]) + sizes + values.astype(np.uint8).tobytes()


def publish_fashion(monkeypatch, contents, **more):
    files = {name: md5(contents[name]) for name in FASHION_FILES}
    monkeypatch.setitem(SOURCES, "fashion_mnist", replace(SOURCES["fashion_mnist"], files=files, **more))


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


def test_addresses_names_and_checksums_are_torchvisions():
    for name, theirs in (("cifar10", tv.CIFAR10), ("cifar100", tv.CIFAR100), ("stl10", tv.STL10)):
        ours = SOURCES[name]
        assert (ours.url, ours.name, ours.md5) == (theirs.url, theirs.filename, theirs.tgz_md5)
        assert ours.folder == theirs.base_folder
        assert list(ours.files.items()) == [tuple(file) for file in theirs.train_list + theirs.test_list]
    fashion = SOURCES["fashion_mnist"]
    assert fashion.url in tv.FashionMNIST.mirrors
    assert {f"{name}.gz": md5 for name, md5 in fashion.packed.items()} == dict(tv.FashionMNIST.resources)


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
    first = pickle.loads(source.files[next(iter(source.files))])["data"][3]
    for channel in range(3):  # a CIFAR row: 1024 red, 1024 green, 1024 blue values, row by row
        np.testing.assert_array_equal(arrays.train_x[3, channel].ravel(), first[channel * 1024 : (channel + 1) * 1024])
    assert arrays.test_x.shape == (per_batch, 3, 32, 32)
    assert arrays.train_x.dtype == np.uint8


def test_cifar_images_equal_torchvisions(monkeypatch, tmp_path, cifar10):
    cifar10.put_into(tmp_path)
    monkeypatch.setattr(tv.CIFAR10, "_load_meta", lambda self: None)
    monkeypatch.setattr(tv.CIFAR10, "_check_integrity", lambda self: True)
    arrays = load(config("cifar10", tmp_path))
    for train, x, y in ((True, arrays.train_x, arrays.train_y), (False, arrays.test_x, arrays.test_y)):
        reference = tv.CIFAR10(tmp_path, train=train)
        np.testing.assert_array_equal(x.transpose(0, 2, 3, 1), reference.data)
        np.testing.assert_array_equal(y, reference.targets)


def test_stl10_images_and_labels_equal_torchvisions(monkeypatch, tmp_path, stl10, no_network):
    stl10.put_into(tmp_path)
    monkeypatch.setattr(tv.STL10, "_check_integrity", lambda self: True)
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
    labels = recorded_fashion_labels()
    contents = {name: idx(images(10, 1, 28)[:, 0] if "images" in name else np.arange(10)) for name in FASHION_FILES}
    contents["train-images-idx3-ubyte"] = idx(np.zeros((len(labels), 28, 28), np.uint8))
    contents["train-labels-idx1-ubyte"] = idx(labels)
    publish_fashion(monkeypatch, contents)
    for name, content in contents.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content, 1))
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
    sums = {}
    for name, content in fashion.items():
        (published[0] / f"{name}.gz").write_bytes(gzip.compress(content))
        sums[name] = md5((published[0] / f"{name}.gz").read_bytes())
    publish_fashion(monkeypatch, fashion, url=f"{published[1]}/", packed=sums)
    load(config("fashion_mnist", tmp_path / "data"))
    installed = {path.name for path in (tmp_path / "data" / "FashionMNIST" / "raw").iterdir()}
    assert installed == {f"{name}.gz" for name in fashion}


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
    assert f"put {source.source.name} (from {source.source.url}) into {tmp_path / 'data'}" in message
    assert "\n" not in message


def test_a_failed_download_of_fashion_mnist_names_the_four_files(tmp_path, published, fashion, monkeypatch):
    publish_fashion(monkeypatch, fashion, url=f"{published[1]}/")
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


@pytest.mark.parametrize(
    "spoil",
    [
        lambda packed: b"",
        lambda packed: b"no archive",
        lambda packed: packed[: len(packed) // 2],
        lambda packed: packed[:5000] + bytes(300) + packed[5300:],
        lambda packed: packed[:-6] + bytes(2) + packed[-4:],  # the checksum of the packing
    ],
    ids=["empty", "text", "half", "zeros", "checksum"],
)
@pytest.mark.parametrize("verify", [True, False])
def test_an_archive_that_cannot_be_unpacked_is_one_sentence(tmp_path, cifar10, no_network, spoil, verify):
    root = tmp_path / "data"
    root.mkdir()
    (root / cifar10.archive.name).write_bytes(spoil(cifar10.archive.read_bytes()))
    judged = load if verify else partial(files_checksum, unlabeled=True)
    with pytest.raises(UserError, match=r"cifar-10-python\.tar\.gz is [^\n]*damaged[^\n]*\.$"):
        judged(config("cifar10", root, verify=verify))
    assert {path.name for path in root.iterdir()} <= {cifar10.archive.name, ".download.lock"}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("place", ["cifar-10-batches-py/", "./cifar-10-batches-py/", "", "data/cifar10/"])
def test_an_archive_packed_again_is_judged_by_its_files(tmp_path, cifar10, no_network, mode, place):
    again = {f"{place}{name}": content for name, content in reversed(cifar10.files.items())}
    again |= {f"{place}._data_batch_1": b"of a Mac", f"{place}readme.html": b"<html>"}
    (tmp_path / cifar10.archive.name).write_bytes(packed(again, mode))
    assert len(load(config("cifar10", tmp_path)).train_y) == 50
    assert {path.name for path in (tmp_path / cifar10.folder).iterdir()} == cifar10.files.keys()


def test_of_files_of_one_name_in_an_archive_the_published_one_is_taken(tmp_path, cifar10, no_network):
    again = {f"older/{name}": b"something else" for name in cifar10.files} | cifar10.in_folder(cifar10.files)
    (tmp_path / cifar10.archive.name).write_bytes(packed(again))
    assert len(load(config("cifar10", tmp_path)).train_y) == 50


def test_what_an_archive_lacks_is_named(tmp_path, cifar10, no_network):
    files = {name: content for name, content in cifar10.files.items() if name not in ("data_batch_3", "test_batch")}
    (tmp_path / cifar10.archive.name).write_bytes(packed(cifar10.in_folder(files)))
    for verify in (True, False):
        with pytest.raises(UserError, match=r"cifar-10-python\.tar\.gz lacks data_batch_3 and test_batch; put"):
            load(config("cifar10", tmp_path, verify=verify))


def test_what_a_folder_lacks_is_named(tmp_path, cifar10):
    cifar10.put_into(tmp_path)
    cifar10.archive.unlink()
    (tmp_path / cifar10.folder / "data_batch_2").unlink()
    with pytest.raises(UserError, match=r"data_batch_2 of cifar10 is not there and cannot be downloaded"):
        load(config("cifar10", tmp_path))


def test_a_folder_that_lacks_a_file_is_filled_up(tmp_path, cifar10):
    cifar10.put_into(tmp_path)
    (tmp_path / cifar10.folder / "data_batch_2").unlink()
    assert len(load(config("cifar10", tmp_path)).train_y) == 50


def others(cifar10, names=("data_batch_1", "test_batch"), **changes):
    """Someone's own files in place of some: with other images, and changes of the batch."""
    made = {}
    for name in names:
        batch = pickle.loads(cifar10.files[name])
        batch = {"data": 255 - batch["data"], "labels": batch["labels"]} | changes
        made[name] = pickle.dumps({key: value for key, value in batch.items() if value is not None})
    return made


def test_files_that_are_not_as_published_are_refused_before_anything_is_read(tmp_path, cifar10, no_network):
    cifar10.put_into(tmp_path, **others(cifar10))
    says = (
        r"cifar-10-batches-py/data_batch_1 and cifar-10-batches-py/test_batch are damaged or changed \(by checksum not "
        r"what cifar10 published\); .* dataset\.verify=false takes the files as they are\.$"
    )
    for judged in (refuse_foreign, load):
        with pytest.raises(UserError, match=says):
            judged(config("cifar10", tmp_path), True)


def test_an_archive_of_other_files_is_refused_and_nothing_of_it_taken(tmp_path, cifar10, no_network):
    changed = cifar10.in_folder(cifar10.files | others(cifar10))
    (tmp_path / cifar10.archive.name).write_bytes(packed(changed))
    says = (
        r"tar\.gz is not as published: data_batch_1 and test_batch in it are damaged or changed.* dataset\.verify=false"
    )
    for judged in (refuse_foreign, load):
        with pytest.raises(UserError, match=says):
            judged(config("cifar10", tmp_path), True)
    assert not (tmp_path / cifar10.folder).exists()


@pytest.mark.parametrize("archived", [True, False])
def test_without_verify_other_files_are_taken_warned_of_and_named_by_content(tmp_path, cifar10, no_network, archived):
    theirs = others(cifar10)
    if archived:
        (tmp_path / cifar10.archive.name).write_bytes(packed(cifar10.in_folder(cifar10.files | theirs)))
    else:
        cifar10.put_into(tmp_path, **theirs)
    refuse_foreign(config("cifar10", tmp_path, verify=False), True)
    content = files_checksum(config("cifar10", tmp_path, verify=False), True)
    cfg = config("cifar10", tmp_path, verify=False, files_checksum=content)
    ours = pickle.loads(cifar10.files["data_batch_1"])["data"].reshape(-1, 3, 32, 32)
    np.testing.assert_array_equal(load(cfg).train_x[:10], 255 - ours)
    (sentence,) = remarks(cfg, True)
    assert sentence.startswith(f"data_batch_1 and test_batch in dataset.root={tmp_path} are not as cifar10 published")
    assert content in sentence
    (tmp_path / cifar10.folder / "test_batch").write_bytes(cifar10.files["test_batch"])
    assert files_checksum(cfg, True) not in ("", content)
    with pytest.raises(UserError, match="have changed since this run was named after them"):
        load(cfg)


def test_without_verify_published_files_are_what_they_always_were(tmp_path, cifar10):
    cfg = config("cifar10", tmp_path, verify=False)
    assert files_checksum(cfg, True) == ""  # nothing is there yet, and what is downloaded is as published
    assert len(load(cfg).train_y) == 50
    assert files_checksum(cfg, True) == ""
    assert remarks(cfg, True) == []


def test_nothing_is_downloaded_to_files_of_someones_own(tmp_path, cifar10, no_network):
    cifar10.put_into(tmp_path, **others(cifar10))
    (tmp_path / cifar10.folder / "data_batch_5").unlink()
    for judged in (files_checksum, load):
        with pytest.raises(
            UserError, match="data_batch_5 of cifar10 is missing beside files that are not the published"
        ):
            judged(config("cifar10", tmp_path, verify=False), True)


class Payload:
    def __reduce__(self):
        return print, ("called",)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"data": None}, "its dict has no data"),
        ({"labels": None}, "its dict has no labels"),
        ({"data": np.zeros((10, 3072), np.float32)}, r"float32 of shape \[10, 3072\], and would be uint8"),
        (
            {"data": np.zeros((10, 32, 32, 3), np.uint8)},
            r"uint8 of shape \[10, 32, 32, 3\], and would be uint8 of shape",
        ),
        ({"data": np.zeros((10, 1024), np.uint8)}, r"of shape \[10, 1024\]"),
        ({"data": [[1, 2], [3]]}, "its data are no array"),
        ({"labels": [0] * 9}, "it has 9 labels for 10 images"),
        ({"labels": [0] * 9 + [10]}, "the label of image 9 is 10, and would be 0 to 9"),
        ({"labels": [0] * 9 + [-1]}, "the label of image 9 is -1, and would be 0 to 9"),
        ({"labels": ["cat"] * 10}, "its labels are <U3 of shape"),
        ({"labels": [0.5] * 10}, "its labels are float64"),
        ({"labels": Payload()}, "cannot be unpickled .*asks for builtins.print"),
    ],
)
def test_what_is_no_batch_of_cifar_is_one_sentence(tmp_path, capsys, cifar10, changes, says):
    cifar10.put_into(tmp_path, **others(cifar10, ["data_batch_4"], **changes))
    content = files_checksum(config("cifar10", tmp_path, verify=False), True)
    with pytest.raises(UserError, match=rf"^[^\n]*data_batch_4 [^\n]*{says}[^\n]*$"):
        load(config("cifar10", tmp_path, verify=False, files_checksum=content))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [b"", b"no pickle", b"\x80\x04]\x94.", b"\x80\x04}\x94(K"])
def test_a_file_that_is_no_pickle_is_one_sentence(tmp_path, cifar10, content):
    cifar10.put_into(tmp_path, test_batch=content)
    named = files_checksum(config("cifar10", tmp_path, verify=False), True)
    with pytest.raises(UserError, match=r"test_batch (is no batch of CIFAR|cannot be used)[^\n]*$"):
        load(config("cifar10", tmp_path, verify=False, files_checksum=named))


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("keys", [str, str.encode])
def test_batches_pickled_by_any_version_are_read(tmp_path, cifar10, protocol, keys):
    batch = pickle.loads(cifar10.files["test_batch"])
    labels = np.array(batch["labels"], np.int16)
    again = pickle.dumps({keys("data"): batch["data"].reshape(-1, 3, 32, 32), keys("labels"): labels}, protocol)
    cifar10.put_into(tmp_path, test_batch=again)
    content = files_checksum(config("cifar10", tmp_path, verify=False), True)
    arrays = load(config("cifar10", tmp_path, verify=False, files_checksum=content))
    assert arrays.test_x.reshape(-1, 3072).tolist() == batch["data"].tolist()
    assert arrays.test_y.tolist() == batch["labels"]


@pytest.mark.filterwarnings("error")
def test_batches_of_the_numpy_of_python_2_are_read(tmp_path, cifar10):
    old = cifar10.files["test_batch"].replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    assert old != cifar10.files["test_batch"]
    cifar10.put_into(tmp_path, test_batch=old)
    content = files_checksum(config("cifar10", tmp_path, verify=False), True)
    assert len(load(config("cifar10", tmp_path, verify=False, files_checksum=content)).test_y) == 10


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"train_X.bin": bytes(27648 * 20 - 1)}, "train_X.bin cannot be used: 552959 bytes are no whole images"),
        ({"test_X.bin": b""}, "test_X.bin cannot be used: 0 bytes are no whole images"),
        ({"train_y.bin": bytes(20)}, "train_y.bin cannot be used: the label of image 0 is 0, and would be 1 to 10"),
        ({"test_y.bin": bytes([11]) * 10}, "test_y.bin cannot be used: the label of image 0 is 11, and would be 1 to"),
        ({"test_y.bin": bytes([1]) * 9}, "test_y.bin cannot be used: it has 9 labels for 10 images"),
    ],
)
def test_what_is_not_stl10_in_form_is_one_sentence(tmp_path, stl10, changed, says):
    stl10.put_into(tmp_path, **changed)
    content = files_checksum(config("stl10", tmp_path, verify=False), True)
    with pytest.raises(UserError, match=says):
        load(config("stl10", tmp_path, verify=False, files_checksum=content))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it is no idx file of uint8 in 1 dimensions"),
        (idx(np.zeros((10, 1))), "it is no idx file of uint8 in 1 dimensions"),
        (bytes([0, 0, 13, 1]) + bytes(44), "it is no idx file of uint8"),
        (idx(np.arange(10))[:-1], r"its 17 bytes are not of the shape \[10\]"),
        (idx(np.arange(10))[:6], "it is no idx file of uint8"),
        (idx(np.arange(11)), "has 11 labels for 10 images"),
        (idx(np.arange(1, 11)), "the label of image 9 is 10, and would be 0 to 9"),
    ],
)
def test_what_is_not_fashion_mnist_in_form_is_one_sentence(tmp_path, fashion, content, says):
    for name, theirs in (fashion | {"t10k-labels-idx1-ubyte": content}).items():
        (tmp_path / name).write_bytes(theirs)
    named = files_checksum(config("fashion_mnist", tmp_path, verify=False), True)
    with pytest.raises(UserError, match=rf"t10k-labels-idx1-ubyte cannot be used: .*{says}"):
        load(config("fashion_mnist", tmp_path, verify=False, files_checksum=named))


def test_supervised_stl10_needs_no_unlabeled_images(tmp_path, stl10, no_network):
    files = {name: content for name, content in stl10.files.items() if name != "unlabeled_X.bin"}
    (tmp_path / stl10.archive.name).write_bytes(packed(stl10.in_folder(files)))
    arrays = load(config("stl10", tmp_path), unlabeled=False)
    assert arrays.unlabeled_x is None
    assert len(arrays.train_y) == 20
    with pytest.raises(UserError, match=r"stl10_binary\.tar\.gz lacks unlabeled_X\.bin"):
        load(config("stl10", tmp_path))


def test_a_download_for_supervised_stl10_keeps_the_unlabeled_images_for_others(tmp_path, stl10):
    load(config("stl10", tmp_path / "data"), unlabeled=False)
    assert (tmp_path / "data" / stl10.folder / "unlabeled_X.bin").is_file()


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
