"""A run that was stopped, however rudely, ends with the numbers of one that never was."""

import os
import random
import signal
import time
import traceback
from pathlib import Path

import matplotlib.figure  # noqa: F401  this and the next two: imported before the forks, which start faster for it
import pytest
import sklearn.datasets  # noqa: F401
import torch
import torch._dynamo

from daso.errors import Interrupted
from daso.outputs.files import read_json
from daso.outputs.rundir import RunDir
from daso.run.start import run
from daso.schema import Config
from daso.track.jsonl import TIME, read
from tests.compose import NOWHERE, tiny

MACHINE = (TIME, "time/", "memory/")  # what depends on the machine's mood


def measured(config: Config) -> list[dict[str, object]]:
    """Every row of a run, without wall times and memory."""
    rows = read(RunDir(config.out_root, config.run_key).metrics)
    return [{k: v for k, v in row.items() if not k.startswith(MACHINE)} for row in rows]


def weights(config: Config) -> dict[str, torch.Tensor]:
    state = torch.load(RunDir(config.out_root, config.run_key).checkpoint, weights_only=True)
    parts = ("student", "teacher", "slots")
    return {f"{part}/{name}": value for part in parts for name, value in state[part].items()}


def in_child(config: Config) -> int:
    """Start the run in a process of its own; returns its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            run(config, NOWHERE)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return pid


def assert_same(disturbed: Config, undisturbed: Config) -> None:
    assert measured(disturbed) == measured(undisturbed)
    ours, theirs = weights(disturbed), weights(undisturbed)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Config:
    config = tiny(f"out_root={tmp_path_factory.mktemp('whole')}")
    _, status = os.waitpid(in_child(config), 0)
    assert status == 0
    return config


def test_killed_at_random_instants_a_run_ends_with_the_undisturbed_numbers(undisturbed, tmp_path):
    config = tiny(f"out_root={tmp_path}")
    rng, kills = random.Random(1), 0
    for attempt in range(30):
        pid = in_child(config)
        time.sleep(rng.uniform(0.2, 1.5 + 0.5 * attempt))  # longer and longer, for a busy machine
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status) or status == 0
        kills += os.WIFSIGNALED(status)
        if RunDir(config.out_root, config.run_key).done.exists():
            break
    assert RunDir(config.out_root, config.run_key).done.exists()
    assert kills > 0
    assert_same(config, undisturbed)


@pytest.mark.parametrize("step", [7, 13, 25, 34], ids=["warm-up", "warm-up, 2nd period", "first blend", "mid-period"])
def test_stopped_by_a_signal_at_any_step_a_run_ends_with_the_undisturbed_numbers(
    undisturbed, tmp_path, monkeypatch, step
):
    config = tiny(f"out_root={tmp_path}")
    folder = RunDir(config.out_root, config.run_key)
    calls = iter(range(1, 1000))
    with monkeypatch.context() as patch:
        patch.setattr(
            "daso.machine.signals.StopRequest.__call__", lambda self: signal.SIGTERM if next(calls) == step else None
        )
        with pytest.raises(Interrupted) as stopped:
            run(config, NOWHERE)
    assert stopped.value.signum == signal.SIGTERM
    assert torch.load(folder.checkpoint, weights_only=True)["step"] >= step
    run(config, NOWHERE)
    assert_same(config, undisturbed)


def test_a_finished_run_trains_nothing_and_force_gives_the_same_numbers(undisturbed, tmp_path, capsys):
    before = Path(undisturbed.out_root, undisturbed.run_key, "metrics.jsonl").read_bytes()
    run(undisturbed, NOWHERE)
    assert "finished" in capsys.readouterr().out
    assert Path(undisturbed.out_root, undisturbed.run_key, "metrics.jsonl").read_bytes() == before
    again = tiny(f"out_root={tmp_path}")
    run(again, NOWHERE)
    forced = tiny(f"out_root={tmp_path}", "force=true")
    assert forced.run_key == again.run_key
    run(forced, NOWHERE)
    assert_same(forced, undisturbed)


def test_the_second_run_of_a_process_equals_the_same_run_alone(undisturbed, tmp_path):
    run(tiny(f"out_root={tmp_path}", "algorithm=supervised", "seed=7"), NOWHERE)
    second = tiny(f"out_root={tmp_path}")
    run(second, NOWHERE)
    assert_same(second, undisturbed)


def test_the_summary_holds_every_metric_with_its_last_value(undisturbed):
    folder = RunDir(undisturbed.out_root, undisturbed.run_key)
    summary = read_json(folder.summary)
    last = {event: [row for row in read(folder.metrics) if row["event"] == event][-1] for event in ("train", "eval")}
    expected = {k: v for row in last.values() for k, v in row.items() if k not in ("event", "step", TIME)}
    assert summary is not None
    assert {name: summary[name] for name in expected} == expected
    assert {"train/loss_cls", "time/steps_per_second", "memory/peak_bytes"} <= expected.keys()
    assert summary["run_key"] == undisturbed.run_key
    assert summary["steps"] == 60
