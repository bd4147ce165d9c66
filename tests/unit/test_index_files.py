"""Runs on index files that another program wrote."""

import hashlib
import json

import numpy as np
import pytest

from daso.data.index_files import remarks
from daso.data.sources import load
from daso.errors import UserError
from daso.run.build import data_of
from daso.settings.compose import configuration
from daso.splits import main

DIGITS = ("dataset=digits", "imbalance=digits_n20_m100_g10_uniform", "algorithm=fixmatch")


def write(folder, **rows):
    folder.mkdir(parents=True, exist_ok=True)
    for name, numbers in rows.items():
        (folder / f"{name}.txt").write_text("\n".join(map(str, numbers)) + "\n")
    return f"dataset.splits={folder}"


def rows_of(labels, start, sizes):
    """The rows from number `start` on of each class, as many as `sizes` says."""
    return [int(row) for k, n in enumerate(sizes) for row in np.flatnonzero(labels == k)[start : start + n]]


@pytest.fixture(scope="module")
def labels():
    return np.asarray(load(configuration(DIGITS).dataset).train_y)


@pytest.fixture
def theirs(tmp_path, labels):
    """Someone's split: ten labeled and thirty unlabeled images of each class, in an order of their own."""
    labeled, unlabeled = rows_of(labels, 0, [10] * 10)[::-1], rows_of(labels, 10, [30] * 10)
    return write(tmp_path / "theirs", labeled=labeled, unlabeled=unlabeled), labeled, unlabeled


def test_a_run_trains_on_the_rows_in_the_files_in_their_order(theirs):
    splits, labeled, unlabeled = theirs
    _, split = data_of(configuration([*DIGITS, splits]))
    assert split.labeled.tolist() == labeled
    assert split.unlabeled.tolist() == unlabeled
    assert split.valid.size == 0


def test_a_learner_of_labeled_images_leaves_the_others_alone(theirs):
    splits, labeled, _ = theirs
    _, split = data_of(configuration([*DIGITS[:2], "algorithm=supervised", splits]))
    assert split.labeled.tolist() == labeled
    assert split.unlabeled.size == 0


def test_exported_files_give_back_the_split_of_every_seed(tmp_path):
    setting = (*DIGITS, "dataset.num_valid=40", "imb.m1=90")
    assert main([*setting, "seed=0,3", f"out={tmp_path}"]) == 0
    for seed in (0, 3):
        _, own = data_of(configuration([*setting, f"seed={seed}"]))
        _, again = data_of(configuration([*setting, f"seed={seed}", f"dataset.splits={tmp_path}"]))
        assert all(np.array_equal(a, b) for a, b in zip(own, again, strict=True))


def test_the_files_may_lie_in_the_folder_or_in_one_of_their_seed(tmp_path, theirs, labels):
    splits, labeled, unlabeled = theirs
    of_seed = write(tmp_path / "many" / "seed2", labeled=labeled, unlabeled=unlabeled)
    keys = [configuration([*DIGITS, "seed=2", place]).run_key for place in (splits, of_seed, of_seed[: -len("/seed2")])]
    assert len(set(keys)) == 1


def test_the_rows_and_not_the_place_decide_the_run(tmp_path, theirs):
    splits, labeled, unlabeled = theirs
    moved = write(tmp_path / "moved", labeled=labeled, unlabeled=unlabeled)
    other = write(tmp_path / "other", labeled=labeled[::-1], unlabeled=unlabeled)
    keys = [configuration([*DIGITS, *place]).run_key for place in ([splits], [moved], [other], [])]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"labeled": [1, 2, "three"]}, "labeled.txt is not possible: three is no row number"),
        ({"labeled": [1, -2]}, "labeled.txt is not possible: -2 is no row number"),
        ({"unlabeled": [7, 8, 7]}, "unlabeled.txt is not possible: row 7 stands in it twice"),
        ({"valid": [4, 5, 6]}, "dataset.num_valid=0 is not possible: the validation set is the 3 rows"),
        ({"labeled": [5000]}, "labeled.txt holds row 5000, and digits ends with row 1296"),
        ({"labeled": [0, 1, 2]}, "labeled.txt holds no image of class"),
        ({"unlabeled": []}, "algorithm=fixmatch needs unlabeled images, and unlabeled.txt holds none"),
    ],
)
def test_files_that_cannot_be_used_end_in_one_sentence(tmp_path, theirs, changes, says):
    write(tmp_path / "theirs", **changes)
    with pytest.raises(UserError, match=says):
        data_of(configuration([*DIGITS, theirs[0]]))


