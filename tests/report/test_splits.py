"""Exported splits, read as another code base would."""

import json
import shutil

import numpy as np
import pytest

from daso.data.index_files import read
from daso.data.sizes import class_counts
from daso.errors import UserError
from daso.splits import main

SETTING = ["dataset=digits", "imbalance=digits_n20_m100_g10_reversed"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("splits")
    assert main([*SETTING, "dataset.num_valid=40", "imb.m1=90", "seed=0,1", f"out={out}"]) == 0
    return out / "digits_n20_m90_gl10_gu0.1_v40"


def rows(folder, name):
    return [int(line) for line in (folder / f"{name}.txt").read_text().split()]


def test_text_and_archive_hold_the_same_rows(written):
    with np.load(written / "seed0" / "split.npz") as stored:
        for name in ("labeled", "unlabeled", "valid"):
            assert stored[name].tolist() == rows(written / "seed0", name)


def test_class_counts_are_those_of_the_setting(written):
    with np.load(written / "seed0" / "split.npz") as stored:
        assert np.bincount(stored["labeled_labels"]).tolist() == class_counts(20, 10, 10)
        assert np.bincount(stored["unlabeled_labels"]).tolist() == class_counts(90, 10, 10)[::-1]
        assert np.bincount(stored["valid_labels"]).tolist() == [4] * 10
    manifest = json.loads((written / "seed0" / "manifest.json").read_text())
    assert manifest["class_counts"]["labeled"] == class_counts(20, 10, 10)
    assert manifest["sizes"]["valid"] == 40


def test_no_row_serves_twice(written):
    used = [row for name in ("labeled", "unlabeled", "valid") for row in rows(written / "seed0", name)]
    assert len(set(used)) == len(used)


def test_seeds_differ(written):
    assert rows(written / "seed0", "labeled") != rows(written / "seed1", "labeled")


def test_a_run_of_the_setting_trains_on_the_exported_rows(written):
    from daso.run.build import data_of
    from daso.settings.compose import configuration

    _, split = data_of(configuration([*SETTING, "dataset.num_valid=40", "imb.m1=90", "seed=1"]))
    exported = read(written / "seed1").split
    assert all(np.array_equal(a, b) for a, b in zip(split, exported, strict=True))


def test_check_finds_intact_files(written, capsys):
    assert main([f"check={written}"]) == 0
    assert capsys.readouterr().out.count("is intact") == 2


@pytest.mark.parametrize(
    ("setting", "folder"),
    [
        (["imb.unlabeled_shape=middle", "imb.gamma_u=10"], "digits_n20_m100_gl10_gu10_middle"),
        (["imb.unlabeled_counts=[5,6,7,8,9,10,0,4,3,2]"], "digits_n20_m10_gl10_counts-1dcc16d9"),
    ],
)
def test_a_shape_is_exported_under_its_name_and_checked(tmp_path, capsys, setting, folder):
    assert main(["dataset=digits", *setting, f"out={tmp_path}"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == [folder]
    assert main([f"check={tmp_path}"]) == 0
    assert "is intact and the split of this version" in capsys.readouterr().out


def test_a_check_takes_overrides_such_as_the_place_of_the_data(written, capsys):
    assert main([f"check={written}", "dataset.root=/elsewhere"]) == 0  # digits lie nowhere
    assert main([f"check={written}", "dataset.rood=/elsewhere"]) == 2
    assert "did you mean dataset.root" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"overrides": None}, "does not say which setting and seed it is"),
        ({"seed": None}, "does not say which setting and seed it is"),
        ({"overrides": "dataset=digits"}, 'overrides is "dataset=digits", and would be a list of texts'),
        ({"overrides": [1]}, "overrides is [1], and would be a list of texts"),
        ({"seed": "zero"}, 'seed is "zero", and would be a whole number'),
        ({"seed": True}, "seed is true, and would be a whole number"),
        ({"seed": -1}, "seed is -1, and would be a whole number"),
    ],
)
def test_a_check_of_a_manifest_of_another_kind_is_one_sentence(written, tmp_path, capsys, change, says):
    shutil.copytree(written / "seed0", tmp_path / "copy")
    path = tmp_path / "copy" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert main([f"check={tmp_path}"]) == 2
    errors = capsys.readouterr().err
    assert says in errors
    assert errors.count("\n") == 1


def test_settings_with_other_validation_sets_lie_apart(written):
    assert main([*SETTING, "imb.m1=90", f"out={written.parent}"]) == 0
    assert sorted(path.name for path in written.parent.iterdir()) == [written.name.removesuffix("_v40"), written.name]


def test_a_changed_file_is_found(written, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(written / "seed0", copy)
    (copy / "labeled.txt").write_text("1\n")
    with pytest.raises(UserError, match=r"labeled\.txt is missing or damaged"):
        read(copy)
    assert main([f"check={copy}"]) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["dataset=cifar10", "dataset.root=nowhere"], "nowhere"),
        (["dataset=cifar11"], "did you mean cifar10"),
        (["dataset=digits", "imbalance=digits_n1"], "imbalance=digits_n1 is not possible"),
        (["dataset=digits", "seed=one"], "seed=one is not possible"),
        (["dataset=digits", "imb.m1=500"], "imb.m1"),
        (["--dataset", "digits"], "--dataset is not possible: write dataset=digits."),
        (["digits"], "has the form key=value"),
        (["dataset=digits", "out=x.csv"], "out=x.csv is not possible: a split is written into a folder."),
        (["check=nowhere"], "there is no manifest.json"),
    ],
)
def test_what_cannot_be_exported_ends_in_one_sentence(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # no download
    assert main(arguments) == 2
    errors = capsys.readouterr().err
    assert says in errors
    assert errors.count("\n") == 1
