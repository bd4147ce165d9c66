"""A checkpoint is believed only if it is what was written; a run never keeps one that it cannot go on from."""

import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from daso.errors import Damaged, RunFailed, UserError
from daso.outputs.files import read_json
from daso.outputs.rundir import RunDir, before
from daso.run.start import run
from daso.train import alarms, checkpoint
from daso.train.step import TrainStep
from tests.compose import NOWHERE
from tests.training import composed, trained

CPU = torch.device("cpu")


def state(step=1, weight=0.5):
    weights = {"w": torch.full((40, 50), weight), "b": torch.arange(7)}
    return {"run_key": "k", "step": step, "student": weights, "teacher": {}, "optimizer": {"state": {}}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "checkpoint.pt"
    checkpoint.save(path, state())
    return path.read_bytes()


def test_what_is_saved_is_read_back(tmp_path):
    checkpoint.save(tmp_path / "c.pt", state())
    found = checkpoint.load(tmp_path / "c.pt", "k")
    assert torch.equal(found["student"]["w"], state()["student"]["w"])
    assert found["step"] == 1


def test_the_checkpoint_before_the_last_one_stays(tmp_path):
    path = tmp_path / "c.pt"
    for step in (1, 2, 3):
        checkpoint.save(path, state(step))
    assert [checkpoint.load(p, "k")["step"] for p in (path, before(path))] == [3, 2]
    assert len(list(tmp_path.iterdir())) == 2


@settings(max_examples=200)
@given(at=st.floats(0, 1), flip=st.integers(1, 255))
def test_whatever_byte_is_flipped_other_content_is_never_believed(tmp_path_factory, whole, at, flip):
    path = tmp_path_factory.mktemp("flipped") / "checkpoint.pt"
    at = min(int(at * len(whole)), len(whole) - 1)
    path.write_bytes(whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :])
    try:
        found = checkpoint.load(path, "k")
    except Damaged:
        return
    assert found.keys() == {"format", *state()}
    assert all(torch.equal(found["student"][name], value) for name, value in state()["student"].items())


def test_the_checkpoint_of_another_run_is_named(tmp_path):
    checkpoint.save(tmp_path / "c.pt", state())
    with pytest.raises(Damaged, match="belongs to run k, not to other"):
        checkpoint.load(tmp_path / "c.pt", "other")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_not_believed(tmp_path, bad):
    checkpoint.save(tmp_path / "c.pt", state(weight=bad))
    with pytest.raises(Damaged, match="not finite"):
        checkpoint.load(tmp_path / "c.pt", "k")


def test_too_little_memory_is_no_damage(tmp_path, monkeypatch):
    checkpoint.save(tmp_path / "c.pt", state())
    monkeypatch.setattr(torch, "load", lambda *args, **kwargs: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(MemoryError):
        checkpoint.load(tmp_path / "c.pt", "k")


def test_a_file_that_may_not_be_read_is_no_damage(tmp_path):
    (tmp_path / "c.pt").mkdir()
    with pytest.raises(UserError, match="folder where a file belongs") as refusal:
        checkpoint.load(tmp_path / "c.pt", "k")
    assert "force" not in str(refusal.value)


@pytest.mark.parametrize(
    ("found", "model", "wrong"),
    [
        ({"a": torch.ones(2)}, {"a": torch.zeros(2)}, ""),
        ({"a": torch.ones(3)}, {"a": torch.zeros(2)}, "x.a"),
        ({"a": [1.0]}, {"a": torch.zeros(1)}, "x.a"),
        ({}, {"a": torch.zeros(1)}, "x"),
        ({"b": [1.0, 2]}, {str: [float]}, ""),
        ({"b": [1.0, "2"]}, {str: [float]}, "x.b"),
        ({"b": 1.0}, {str: [float]}, "x.b"),
        (3, int, ""),
        (True, int, "x"),
        (None, int, "x"),
    ],
)
def test_a_part_is_compared_with_its_model(found, model, wrong):
    assert checkpoint.unlike(found, model, "x") == (f"{wrong} is not what it should be" if wrong else "")


def test_a_run_that_writes_a_checkpoint_at_every_step_hears_signals(tmp_path):
    trained(composed("train.checkpoint_every=1"), tmp_path, stop_after=4)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 4


def test_a_network_that_is_not_finite_fails_the_run_before_it_is_written(tmp_path, monkeypatch):
    step, calls = TrainStep.__call__, itertools.count(1)

    def poisoned(self, *args):
        outcome = step(self, *args)
        if next(calls) == 5:
            next(iter(self.optimizer.state.values()))["momentum_buffer"].fill_(torch.inf)
        return outcome

    monkeypatch.setattr(TrainStep, "__call__", poisoned)
    config = replace(composed("train.checkpoint_every=1", "train.log_every=12"), out_root=str(tmp_path))
    with pytest.raises(RunFailed, match=r"The network is not finite at step 5, and its checkpoint of step 4 stays: "):
        run(config, NOWHERE)
    found = checkpoint.load(RunDir(tmp_path, config.run_key).checkpoint, config.run_key)
    assert found["step"] == 4


def test_a_way_to_collapse_is_told_once_and_recorded_as_it_was_last(tmp_path, monkeypatch, capsys):
    found = itertools.count(1)
    monkeypatch.setattr(alarms, "collapse", lambda *args: [f"{alarms.SILENT} class {next(found)} on the test set."])
    monkeypatch.setattr("daso.track.console.Console.summary", lambda *given: None)
    config = replace(composed(), out_root=str(tmp_path))
    run(config, NOWHERE)
    summary = read_json(RunDir(tmp_path, config.run_key).summary)
    assert summary["warnings"] == ["Step 12: The network never predicts class 4 on the test set."]
    assert capsys.readouterr().out.count("never predicts") == 1


def test_few_of_many_silent_classes_are_listed():
    counts = torch.zeros(100, 100, dtype=torch.int64)
    counts[:, 0] = 10
    assert alarms.collapse(50.0, counts, progress=1.0) == [
        "The network never predicts classes 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 89 more on the test set."
    ]
