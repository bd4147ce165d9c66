"""Archives and files that someone else packed, changed or damaged: judged by content, refused in a sentence, or taken."""

import pickle
from functools import partial

import numpy as np
import pytest

from daso.data.sources import files_checksum, load, refuse_foreign, remarks
from daso.errors import UserError
from tests.published import config, idx, packed


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