@pytest.mark.parametrize("part", ["labeled", "unlabeled", "valid"])
def test_a_second_column_that_is_the_true_labels_changes_nothing(tmp_path, theirs, labels, part):
    splits, labeled, unlabeled = theirs
    parts = {"labeled": labeled, "unlabeled": unlabeled, "valid": rows_of(labels, 40, [1] * 10)}
    write(tmp_path / "theirs", **parts)
    setting = [*DIGITS, splits, "dataset.num_valid=10"]
    plain = configuration(setting).run_key
    write(tmp_path / "theirs", **{part: [f"{row} {labels[row]}" for row in parts[part]]})
    config = configuration(setting)
    assert config.run_key == plain
    assert getattr(data_of(config)[1], part).tolist() == parts[part]


def test_a_second_column_may_say_that_nobody_knows_the_unlabeled_classes(tmp_path, theirs):
    splits, _, unlabeled = theirs
    write(tmp_path / "theirs", unlabeled=[f"{row},-1" for row in unlabeled])
    assert data_of(configuration([*DIGITS, splits]))[1].unlabeled.tolist() == unlabeled


@pytest.mark.parametrize(
    ("part", "said"), [("labeled", 1), ("labeled", -1), ("unlabeled", 1)], ids=["shifted", "none", "noise"]
)
def test_a_second_column_that_is_something_else_is_refused_by_line(tmp_path, theirs, labels, part, said):
    splits, labeled, unlabeled = theirs
    rows = {"labeled": labeled, "unlabeled": unlabeled}[part]
    lines = [f"{row} {labels[row]}" for row in rows]
    wrong = (labels[rows[4]] + said) % 10 if said > 0 else said
    lines[4] = f"{rows[4]} {wrong}"
    write(tmp_path / "theirs", **{part: lines})
    says = f"line 5 of {part}.txt says class {wrong} of row {rows[4]} of digits, which is of class {labels[rows[4]]}"
    with pytest.raises(UserError, match=says):
        data_of(configuration([*DIGITS, splits]))


def test_a_row_that_the_data_set_does_not_have_is_named_by_line(tmp_path, theirs):
    splits, _, _ = theirs
    write(tmp_path / "theirs", unlabeled=[3, 1297, 5])
    with pytest.raises(UserError, match=r"line 2 of unlabeled\.txt holds row 1297, and digits ends with row 1296"):
        data_of(configuration([*DIGITS, splits]))


def test_a_validation_image_is_never_trained_on(tmp_path, theirs):
    splits, labeled, _ = theirs
    write(tmp_path / "theirs", valid=labeled[:10])
    with pytest.raises(
        UserError, match=rf"row {min(labeled[:10])} stands in labeled.txt and in valid.txt .*line \d+ of valid.txt"
    ):
        configuration([*DIGITS, splits, "dataset.num_valid=10"])


def test_files_of_another_data_set_are_refused(tmp_path, theirs):
    (tmp_path / "theirs" / "manifest.json").write_text(json.dumps({"dataset": "cifar10"}))
    with pytest.raises(UserError, match="its rows are those of dataset=cifar10"):
        configuration([*DIGITS, theirs[0]])


@pytest.mark.parametrize("name", ["DIGITS", "Digits", "digits", None])
def test_a_manifest_may_spell_the_data_set_as_others_do_or_say_nothing(tmp_path, theirs, name):
    manifest = {"dataset": name, "sha256": None, "seed": "none", "made by": ["another program"]}
    (tmp_path / "theirs" / "manifest.json").write_text(json.dumps(manifest))
    assert configuration([*DIGITS, theirs[0]]).dataset.splits_checksum


