"""Runs on files that are CIFAR-10 in form and not the published ones."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from daso.data.sources import SOURCES
from daso.errors import UserError
from daso.outputs.files import read_json
from daso.outputs.rundir import RunDir
from daso.run.start import run
from tests.compose import NOWHERE, config_of

TRAIN = str(Path(__file__).resolve().parents[2] / "train.py")
SETTING = ["dataset=cifar10", "dataset.num_valid=0", "imb.n1=10", "imb.m1=20", "imb.gamma_l=5", "algorithm=fixmatch"]
SETTING += ["model=wrn10_1_s2", "track=none", "train.steps=2", "train.eval_every=2", "train.batch_size=4"]


@pytest.fixture
def theirs(tmp_path):
    """Six batches of 60 random images."""
    folder = tmp_path / "theirs" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    stream = np.random.RandomState(0)
    for name in SOURCES["cifar10"].files:
        images = stream.randint(0, 256, (60, 3072), dtype=np.uint8)
        (folder / name).write_bytes(pickle.dumps({"data": images, "labels": list(range(10)) * 6}))
    return folder


def lines(tmp_path, theirs, *more):
    return [*SETTING, f"dataset.root={theirs.parent}", f"out_root={tmp_path / 'out'}", *more]


def test_they_are_refused_in_one_sentence_before_torch_is_imported(tmp_path, theirs):
    code = (
        "import runpy, sys\n"
        f"sys.argv = {[TRAIN, *lines(tmp_path, theirs)]!r}\n"
        f"try:\n    runpy.run_path({TRAIN!r}, run_name='__main__')\n"
        "finally:\n    print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout.splitlines()[-1] == "False"
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"dataset.root={theirs.parent}: cifar-10-batches-py/data_batch_1, ")
    assert "dataset.verify=false takes the files as they are" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_refusal_does_not_stand_below_a_warning(tmp_path, theirs, capsys):
    config = config_of(*lines(tmp_path, theirs))
    with pytest.raises(UserError, match="damaged or changed"):
        run(config, NOWHERE._replace(warnings=["Something unrelated."]))
    assert "unrelated" not in capsys.readouterr().out


def test_without_verify_a_run_trains_on_them_says_so_and_bears_a_key_of_their_content(tmp_path, theirs, capsys):
    published = config_of(*lines(tmp_path, theirs))
    config = config_of(*lines(tmp_path, theirs, "dataset.verify=false"))
    run(config, NOWHERE)
    out = " ".join(capsys.readouterr().out.split())
    assert "data_batch_1, data_batch_2, data_batch_3 and 3 more" in out
    assert config.dataset.files_checksum in out
    assert read_json(RunDir(config.out_root, config.run_key).summary)["steps"] == 2
    (theirs / "test_batch").write_bytes((theirs / "data_batch_1").read_bytes())
    changed = config_of(*lines(tmp_path, theirs, "dataset.verify=false"))
    assert len({published.run_key, config.run_key, changed.run_key}) == 3


def test_a_class_without_images_in_them_is_one_sentence(tmp_path, theirs):
    for name in SOURCES["cifar10"].files:
        batch = pickle.loads((theirs / name).read_bytes())
        (theirs / name).write_bytes(pickle.dumps(batch | {"labels": list(range(9)) * 6 + [0] * 6}))
    with pytest.raises(UserError, match="a class of cifar10 has 0 training images"):
        run(config_of(*lines(tmp_path, theirs, "dataset.verify=false")), NOWHERE)
