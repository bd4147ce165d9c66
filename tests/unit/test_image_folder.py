"""Data sets as folders of image files."""

import os

import numpy as np
import pytest

from daso.data.images import index_of
from daso.data.images.folder import read
from daso.errors import UserError
from tests import pictures


@pytest.fixture
def root(tmp_path):
    """Three labeled cats, five dogs, two hens; unlabeled and test images."""
    pictures.folder(tmp_path, train={"cat": 3, "dog": 5, "hen": 2}, test={"cat": 1, "dog": 1, "hen": 1})
    return pictures.write(tmp_path, "unlabeled/a.png", "unlabeled/deep/down/b.png")


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_every_image_is_found_and_called_by_its_folder(root):
    index = index_of(read(root))
    labeled = [index.paths[row] for row in index.rows("labeled")]
    assert labeled == sorted(path.relative_to(root).as_posix() for path in root.glob("train/*/*.png"))
    assert [index.names[k] for k in index.labels_of("labeled")] == [path.split("/")[1] for path in labeled]
    assert {index.paths[row] for row in index.rows("unlabeled")} == {"unlabeled/a.png", "unlabeled/deep/down/b.png"}
    assert len(index.rows("test")) == 3


def test_class_0_has_most_labeled_images(root):
    index = index_of(read(root))
    assert index.names == ("dog", "cat", "hen")
    assert index.counts("labeled").tolist() == [5, 3, 2]


def test_classes_of_equal_size_are_in_the_order_of_their_names(tmp_path):
    pictures.folder(tmp_path, train={"b": 2, "c": 3, "a": 2}, test={"a": 1, "b": 1, "c": 1})
    assert index_of(read(tmp_path)).names == ("c", "a", "b")


def test_classes_of_equal_size_that_are_numbers_are_in_the_order_of_their_numbers(tmp_path):
    pictures.folder(tmp_path, train={"10": 2, "9": 2, "11": 2}, test={"9": 1})
    assert index_of(read(tmp_path)).names == ("9", "10", "11")


def test_the_order_of_the_disk_plays_no_part(root, monkeypatch):
    before = index_of(read(root))
    scan = os.scandir

    class Reversed:
        def __init__(self, path):
            with scan(path) as found:
                self.found = sorted(found, key=lambda entry: entry.name, reverse=True)

        def __enter__(self):
            return iter(self.found)

        def __exit__(self, *_): ...

    monkeypatch.setattr(os, "scandir", Reversed)
    assert index_of(read(root)).paths == before.paths


def test_sets_may_be_called_otherwise(root):
    os.rename(root / "train", root / "labeled")
    pictures.folder(root, val={"cat": 1, "hen": 1})
    index = index_of(read(root))
    assert len(index.rows("labeled")) == 10
    assert len(index.rows("valid")) == 2


def test_unlabeled_folders_called_like_classes_tell_the_truth(root):
    for path in (root / "unlabeled").rglob("*.png"):
        path.unlink()
    (root / "unlabeled/deep/down").rmdir()
    (root / "unlabeled/deep").rmdir()
    pictures.folder(root, unlabeled={"cat": 2, "hen": 1, "out": 2, "unknown": 1})
    index = index_of(read(root))
    named = {"cat": 1, "hen": 2, "out": -2, "unknown": -1}
    assert index.truth.tolist() == [named[index.paths[row].split("/")[1]] for row in index.rows("unlabeled")]
    assert set(index.labels_of("unlabeled").tolist()) == {-1}


def test_other_unlabeled_folders_tell_nothing(root):
    pictures.folder(root, unlabeled={"cat": 2})
    index = index_of(read(root))
    assert index.truth.tolist() == [-1] * 4
    assert any("deep would have to be a class" in note for note in index.notes)


def test_a_row_number_tells_nothing_about_the_class_of_an_unlabeled_image(tmp_path):
    pictures.folder(tmp_path, train={"a": 1, "b": 1}, test={"a": 1, "b": 1}, unlabeled={"a": 20, "b": 20})
    truth = index_of(read(tmp_path)).truth
    assert (np.diff(truth) != 0).sum() > 5


def test_links_are_followed(root, tmp_path_factory):
    elsewhere = pictures.write(tmp_path_factory.mktemp("elsewhere"), "x.png", "y.png")
    (root / "train/hen/more").symlink_to(elsewhere)
    assert index_of(read(root)).counts("labeled").tolist() == [5, 4, 3]