def test_a_checksum_that_a_manifest_does_not_know_is_not_compared(tmp_path, theirs):
    known = hashlib.sha256((tmp_path / "theirs" / "labeled.txt").read_bytes()).hexdigest().upper()
    sums = {"labeled.txt": known, "unlabeled.txt": None}
    (tmp_path / "theirs" / "manifest.json").write_text(json.dumps({"sha256": sums}))
    assert configuration([*DIGITS, theirs[0]]).dataset.splits_checksum
    (tmp_path / "theirs" / "labeled.txt").write_text("1\n")
    with pytest.raises(UserError, match=r"labeled\.txt is missing or damaged"):
        configuration([*DIGITS, theirs[0]])


@pytest.mark.parametrize(
    ("manifest", "says"),
    [
        ([], "it holds no JSON object"),
        (None, "it holds no JSON object"),
        ({"sha256": []}, r"sha256 is \[\], and would be an object of file names"),
        ({"sha256": "0" * 64}, 'sha256 is "0+\\.\\.\\., and would be an object of file names'),
        ({"sha256": {"labeled.txt": 1}}, r'sha256 is {"labeled.txt": 1}, and would be'),
        ({"sha256": {"labeled.txt": "abc"}}, r'sha256 is {"labeled.txt": "abc"}, and would be'),
        ({"sha256": {"../labeled.txt": "0" * 64}}, r"sha256 is .*, and would be"),
        ({"dataset": ["digits"]}, r'dataset is \["digits"\], and would be the name of a data set'),
        ({"dataset": 10}, "dataset is 10, and would be the name of a data set"),
    ],
)
def test_a_manifest_of_another_kind_is_one_sentence(tmp_path, theirs, manifest, says):
    (tmp_path / "theirs" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=rf"^{tmp_path}/theirs/manifest\.json is [^\n]*{says}[^\n]*\.$"):
        configuration([*DIGITS, theirs[0]])


@pytest.mark.parametrize("place", ["nowhere", "theirs/labeled.txt"])
def test_a_folder_without_files_is_refused_before_anything_runs(tmp_path, theirs, place):
    with pytest.raises(
        UserError, match=r"there is no labeled\.txt in it, in seed0 or in digits_n20_m100_gl10_gu1/seed0"
    ):
        configuration([*DIGITS, f"dataset.splits={tmp_path / place}"])


def test_the_checksum_is_never_set_by_hand():
    with pytest.raises(UserError, match=r"dataset\.splits_checksum=abc is not possible"):
        configuration([*DIGITS, "dataset.splits_checksum=abc"])


def test_sizes_that_the_setting_does_not_describe_and_common_images_are_said(tmp_path, theirs, labels):
    splits, labeled, _ = theirs
    config = configuration([*DIGITS, splits])
    _, split = data_of(config)
    counts = np.bincount(labels[labeled]).tolist()
    (sentence,) = remarks(config, split, counts)
    assert sentence.startswith(
        f"The labeled images of dataset.splits are {', '.join(['10'] * 10)} per class, not the 20"
    )
    told = remarks(config, split, counts, [7] * 10)
    assert told[0] == sentence
    assert told[1].startswith(
        f"The unlabeled images of dataset.splits are {', '.join(['7'] * 10)} per class, not the 100"
    )
    assert told[1].endswith("of imb.m1=100 imb.gamma_u=1, by which this run is named and reported.")
    assert remarks(config, split, counts, [100] * 10) == [sentence]
    exact = configuration([*DIGITS, "imb.n1=10", "imb.gamma_l=1", write(tmp_path / "theirs", unlabeled=labeled)])
    _, split = data_of(exact)
    assert remarks(exact, split, counts) == ["100 labeled images of dataset.splits are unlabeled ones as well."]
    assert remarks(configuration(DIGITS), split, counts) == []


def test_rows_of_the_data_sets_own_unlabeled_set_are_counted_apart(tmp_path):
    stl = ("dataset=stl10", "imbalance=stl10_n150_g10", "algorithm=fixmatch", "dataset.num_valid=0")
    splits = write(tmp_path / "stl", labeled=range(3000), unlabeled=range(100, 200))
    assert configuration([*stl, splits]).dataset.splits_checksum
