"""A finished run, loaded: it answers as its evaluation did, and what is damaged, foreign or unfinished is a sentence."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from sklearn.metrics import accuracy_score, balanced_accuracy_score

import daso
from daso import runs
from daso.data.sources.class_names import CLASS_NAMES
from daso.data.sources.readers import digits
from daso.errors import UserError
from daso.outputs.files import sealed
from daso.run.start import run
from daso.settings.compose import configuration
from tests import pictures
from tests.compose import NOWHERE
from tests.training import composed

METHODS = {
    "plain": ("algorithm=fixmatch_daso",),
    "a corrected answer": ("algorithm=fixmatch_cdmad",),
    "a head of its own": ("algorithm=fixmatch_abc",),
    "another head": ("algorithm=fixmatch_acr",),
    "the second of three heads": ("algorithm=cpe",),
    "a classifier outside the network": ("algorithm=fixmatch_cossl", "debias.start=0.5"),
    "the raw network": ("algorithm=supervised",),
    "a second stage": ("algorithm=supervised_crt",),
    "generations of labels": ("algorithm=fixmatch_crest_plus", "protocol.generations=2"),
    "an estimate that came first": ("algorithm=fixmatch_darp", "darp.goal=estimate"),
    "resized images": ("algorithm=fixmatch_saw", "dataset.resolution=12"),
}
PHOTOS = {"dog": 9, "cat": 7, "hen": 5}


def finished(out_root, *overrides):
    """The folder of a finished run of twelve steps."""
    config = replace(composed(*overrides), out_root=str(out_root))
    run(config, NOWHERE)
    return out_root / config.run_key


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("runs"), *METHODS["plain"])


@pytest.fixture
def copied(plain, tmp_path):
    return shutil.copytree(plain, tmp_path / plain.name)


@pytest.mark.parametrize("overrides", METHODS.values(), ids=METHODS.keys())
def test_the_answers_on_the_test_set_are_those_that_the_run_recorded(overrides, tmp_path):
    trained = daso.load(finished(tmp_path, *overrides))
    images, y = trained.test_images()
    np.testing.assert_array_equal(images, digits({}).test_x[:, 0])
    p = trained.predict(images)
    assert p.shape == (500, 10)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)
    assert trained.metrics["test/top1"] == pytest.approx(100 * accuracy_score(y, p.argmax(1)), abs=1e-9)
    assert trained.metrics["test/bacc"] == pytest.approx(100 * balanced_accuracy_score(y, p.argmax(1)), abs=1e-9)
    assert trained.metrics["test/cost"] == pytest.approx(-np.log(p[range(500), y]).mean(), rel=1e-4)


@pytest.mark.parametrize("crop", ["pad", "resized"])
def test_a_run_of_image_files_answers_from_their_paths(crop, tmp_path):
    sets = {"train": PHOTOS, "unlabeled": {"x": 8}, "test": dict.fromkeys(PHOTOS, 6)}
    paths = [f"{s}/{k}/{n}.png" for s, counts in sets.items() for k, count in counts.items() for n in range(count)]
    for number, path in enumerate(paths):
        (tmp_path / "photos" / path).parent.mkdir(parents=True, exist_ok=True)
        pictures.picture(number, 18 + number % 9, 17 + number % 13).save(tmp_path / "photos" / path)
    (tmp_path / "photos/test/dog/broken.png").write_bytes(b"no image")
    small = ["dataset.resolution=12", f"dataset.crop={crop}", "dataset.store_side=16", "train.steps=6"]
    few = ["model=wrn10_1", "track=none", "train.batch_size=4", "train.eval_every=3", "algorithm=fixmatch_daso"]
    where = ["dataset=folder", f"dataset.root={tmp_path / 'photos'}", f"out_root={tmp_path}", "dataset.broken=skip"]
    config = configuration([*where, *small, *few])
    run(config, NOWHERE)
    found, truth = daso.load(config.run_key, out_root=tmp_path).test_images()
    shutil.move(tmp_path / "photos", tmp_path / "elsewhere")  # the images of the run are not asked for
    trained = daso.load(config.run_key, out_root=tmp_path)
    assert trained.classes == ["dog", "cat", "hen"]  # most labels first
    tested = [path for path in paths if path.startswith("test/")]
    p = trained.predict([tmp_path / "elsewhere" / path for path in tested])
    y = [trained.classes.index(path.split("/")[1]) for path in tested]
    expected = zip([tmp_path / "photos" / path for path in tested], y, strict=True)
    assert dict(zip(found, truth, strict=True)) == dict(expected)
    assert trained.metrics["test/top1"] == pytest.approx(100 * accuracy_score(y, p.argmax(1)), abs=1e-9)
    assert trained.metrics["test/bacc"] == pytest.approx(100 * balanced_accuracy_score(y, p.argmax(1)), abs=1e-9)
    assert trained.metrics["test/cost"] == pytest.approx(-np.log(p[range(len(y)), y]).mean(), rel=1e-4)


def test_the_folder_of_a_run_under_another_name_is_called_one(copied, tmp_path, capsys):
    sentence = f"{tmp_path}/best is the folder of run {copied.name} under another name: call it {copied.name} again."
    copied.rename(tmp_path / "best")
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}$"):
        daso.load(tmp_path / "best")
    assert runs.main(["list", "--root", str(tmp_path)]) == 0
    assert capsys.readouterr().err.count("best is the folder of run") == 1


def test_the_run_finished_last_has_a_name(copied, plain, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match=r"^run=latest is not possible: no run in out_root=.* is finished\.$"):
        daso.load("latest", out_root=tmp_path / "none")
    with pytest.raises(UserError, match=r"^run=lastest is not possible: did you mean latest\?$"):
        daso.load("lastest", out_root=tmp_path)
    shutil.copytree(plain, tmp_path / "0123456789ab")
    os.utime(tmp_path / "0123456789ab" / "DONE", (1, 1))
    (tmp_path / "ba9876543210").mkdir()  # begun later, not finished
    assert daso.load("latest", out_root=tmp_path).key == plain.name


def test_features_are_what_the_heads_read(plain):
    trained = daso.load(plain)
    images = digits({}).test_x[:7, 0]
    features = trained.features(images)
    assert features.shape == (7, 64)
    head = trained.network.net.heads["cls"]
    np.testing.assert_allclose(features @ head.weight.numpy().T + head.bias.numpy(), trained.logits(images), atol=1e-5)


def test_numbers_and_curves_are_plain(plain):
    trained = daso.load(plain.name, out_root=plain.parent)
    assert trained.key == plain.name
    assert trained.classes == [str(k) for k in range(10)]
    assert trained.metrics.items() <= json.loads((plain / "summary.json").read_bytes()).items()
    assert all(type(value) is float for value in trained.metrics.values())
    steps, values = trained.curve("test/bacc")
    assert steps.tolist() == [3, 6, 9, 12]
    assert values[-1] == trained.metrics["test/bacc"]
    rows = [json.loads(line) for line in (plain / "metrics.jsonl").read_text().splitlines()]
    assert trained.journal == rows
    with pytest.raises(UserError, match=r"^test/zzz is not in the journal .*: there are .*test/bacc, .*\.$"):
        trained.curve("test/zzz")
    assert plain.name in repr(trained)
    assert "10 classes" in repr(trained)


def test_what_is_no_image_and_what_is_no_metric_is_a_sentence(plain):
    trained = daso.load(plain)
    for nothing in (5, None):
        with pytest.raises(UserError, match=f"{nothing} is no image: a path"):
            trained.predict(nothing)
    with pytest.raises(UserError, match="did you mean test/top1 or train/top1"):
        trained.curve("top1")
    with pytest.raises(UserError, match=r"did you mean test/bacc\?"):
        trained.curve("test/bac")


def test_a_network_goes_nowhere_where_it_cannot_be_written(plain, tmp_path):
    trained, at = daso.load(plain), re.escape(str(tmp_path))
    (tmp_path / "folder.pt2").mkdir()
    (tmp_path / "file").touch()
    for name, sentence in (
        ("gone/net.pt2", f"there is no folder {at}/gone"),
        ("file/net.pt2", f"there is no folder {at}/file"),
        ("folder.pt2", "it is a folder where a file belongs; move it away"),
        (f"{'x' * 300}.pt2", "file name too long"),
    ):
        with pytest.raises(UserError, match=rf"^export={at}/{name} is not possible: {sentence}\.$"):
            trained.export(tmp_path / name)
    assert {path.name for path in tmp_path.iterdir()} == {"folder.pt2", "file"}


def test_a_run_is_found_by_the_beginning_of_its_key(plain):
    assert daso.load(plain.name[:5], plain.parent).key == plain.name
    with pytest.raises(UserError, match=r"^run= is not possible: the folder of a run, or its key in"):
        daso.load("", plain.parent)
    with pytest.raises(UserError, match=r"^run=nosuch is not possible: .* there is no such folder\.$"):
        daso.load("nosuch", plain.parent)
    typo = plain.parent.with_name(f"{plain.parent.name}s")
    with pytest.raises(
        UserError, match=rf"^out_root={typo} is .*: there is no folder {typo}; did you mean {plain.parent}"
    ):
        daso.load(plain.name, typo)


def test_what_a_run_began_with_need_not_be_there(plain, copied, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    trained = daso.load(copied)
    (copied / "splits.npz").unlink()
    images = digits({}).test_x[:20, 0]
    np.testing.assert_array_equal(daso.load(copied).predict(images), trained.predict(images))
    np.testing.assert_array_equal(daso.load(plain).predict(images), trained.predict(images))


def rewritten(path, change):
    told = yaml.safe_load(path.read_bytes())
    change(told)
    path.write_text(sealed(yaml.safe_dump(told, sort_keys=False)))


DAMAGES = {
    "no folder of a run": (lambda r: [path.unlink() for path in r.glob("*.*")] and (r / "DONE").unlink(), "is no run: the folder"),
    "no configuration": (lambda r: (r / "resolved.yaml").unlink(), r"resolved\.yaml is missing or damaged"),
    "another name": (lambda r: (r / "resolved.yaml").write_text("run_key: other\n"), r"resolved\.yaml is missing or d"),
    "no summary": (lambda r: (r / "summary.json").write_text("{}x"), r"summary\.json is missing or damaged"),
    "no checkpoint": (lambda r: (r / "checkpoint.pt").unlink(), r"checkpoint\.pt, which holds the network, is not"),
    "half a checkpoint": (
        lambda r: (r / "checkpoint.pt").write_bytes((r / "checkpoint.pt").read_bytes()[:9999]),
        r"checkpoint\.pt is unreadable",
    ),
    "unfinished": (lambda r: (r / "DONE").unlink(), "is not finished: start the line that began it again, and it goes on from step 12 of 12"),
    "of another version": (
        lambda r: rewritten(r / "resolved.yaml", lambda told: told["algorithm"].update(name="mymatch")),
        "is of another version, which alone can load it: algorithm=mymatch",
    ),
    "another run's network": (
        lambda r: torch.save(other(torch.load(r / "checkpoint.pt", weights_only=True)), r / "checkpoint.pt"),
        r"checkpoint\.pt is not the one that the run ended with",
    ),
}  # fmt: skip


def other(saved):
    saved["student"]["heads.cls.bias"] += 1
    return saved


@pytest.mark.parametrize("what", DAMAGES)
def test_what_is_damaged_foreign_or_unfinished_is_a_sentence(what, copied):
    damage, sentence = DAMAGES[what]
    damage(copied)
    with pytest.raises(UserError, match=sentence) as raised:
        daso.load(copied)
    assert str(raised.value).endswith(".")
    assert "\n" not in str(raised.value)


def test_a_damaged_journal_costs_the_curves_alone(copied):
    (copied / "metrics.jsonl").write_text("{}\n")
    trained = daso.load(copied)
    assert trained.predict(np.zeros((8, 8), np.uint8)).shape == (1, 10)
    with pytest.raises(UserError, match=r"metrics\.jsonl is missing or damaged: bring back the right file"):
        trained.curve("test/bacc")


def test_to_import_the_package_costs_nothing():
    line = "import sys, daso; assert callable(daso.load); print({'torch', 'numpy', 'yaml'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_published_classes_have_names():
    assert {name: len(set(names)) for name, names in CLASS_NAMES.items()} == {
        "cifar10": 10, "cifar100": 100, "stl10": 10, "fashion_mnist": 10, "digits": 10,
    }  # fmt: skip
    assert list(CLASS_NAMES["cifar100"]) == sorted(CLASS_NAMES["cifar100"])  # as its makers number them