def test_a_link_in_a_circle_is_named(root):
    (root / "train/hen/more").symlink_to(root / "train")
    with pytest.raises(UserError, match=r"train/hen/more/.* is not possible: this link leads back"):
        read(root)


def test_what_is_left_out_is_counted_by_ending(root):
    for name in ("notes.txt", "Thumbs.db", "cat.TXT", ".hidden.png"):
        touch(root / "train/cat" / name)
    assert index_of(read(root)).notes == (f"4 files of other kinds in {root} left out: 2 .txt, 1 .db, 1 hidden.",)


def test_hidden_folders_are_no_classes(root):
    pictures.write(root, "train/.cache/x.png", ".daso/y.png")
    assert len(index_of(read(root)).rows("labeled")) == 10


def test_endings_may_be_in_capitals(root):
    pictures.write(root, "train/hen/x.JPG")
    assert index_of(read(root)).counts("labeled").tolist() == [5, 3, 3]


def test_the_validation_set_serves_where_there_is_no_test_set(root):
    os.rename(root / "test", root / "valid")
    index = index_of(read(root))
    assert (len(index.rows("valid")), len(index.rows("test"))) == (0, 3)
    assert "There is no test set: the images of the validation set serve as one." in index.notes


def test_an_image_that_is_unlabeled_as_well_is_counted(root):
    os.link(root / "train/cat/0.png", root / "unlabeled/c.png")
    assert "1 image of the unlabeled set stands in the labeled set as well." in index_of(read(root)).notes


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda root: os.rename(root / "train", root / "images"), "it has no folder train (or labeled)"),
        (lambda root: touch(root / "labeled/cat/x.png"), "labeled and train are names of one set"),
        (lambda root: (root / "train/cow").mkdir(), "train/cow is not possible: it holds no image"),
        (lambda root: touch(root / "test/cow/x.png"), "test/cow is not possible: there are no labeled images of class "
         "cow, only of cat, dog, hen"),
        (lambda root: touch(root / "test/Hens/x.png"), "no labeled images of class Hens (did you mean hen?), only of"),
        (lambda root: (root / "valid").mkdir(), "valid is not possible: it holds no folder"),
        (lambda root: os.rename(root / "test", root / "elsewhere"), "there is neither a test nor a validation set"),
        (lambda root: os.link(root / "train/cat/0.png", root / "test/cat/x.png"), "test/cat/x.png is not possible: it "
         "is the labeled image train/cat/0.png as well"),
        (lambda root: os.link(root / "train/cat/0.png", root / "train/dog/x.png"), "with class cat there and dog here"),
        (lambda root: (root / "train/cat/x.png").symlink_to("gone.png"), "train/cat/x.png is not possible: it is not "
         "there (No such file or directory)"),
    ],
)  # fmt: skip
def test_a_folder_that_cannot_be_used_ends_in_one_sentence(root, spoil, says):
    spoil(root)
    with pytest.raises(UserError) as caught:
        index_of(read(root))
    assert says in str(caught.value)
    assert str(root) in str(caught.value)
    assert str(caught.value).count(". ") == 0


def test_a_data_set_of_one_class_is_refused(tmp_path):
    pictures.folder(tmp_path, train={"cat": 2}, test={"cat": 1})
    with pytest.raises(UserError, match="all its images are of class cat"):
        index_of(read(tmp_path))


def test_the_checksum_knows_images_sizes_and_labels_and_no_place(root, tmp_path_factory):
    before = index_of(read(root)).checksum
    moved = tmp_path_factory.mktemp("moved") / "there"
    os.rename(root, moved)
    assert index_of(read(moved)).checksum == before
    os.rename(moved / "train/cat/0.png", moved / "train/hen/7.png")
    relabeled = index_of(read(moved)).checksum
    pictures.write(moved, "train/hen/7.png", width=20)
    assert len({before, relabeled, index_of(read(moved)).checksum}) == 3


def test_the_truth_of_unlabeled_images_is_no_part_of_the_checksum(root):
    one = index_of(read(root))
    assert type(one)(**{**vars(one), "truth": one.truth + 1}).checksum == one.checksum
