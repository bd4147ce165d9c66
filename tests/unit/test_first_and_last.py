"""What a run leaves of what it said, of a machine's choices, and of a refusal."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torchvision.datasets.utils as tv_utils
import yaml

from daso import __main__ as program
from daso.errors import UserError
from daso.machine.streams import STARTS
from daso.outputs.rundir import RunDir
from daso.run.start import run
from daso.schema import TrackConfig
from daso.settings.identity import plain, to_yaml
from daso.track.hints import after_run, after_sweep
from tests.compose import NOWHERE, config_of

TINY = (
    "experiment=quickstart",
    "algorithm=fixmatch",
    "track=none",
    "device=cpu",
    "train.steps=2",
    "train.eval_every=1",
)


def test_a_run_keeps_what_it_said_start_after_start(tmp_path, capsys, one_thread):
    config = config_of(*TINY, f"out_root={tmp_path}")
    folder = RunDir(tmp_path, config.run_key)
    run(config, NOWHERE._replace(overrides=["seed=0"]))
    said, log = capsys.readouterr().out, folder.log.read_text()
    assert log.splitlines()[0].endswith(": seed=0")
    assert "\n".join(log.splitlines()[1:]) in said
    assert "step 2/2" in log
    assert f"run {folder.key}: 2 steps in" in log
    run(config_of(*TINY, f"out_root={tmp_path}", "force=true"), NOWHERE)
    assert folder.log.read_text().startswith(log)
    assert folder.log.read_text().count("step 2/2") == 2
    text = folder.resolved.read_text()
    assert "\ndevice: cpu\n" in text
    assert "\n  precision: auto # fp32\n" in text
    assert "\n  compile: auto # none\n" in text
    assert folder.about()["precision"] == "fp32"
    assert folder.config() is not None  # its checksum fits
    listed = (Path(__file__).parents[2] / "README.md").read_text()
    there = {*folder.path.iterdir(), *(place for place in vars(folder).values() if isinstance(place, Path))}
    names = {path.name for path in there - {folder.root, folder.path}}
    assert [name for name in names if f"`{name}`" not in listed and f"`{name}/`" not in listed] == []


def test_what_a_machine_made_of_a_value_stands_beside_it():
    config = config_of("experiment=quickstart")
    text = to_yaml(config, {"device": "NVIDIA H200", "train.precision": "tf32", "train.steps": "1000"})
    assert yaml.safe_load(text) == plain(config)
    beside = [line.strip() for line in text.splitlines() if " # " in line]
    assert beside == ["precision: auto # tf32", "device: auto # NVIDIA H200"]


def test_a_refused_run_leaves_no_folder(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no route to host")

    monkeypatch.setattr(tv_utils, "download_url", refuse)
    config = config_of("dataset=cifar10", "track=none", f"dataset.root={tmp_path}/data", f"out_root={tmp_path}/out")
    with pytest.raises(UserError, match="cannot be downloaded"):
        run(config, NOWHERE)
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_takes_nothing_that_was_there_before(tmp_path):
    run_dir = RunDir(tmp_path, "k")
    with run_dir.lock():
        (run_dir.path / "notes.txt").write_text("mine")
        run_dir.give_up()
    assert [path.name for path in run_dir.path.iterdir()] == ["notes.txt"]
    with run_dir.lock():
        run_dir.metrics.touch()
        run_dir.give_up()
    assert run_dir.metrics.exists()


def test_what_to_do_next_can_be_pasted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run_dir = RunDir("outputs", "aa11")
    assert after_run(run_dir, TrackConfig("none"))[1:] == ["next    python -m daso.runs show aa11"]  # not finished
    run_dir.path.mkdir(parents=True)
    run_dir.done.touch()
    assert after_run(run_dir, TrackConfig("mlflow")) == [
        "folder  outputs/aa11",
        "next    python -m daso.runs show aa11",
        '        python -m daso.predict outputs/aa11 IMAGES...  # in Python: daso.load("outputs/aa11")',
        "        mlflow ui",
    ]
    elsewhere = after_sweep(str(tmp_path / "my runs"), TrackConfig("mlflow", "http://ann:pw@host:5000"), "1")
    assert elsewhere == [
        "folder  my runs",
        "next    python -m daso.report table=1 runs='my runs'",
        "        open http://***@host:5000",
    ]
    assert after_sweep("outputs", TrackConfig("none"))[1:] == ["next    python -m daso.report table=mine"]


FIRST = """
import os, sys
from daso.command import launch
def announce(text):
    print(text, sorted({"torch", "numpy", "mlflow"} & set(sys.modules)), flush=True)
    os._exit(0)
launch.announce = announce
sys.argv = ["train.py", "experiment=quickstart", "device=cpu"]
from daso.__main__ import main
main()
"""


def test_the_first_line_in_a_pipe_comes_before_any_large_library():
    done = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, check=True)
    assert done.stdout == f"{STARTS} []\n"


@pytest.mark.parametrize(
    ("arguments", "says"), [(["seed=1"], True), (["-m", "seed=1,2"], True), (["--cfg", "job"], False)]
)
def test_the_first_line_on_a_terminal_comes_before_anything_is_read(arguments, says, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setitem(sys.modules, "daso.command.program", SimpleNamespace(main=lambda: 0))
    assert program.main() == 0
    assert capsys.readouterr().out == f"{STARTS}\n" * says


@pytest.mark.parametrize(("arguments", "says"), [(["-m", "plan=true"], True), (["--cfg", "job", "plan=true"], False)])
def test_a_plan_in_a_pipe_begins_on_standard_error_before_anything_is_read(arguments, says, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    monkeypatch.setitem(sys.modules, "daso.command.program", SimpleNamespace(main=lambda: 0))
    assert program.main() == 0
    assert capsys.readouterr() == ("", f"{STARTS}\n" * says)
