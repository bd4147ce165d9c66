"""A sweep in MLflow is one run with its jobs under it: when jobs are killed, sweeps overlap, or all is rebuilt."""

import io
import json
import sys

import pytest

from daso.outputs.files import read_json, write_json
from daso.outputs.rundir import RunDir
from daso.settings.identity import to_yaml
from daso.track import sweeps
from daso.track.jsonl import Journal
from daso.track.mirror import Remote, rebuild
from daso.track.mlflow import init_store
from daso.track.sweeps import Sweep
from tests.compose import config_of


@pytest.fixture(scope="module")
def resolved():
    return to_yaml(config_of("experiment=quickstart"))


@pytest.fixture
def uri(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    init_store(uri)
    return uri


@pytest.fixture
def client(uri):
    from mlflow.tracking import MlflowClient

    return MlflowClient(uri)


@pytest.fixture
def train(tmp_path, uri, resolved):
    """Leaves what a run of a sweep leaves; `ends` is None for one that was killed."""

    def call(sweep, key, ends="FINISHED"):
        run = RunDir(tmp_path / "out", key)
        run.path.mkdir(parents=True)
        run.resolved.write_text(resolved)
        write_json(run.card, {"name": sweep.runs[key], "tags": sweep.tags})
        journal = Journal(run.metrics)
        journal.append("eval", 10, {"test/top1": 50.0})
        journal.close()
        remote = Remote(run, uri, "daso")
        remote.send()
        if ends:
            remote.close(ends)
        return run

    return call


@pytest.fixture
def tell(tmp_path, uri, monkeypatch):
    """What `start` and `finish` have done in a process of their own, done in this one."""

    def call(action, sweep, ends=None):
        order = {"action": action, "sweep": vars(sweep), "root": str(tmp_path / "out"), "ends": ends}
        monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(order)))
        assert sweeps.main() == 0

    return call


def family(client):
    """Names and states of runs with children, and those of the children."""
    runs = client.search_runs([client.get_experiment_by_name("daso").experiment_id])
    names = {run.info.run_id: f"{run.info.run_name} {run.info.status}" for run in runs}
    found = {}
    for run in runs:
        if parent := run.data.tags.get("mlflow.parentRunId"):
            found.setdefault(names[parent], []).append(names[run.info.run_id])
    return {parent: sorted(children) for parent, children in found.items()}


def test_jobs_stand_under_the_sweep_and_a_killed_one_has_failed(uri, client, train, tell):
    sweep = Sweep(uri, "daso", "k1", "grid", "python train.py -m", {"a": "seed=0", "b": "seed=1", "c": "seed=2"})
    tell("start", sweep)
    train(sweep, "a")
    train(sweep, "b", None)
    train(sweep, "c", "KILLED")
    assert family(client) == {"grid RUNNING": ["seed=0 FINISHED", "seed=1 RUNNING", "seed=2 KILLED"]}
    tell("finish", sweep, {"a": "FINISHED", "b": "FAILED", "c": "KILLED"})
    assert family(client) == {"grid KILLED": ["seed=0 FINISHED", "seed=1 FAILED", "seed=2 KILLED"]}
    tell("start", sweep)
    assert list(family(client)) == ["grid RUNNING"]  # the same runs are the same sweep


def test_a_run_of_two_sweeps_stands_under_the_newer_one(uri, client, train, tell):
    small = Sweep(uri, "daso", "k1", "small", "", {"a": "digits s0"})
    large = Sweep(uri, "daso", "k2", "large", "", {"a": "seed=0", "b": "seed=1"})
    tell("start", small)
    run = train(small, "a")
    tell("finish", small, {"a": "FINISHED"})
    tell("start", large)
    train(large, "b")
    tell("finish", large, {"a": "FINISHED", "b": "FINISHED"})
    assert family(client) == {"large FINISHED": ["seed=0 FINISHED", "seed=1 FINISHED"]}
    assert read_json(run.card)["name"] == "seed=0"  # as a rebuilt store will say


def test_a_rebuilt_store_shows_the_sweep_again(tmp_path, uri, train, tell):
    from mlflow.tracking import MlflowClient

    sweep = Sweep(uri, "daso", "k1", "grid", "", {"a": "seed=0", "b": "seed=1"})
    tell("start", sweep)
    runs = [train(sweep, key) for key in ("a", "b")]
    for run in runs:
        run.mark_done()
    fresh = f"sqlite:///{tmp_path}/fresh.db"
    for run in runs:
        rebuild(run, fresh, "daso")
    assert family(MlflowClient(fresh)) == {"grid FINISHED": ["seed=0 FINISHED", "seed=1 FINISHED"]}


def test_runs_finished_without_this_store_are_counted_and_stand_under_the_sweep_once_they_are_mirrored(
    tmp_path, uri, client, train, tell, resolved, capsys
):
    sweep = Sweep(uri, "daso", "k1", "grid", "python train.py -m x", {"a": "seed=0", "b": "seed=1"})
    tell("start", sweep)
    train(sweep, "a")
    untracked = RunDir(tmp_path / "out", "b")
    untracked.path.mkdir()
    untracked.resolved.write_text(resolved)
    write_json(untracked.card, {"name": "digits s1", "tags": {}})
    untracked.mark_done()
    tell("finish", sweep, {"a": "FINISHED", "b": "FINISHED"})
    assert ": 1 of this sweep's runs; python -m daso.runs" in capsys.readouterr().err
    assert family(client) == {"grid FINISHED": ["seed=0 FINISHED"]}
    rebuild(untracked, uri, "daso")
    assert family(client) == {"grid FINISHED": ["seed=0 FINISHED", "seed=1 FINISHED"]}


def test_a_rebuilt_sweep_knows_its_command(tmp_path, uri, train, tell):
    from mlflow.tracking import MlflowClient

    sweep = Sweep(uri, "daso", "k1", "grid", "python train.py -m x", {"a": "seed=0"})
    tell("start", sweep)
    run = train(sweep, "a")
    fresh = f"sqlite:///{tmp_path}/fresh.db"
    rebuild(run, fresh, "daso")
    client = MlflowClient(fresh)
    (parent,) = client.search_runs(["1"], "tags.sweep_parent = 'k1'")
    assert (parent.data.tags["command"], parent.data.tags["runs"]) == ("python train.py -m x", "1")


def test_a_store_that_cannot_be_used_is_one_sentence(tmp_path, monkeypatch, capsys):
    order = {"action": "start", "sweep": vars(Sweep("sqlite:////proc/none/mlflow.db", "daso", "k", "grid"))}
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(order)))
    assert sweeps.main() == 1
    assert capsys.readouterr().err.count("\n") == 1
