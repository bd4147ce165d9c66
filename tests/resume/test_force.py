"""`force=true` starts a run afresh once for each start of a sweep, however often a scheduler starts its job."""

from dataclasses import replace

import pytest

from daso.errors import RunFailed
from daso.run.resume import left_behind
from daso.run.start import run
from daso.settings.identity import identified
from daso.train.step import TrainStep
from tests.compose import NOWHERE, tiny

MONDAY, TUESDAY = NOWHERE._replace(start="monday"), NOWHERE._replace(start="tuesday")


@pytest.fixture
def forced(tmp_path):
    short = ["train.steps=20", "train.eval_every=20", "daso.warmup_steps=10"]  # a checkpoint after 10 steps
    return tiny(f"out_root={tmp_path}", *short, "force=true")


@pytest.fixture
def steps(monkeypatch):
    """Counts the steps that are trained in a call; it may be broken off in one."""
    step = TrainStep.__call__

    def count(config, provenance, until=1000):
        taken = []

        def counted(self, *args):
            if len(taken) == until:
                raise RunFailed("Broken off.")
            taken.append(1)
            return step(self, *args)

        monkeypatch.setattr(TrainStep, "__call__", counted)
        try:
            run(config, provenance)
        except RunFailed:
            assert len(taken) == until
        return len(taken)

    return count


def test_a_job_that_its_scheduler_starts_again_goes_on(forced, steps):
    assert steps(forced, NOWHERE) == 20
    assert steps(forced, MONDAY, until=12) == 12
    assert steps(forced, MONDAY) == 10
    assert steps(forced, MONDAY) == 0


def test_each_start_of_a_sweep_begins_afresh(forced, steps):
    assert steps(forced, MONDAY, until=12) == 12
    assert steps(forced, TUESDAY) == 20


def test_outside_sweeps_force_always_begins_afresh(forced, steps):
    assert steps(forced, NOWHERE, until=12) == 12
    assert steps(forced, NOWHERE) == 20
    assert steps(forced, NOWHERE) == 20


def test_a_run_that_differs_in_machine_knobs_alone_says_which_partial_one_it_leaves_behind(forced, steps):
    begun = replace(forced, force=False)
    steps(begun, NOWHERE, until=12)
    other = identified(replace(begun, train=replace(begun.train, threads=2)))
    typed = NOWHERE._replace(overrides=["train.threads=2"])
    assert left_behind(other, typed) == (
        f"Run {begun.run_key}, which differs in train.threads alone, is not finished: without train.threads it goes on."
    )
    assert left_behind(other, NOWHERE) == left_behind(begun, typed) == ""
