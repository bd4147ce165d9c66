"""The index that is kept beside the images, and the census of a run."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from daso.data.images.cache import index_at
from daso.data.images.census import Census
from daso.data.images.folder import read
from tests import pictures


@pytest.fixture
def root(tmp_path):
    pictures.folder(tmp_path / "photos", train={"cat": 3, "dog": 2}, test={"cat": 1}, unlabeled={"dog": 2, "out": 1})
    age(tmp_path / "photos")
    return tmp_path / "photos"


def age(root):
    """As if nobody had touched the folders for an hour."""
    for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
        os.utime(folder, (0, folder.stat().st_mtime - 3600))


def never():
    raise AssertionError("the files were looked at again")


def kept_at(*given, **options):
    index, keep = index_at(*given, **options)
    keep()
    return index


def same(one, other):
    arrays = ("labels", "bytes", "truth")
    plain = {name for name in vars(one) if name not in arrays}
    return all(getattr(one, name) == getattr(other, name) for name in plain) and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays
    )


def test_a_second_start_finds_the_index_without_looking_at_the_files(root, tmp_path):
    first = kept_at(tmp_path / "kept", "folder", lambda: read(root))
    assert same(kept_at(tmp_path / "kept", "folder", never), first)


def test_who_only_looks_at_the_images_leaves_nothing(root, tmp_path):
    index_at(tmp_path / "kept", "folder", lambda: read(root))
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("change", ["add", "remove", "replace by renaming"])
def test_a_folder_that_has_changed_is_read_again(root, tmp_path, change):
    kept_at(tmp_path / "kept", "folder", lambda: read(root))
    if change == "add":
        pictures.write(root, "train/dog/x.png")
    elif change == "remove":
        (root / "train/dog/1.png").unlink()
    else:
        pictures.write(tmp_path, "y.png", width=25)
        os.replace(tmp_path / "y.png", root / "train/dog/1.png")
    again = kept_at(tmp_path / "kept", "folder", lambda: read(root))
    assert same(again, kept_at(tmp_path / "fresh", "folder", lambda: read(root)))


def test_a_folder_that_changed_while_it_was_read_is_read_again(root, tmp_path):
    os.utime(root / "train/cat")
    kept_at(tmp_path / "kept", "folder", lambda: read(root))
    with pytest.raises(AssertionError, match="looked at again"):
        kept_at(tmp_path / "kept", "folder", never)


def test_one_may_ask_to_look_again(root, tmp_path):
    kept_at(tmp_path / "kept", "folder", lambda: read(root))
    with pytest.raises(AssertionError, match="looked at again"):
        kept_at(tmp_path / "kept", "folder", never, rescan=True)


def test_other_options_have_an_index_of_their_own(root, tmp_path):
    kept_at(tmp_path / "kept", "folder", lambda: read(root))
    with pytest.raises(AssertionError, match="looked at again"):
        kept_at(tmp_path / "kept", "csv", never)


@pytest.mark.parametrize("damage", ["index", "truth"])
def test_a_damaged_index_is_made_anew(root, tmp_path, damage):
    first = kept_at(tmp_path / "kept", "folder", lambda: read(root))
    (path,) = (tmp_path / "kept").glob("*.npz" if damage == "index" else "*.truth.npy")
    path.write_bytes(path.read_bytes()[:-20])
    assert same(kept_at(tmp_path / "kept", "folder", lambda: read(root)), first)


def test_the_truth_of_unlabeled_images_stands_in_a_file_of_its_own(root, tmp_path):
    kept_at(tmp_path / "kept", "folder", lambda: read(root))
    (index,), (truth,) = ((tmp_path / "kept").glob(pattern) for pattern in ("*.npz", "*.truth.npy"))
    with np.load(index) as kept:
        assert "truth" not in kept
        assert kept["labels"][5:8].tolist() == [-1, -1, -1]
    assert sorted(np.load(truth).tolist()) == [-2, 1, 1]


def test_where_nothing_can_be_kept_the_index_is_made_each_time(root, tmp_path):
    (tmp_path / "file").touch()
    assert len(kept_at(tmp_path / "file", "folder", lambda: read(root)).rows("labeled")) == 5


def census(labeled, valid=(0, 0, 0), test=(5, 5, 5), truth=()):
    names = ("t-shirt", "hat", "skirt")
    return Census(names, ("2", "0", "1"), *(np.array(v, dtype=np.int64) for v in (labeled, valid, test, truth)))


def test_the_census_names_the_largest_the_middle_and_the_smallest_class():
    assert census([1000, 30, 8]).lines() == [
        "3 classes, labeled images 1,000 t-shirt (most), 30 hat (median), 8 skirt (fewest): imbalance 125",
        "images: labeled 1,038, test 15",
    ]


def test_the_census_of_equal_classes_names_none():
    assert census([20, 20, 20]).lines()[0] == "3 classes, labeled images 20 of each class"


def test_the_census_counts_unlabeled_images_by_what_is_known_of_them():
    lines = census([9, 8, 7], truth=[0, 0, 1, -1, -2, -2]).lines()
    assert lines[1] == "images: labeled 24, unlabeled 6 (3 of a known class, 2 of none, 1 unknown), test 15"


def test_sizes_that_a_header_has_are_not_said_twice():
    assert not any(line.startswith("images: ") for line in census([9, 8, 7], truth=[0, 0, 1]).lines(headed=True))
    assert census([9, 8, 7], truth=[0, -2]).lines(headed=True)[1].startswith("images: labeled 24, unlabeled 2 (1 of a")


def test_the_census_names_small_classes_and_those_that_are_missing():
    lines = census([9, 4, 1], valid=[3, 0, 1], test=[4, 4, 0]).lines()
    assert "below 5 labeled images: hat, skirt" in lines
    assert "no validation image, so no recall: hat" in lines
    assert "no test image, so no recall: skirt" in lines


def test_the_census_says_that_top1_of_an_unbalanced_test_set_misleads():
    assert census([9, 8, 7], test=[81, 40, 12]).lines()[-1] == (
        "the test set is not balanced (81 to 12 images a class): bacc is the number to read"
    )


def test_classes_are_told_in_a_table_with_the_names_that_the_files_give_them():
    rows = list(csv.DictReader(census([9, 8, 7], valid=[1, 2, 3], truth=[1, 1, -2]).csv().splitlines()))
    assert [row["original"] for row in rows] == ["2", "0", "1"]
    assert rows[1] == {
        "class": "1", "name": "hat", "original": "0", "labeled": "8", "valid": "2", "test": "5", "unlabeled_known": "2",
    }  # fmt: skip


def test_unlabeled_images_of_unknown_truth_have_no_column():
    assert "unlabeled_known" not in census([9, 8, 7], truth=[-1, -1]).csv()


def test_a_path_may_hold_anything_that_a_file_system_allows(tmp_path):
    strange = "caf\u00e9 \n \udcff,;\t'\".png"
    root = pictures.folder(tmp_path / "photos", train={"a": 1, "b": 1}, test={"a": 1})
    Path(root, "train/a/0.png").rename(Path(root, "train/a", strange))
    age(root)
    first = kept_at(tmp_path / "kept", "folder", lambda: read(root))
    assert f"train/a/{strange}" in kept_at(tmp_path / "kept", "folder", never).paths
    assert first.checksum == kept_at(tmp_path / "kept", "folder", never).checksum
