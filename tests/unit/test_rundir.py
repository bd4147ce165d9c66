"""The run directory: one worker at a time, and a state that files and lock alone tell."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from daso.errors import UserError
from daso.outputs.files import read_json, read_yaml, replace_file, sealed, write_json, write_record
from daso.outputs.naming import dataset_name, imbalance_name, method_name, run_name
from daso.outputs.rundir import RunDir, RunState, runs_in

HOLD = """
import sys, time
from daso.outputs.rundir import RunDir
with RunDir(sys.argv[1], sys.argv[2]).lock():
    print("held", flush=True)
    time.sleep(float(sys.argv[3]))
"""


def holder(root, seconds):
    command = [sys.executable, "-c", HOLD, str(root), "k", str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def run(tmp_path):
    return RunDir(tmp_path / "outputs", "k")


def test_naming_a_run_creates_nothing(run):
    assert run.state() is RunState.new
    assert not run.root.exists()


def test_a_second_process_is_refused_in_a_sentence_that_names_the_holder(run):
    process = holder(run.root, 30)
    try:
        with pytest.raises(UserError, match=f"Run k is taken by process {process.pid} on "), run.lock(patience=0.2):
            pass
    finally:
        process.kill()
        process.wait()


def test_a_holder_that_is_about_to_end_is_waited_for(run):
    process = holder(run.root, 0.5)
    with run.lock(patience=5):
        assert read_json(run.path / "lock.json")["pid"] == os.getpid()
    process.wait()


def test_a_killed_holder_frees_the_run(run):
    process = holder(run.root, 30)
    assert run.state() is RunState.running
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert run.state() is not RunState.running
    with run.lock(patience=1):
        pass


def test_looking_at_a_state_does_not_disturb_the_holder(run):
    with run.lock():
        assert [run.state() for _ in range(3)] == [RunState.running] * 3
        with pytest.raises(UserError), RunDir(run.root, "k").lock(patience=0):
            pass


def test_the_states_of_a_life(run):
    with run.lock():
        run.resolved.write_text("seed: 0\n")
    assert run.state() is RunState.partial
    run.mark_failed("The loss is not finite.")
    assert run.state() is RunState.failed
    assert run.reason() == "The loss is not finite."
    run.clear()
    assert (run.state(), run.reason()) == (RunState.partial, None)
    run.mark_done()
    assert run.state() is RunState.done


def test_reset_keeps_only_the_lock_and_the_note_of_the_mirror(run):
    with run.lock():
        for path in (run.resolved, run.metrics, run.checkpoint, run.mirror, run.done):
            path.write_text("x")
        run.figures.mkdir()
        (run.figures / "confusion.png").write_text("x")
        run.reset()
        assert {path.name for path in run.path.iterdir()} == {"lock", "lock.json", "mlflow.json"}
    assert run.state() is RunState.new


def test_a_run_that_is_worked_on_is_not_removed(run):
    with run.lock(), pytest.raises(UserError, match="taken"):
        RunDir(run.root, "k").remove()
    run.remove()
    assert not run.path.exists()


def test_a_waiter_whose_folder_was_removed_locks_the_new_folder(run):
    process = holder(run.root, 30)
    script = HOLD.replace("sleep(", "sleep(0 * ")
    waiter = subprocess.Popen(
        [sys.executable, "-c", script, str(run.root), "k", "0"], stdout=subprocess.PIPE, text=True
    )
    time.sleep(0.5)
    for path in list(run.path.iterdir()):
        path.unlink()
    run.path.rmdir()
    process.kill()
    process.wait()
    assert waiter.communicate(timeout=10)[0] == "held\n"
    assert (run.path / "lock").exists()


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"out_root=.*file is not possible"), RunDir(tmp_path / "file", "k").lock():
        pass


@pytest.mark.parametrize("content", ["{}", "[]", '{"pid": 3}', "", "[" * 100_000])
def test_a_holder_that_cannot_be_read_is_another_process(run, content):
    with run.lock():
        (run.path / "lock.json").write_text(content)
        with pytest.raises(UserError, match="Run k is taken by another process: wait"), RunDir(run.root, "k").lock(0):
            pass
    (run.path / "FAILED").write_text(content)
    assert run.state() is RunState.failed
    assert run.reason() in (None, "None")


@pytest.mark.parametrize("name", ["lock", "FAILED", "summary.json", "checkpoint.previous.pt"])
def test_a_folder_in_the_place_of_a_file_is_named(run, name):
    (run.path / name).mkdir(parents=True)
    with pytest.raises(UserError, match=f"{run.path / name}.* folder"), run.lock():
        run.require_files()
    run.state(), run.reason(), run.numbers(), run.troubles()


def test_nothing_depends_on_the_note_of_the_holder(run):
    (run.path / "lock.json").mkdir(parents=True)
    with run.lock():
        run.require_files()


def test_a_file_in_the_place_of_the_figures_is_named_before_the_training(run):
    run.path.mkdir(parents=True)
    run.figures.touch()
    with pytest.raises(UserError, match="figures is a file where a folder belongs"):
        run.require_files()


def test_a_folder_that_this_user_may_not_look_into_is_left_out_and_named(tmp_path, monkeypatch, capsys):
    for name in ("mine", "theirs"):
        RunDir(tmp_path, name).path.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: path.name != "theirs")
    assert [found.key for found in runs_in(tmp_path)] == ["mine"]
    assert "theirs is left out: permission denied" in capsys.readouterr().err


def test_a_record_is_believed_until_something_in_it_changes(tmp_path):
    path = tmp_path / "a.json"
    write_record(path, {"b": [1.5, float("nan")], "a": {"c": "ä"}})
    assert read_json(path) == {"b": [1.5, None], "a": {"c": "ä"}}
    path.write_text(path.read_text().replace("1.5", "1.6"))
    assert read_json(path) is None


def test_a_yaml_record_is_believed_until_something_in_it_changes(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(sealed("seed: 3\nname: a\n"))
    assert read_yaml(path) == {"seed": 3, "name": "a"}
    path.write_text(path.read_text().replace("3", "4"))
    assert read_yaml(path) is None
    path.write_text("seed: 4\n")  # by an earlier version
    assert read_yaml(path) == {"seed": 4}


def test_a_folder_in_which_nothing_can_be_made_is_a_sentence():
    with (
        pytest.raises(UserError, match=r"out_root=/proc/nowhere is not possible: /proc/nowhere"),
        RunDir("/proc/nowhere", "k").lock(),
    ):
        pass


def test_json_is_written_whole_with_nan_as_null(tmp_path):
    write_json(tmp_path / "a.json", {"gm": float("nan"), "list": [float("inf"), 1], "deep": {"x": 2.5}})
    assert json.loads((tmp_path / "a.json").read_text()) == {"gm": None, "list": [None, 1], "deep": {"x": 2.5}}


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch):
    replace_file(tmp_path / "a", b"old")
    monkeypatch.setattr(os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        replace_file(tmp_path / "a", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"old")]


def config(**slots):
    nodes = {"supervised": "ce", "align": "none", "daso": "none"} | slots
    return {
        "dataset": {"name": "cifar10"},
        "imb": {"n1": 500, "m1": 4000, "gamma_l": 100.0, "gamma_u": 0.01},
        "algorithm": {"name": "fixmatch"},
        "model": {"name": "wrn28_2"},
        "seed": 3,
    } | {key: {"name": name} for key, name in nodes.items()}


def test_a_method_is_named_after_its_learner_and_filled_slots():
    assert method_name(config()) == "fixmatch"
    assert method_name(config(supervised="la", daso="daso")) == "fixmatch_la_daso"


def test_a_run_is_named_after_data_method_imbalance_and_seed():
    assert run_name(config(daso="daso")) == "cifar10 fixmatch_daso N1=500 gl=100 gu=1/100 s3"


@pytest.mark.parametrize(
    ("gamma_u", "shown"), [(1.0, " gu=1"), (20, " gu=20"), ("1/100", " gu=1/100"), ("unknown", "")]
)
def test_the_unlabeled_imbalance_is_shown_as_people_write_it(gamma_u, shown):
    assert imbalance_name({"n1": 30, "gamma_l": 10, "gamma_u": gamma_u}) == f"N1=30 gl=10{shown}"


def test_own_images_are_called_by_the_name_of_their_folder_unless_they_have_another():
    folder = {"name": "folder", "reader": "folder", "root": "here/photos/", "lists": ""}
    assert dataset_name(folder) == "photos"
    assert dataset_name(folder | {"name": "flowers"}) == "flowers"
    assert dataset_name(folder | {"root": "."}) == "folder"
    assert dataset_name({"name": "csv", "reader": "csv", "root": "data", "lists": "lists/few"}) == "few"
    assert dataset_name({"name": "cifar10", "root": "photos"}) == "cifar10"
