"""Readers and downloads, on small files in the genuine formats; their checksums stand in for the published ones."""

import gzip
import pickle
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torchvision.datasets as tv
import torchvision.datasets.utils as tv_utils
from sklearn.datasets import load_digits

from daso.data.sources import SOURCES, load, obtain, refuse_foreign, to_download
from daso.errors import UserError
from tests.published import FASHION_FILES, config, idx, images, md5, packed, publish_fashion

DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def recorded_fashion_labels():
    with np.load(Path(__file__).parents[1] / "golden" / "splits.npz") as recorded:
        return recorded["fmnist_labels"]


def test_addresses_names_and_checksums_are_torchvisions():
    for name, theirs in (("cifar10", tv.CIFAR10), ("cifar100", tv.CIFAR100), ("stl10", tv.STL10)):
        ours = SOURCES[name]
        assert (ours.url, ours.name, ours.md5) == (theirs.url, theirs.filename, theirs.tgz_md5)
        assert ours.folder == theirs.base_folder
        assert list(ours.files.items()) == [tuple(file) for file in theirs.train_list + theirs.test_list]
    fashion = SOURCES["fashion_mnist"]
    assert fashion.url in tv.FashionMNIST.mirrors
    assert {f"{name}.gz": md5 for name, md5 in fashion.packed.items()} == dict(tv.FashionMNIST.resources)


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


@pytest.mark.parametrize("look", [load, obtain, refuse_foreign, to_download])
def test_nothing_is_downloaded_into_folders_of_images(tmp_path, no_network, look):
    (tmp_path / "labeled/cat").mkdir(parents=True)
    with pytest.raises(UserError, match="which holds labeled/<class>/: did you mean dataset=folder"):
        look(config("cifar10", tmp_path), True)
    assert [path.name for path in tmp_path.iterdir()] == ["labeled"]


def test_a_data_set_may_lie_beside_folders_of_images(tmp_path, cifar10, no_network):
    (tmp_path / "train/cat").mkdir(parents=True)
    cifar10.put_into(tmp_path)
    assert len(load(config("cifar10", tmp_path)).train_y) > 0


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


def test_without_a_network_a_sentence_says_so_and_names_the_command(tmp_path, monkeypatch):
    def unreachable(*arguments):
        raise URLError(socket.gaierror(-2, "Name or service not known"))

    monkeypatch.setattr(tv_utils, "download_url", unreachable)
    with pytest.raises(UserError) as caught:
        load(config("cifar10", tmp_path / "my data"))
    message = str(caught.value)
    assert "cannot be downloaded (this machine has no network, or finds no such server); " in message
    assert f"python -m daso.data fetch cifar10 --root '{tmp_path}/my data' brings it on a machine with" in message


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
