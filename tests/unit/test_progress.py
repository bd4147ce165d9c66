"""How far a run is: what its checkpoint and its journal tell of it."""

import pytest
import torch

from daso.outputs.rundir import RunDir, RunState
from daso.sweep.graph import Job
from daso.sweep.line import SweepLine
from daso.sweep.session import Session
from daso.track.jsonl import Journal
from daso.track.progress import first_row, going_on_from, reached, step_of, then
from daso.train import checkpoint
from tests.compose import config_of


def write(path, step):
    state = {"run_key": "aa", "step": step, "seconds": 2.5, "journal": {"rows": 7}, "student": {"step": torch.ones(3)}}
    checkpoint.save(path, state)


@pytest.fixture
def run(tmp_path):
    """A run with rows up to step 150."""
    run = RunDir(tmp_path, "aa")
    run.path.mkdir()
    journal = Journal(run.metrics)
    journal.append("train", 150, {"train/lr": 0.1})
    journal.close()
    return run


@pytest.mark.parametrize("step", [0, 7, 300, 250_000])
def test_a_checkpoint_tells_its_step_without_being_loaded(tmp_path, step):
    write(tmp_path / "checkpoint.pt", step)
    assert step_of(tmp_path / "checkpoint.pt") == step


def test_a_run_goes_on_from_its_checkpoint_whatever_rows_there_are(run):
    assert going_on_from(run) == 0  # it begins again
    for step in (100, 195):
        write(run.checkpoint, step)
        assert [reached(run, state) for state in (RunState.partial, RunState.failed)] == [step, step]


def test_who_stopped_a_forced_run_is_told_that_the_line_without_force_goes_on(run):
    assert then(run, forced=True) == "the same line starts it again"
    write(run.checkpoint, 1000)
    assert then(run, forced=False) == "the same line again goes on from step 1,000"
    assert then(run, forced=True) == "the same line without force=true goes on from step 1,000"


def test_a_run_under_way_is_where_the_newest_of_row_and_checkpoint_is(run):
    for step, newest in ((100, 150), (195, 195)):
        write(run.checkpoint, step)
        assert reached(run, RunState.running) == newest


def test_a_damaged_checkpoint_leaves_the_word_to_the_one_before(run):
    write(run.checkpoint, 100)
    write(run.checkpoint, 195)
    run.checkpoint.write_bytes(b"\0" * 1000)
    assert going_on_from(run) == 100
    run.previous.write_bytes(b"")
    assert going_on_from(run) == 150  # nobody knows better


def test_the_first_row_comes_with_the_first_log_or_evaluation():
    assert first_row({"train": {"log_every": 50, "eval_every": 20, "steps": 300}}) == 20
    assert first_row({"train": {"log_every": 500, "eval_every": "epoch", "steps": 300}}) == 300
    assert first_row({}) == 0


def test_the_line_of_a_sweep_names_a_job_that_has_told_nothing_yet_without_a_share(tmp_path):
    config = config_of("experiment=quickstart", f"out_root={tmp_path}")
    session = Session.start(tmp_path)
    session.begin(0, config.run_key)
    run = RunDir(tmp_path, config.run_key)
    run.path.mkdir()
    for step, said in ((0, ["fixmatch"]), (250, ["fixmatch 25%"])):
        if step:
            write(run.checkpoint, step)
        line = SweepLine(session, live=False)
        line.expect([Job([], config, label="fixmatch")], {}, more=False)
        assert line._under_way() == said
    session.close()
