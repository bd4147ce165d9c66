"""A sweep in MLflow is one run with its jobs under it: when jobs are killed, sweeps overlap, or all is rebuilt."""

import errno
import io
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from daso.outputs.files import read_json, write_json
from daso.outputs.rundir import RunDir
from daso.run.training import _tags
from daso.settings.identity import to_yaml
from daso.track import sweeps
from daso.track.jsonl import Journal
from daso.track.mirror import Remote, rebuild
from daso.track.sweeps import Sweep
from tests.compose import NOWHERE, config_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def resolved():
    return to_yaml(config_of("experiment=quickstart"))


@pytest.fixture
def uri(tmp_path, empty_store):
    return f"sqlite:///{shutil.copy(empty_store, tmp_path)}"


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


def of(client, experiment):
    return client.get_experiment_by_name(experiment).experiment_id


def family(client):
    """Names and states of sweeps, and those of their runs."""
    runs, sweeps = (client.search_runs([of(client, name)]) for name in ("daso", "daso-sweeps"))
    names = {run.info.run_id: f"{run.info.run_name} {run.info.status}" for run in sweeps}
    found = {}
    for run in runs:
        assert "mlflow.parentRunId" not in run.data.tags  # by which MLflow would fold it away
        if parent := run.data.tags.get("sweep_run"):
            found.setdefault(names[parent], []).append(f"{run.info.run_name} {run.info.status}")
    assert not any("sweep_parent" in run.data.tags for run in runs)  # which a chart would draw
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


def test_what_the_docs_type_into_the_search_box_finds_runs(uri, client, train, tell):
    class Digits(Sweep):
        @property
        def tags(self):
            return super().tags | {tag: asked[tag] for tag in ("dataset", "method", "gamma_u")}

    asked = _tags(config_of("experiment=quickstart"), NOWHERE)
    sweep = Digits(uri, "daso", "k1", "quickstart: algorithm, seed", "", {"a": "fixmatch seed=0"})
    tell("start", sweep)
    train(sweep, "a")
    texts = [(ROOT / name).read_text() for name in ("README.md", "docs/tracking.md")]
    strings = [found for text in texts for found in re.findall(r'^(?:.*`)?(tags\.\w+ = "[^`\n]*)', text, re.MULTILINE)]
    assert len(strings) > 3
    for string in strings:
        assert len(client.search_runs([of(client, "daso")], string)) == 1, string
    (parent,) = client.search_runs([of(client, "daso-sweeps")], 'tags.sweep_parent = "k1"')
    assert parent.info.run_name == "quickstart: algorithm, seed"


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
    (parent,) = client.search_runs([of(client, "daso-sweeps")], "tags.sweep_parent = 'k1'")
    assert (parent.data.tags["command"], parent.data.tags["runs"]) == ("python train.py -m x", "1")


def test_runs_in_the_trash_break_no_sweep_that_contains_them(tmp_path, uri, client, train, tell, capsys):
    small = Sweep(uri, "daso", "k1", "small", "", {"a": "digits s0"})
    large = Sweep(uri, "daso", "k2", "large", "", {"a": "seed=0", "b": "seed=1", "c": "seed=2"})
    tell("start", small)
    runs = [train(small, key) for key in "a"] + [train(large, key, None) for key in "bc"]
    for run in runs[:2]:
        client.delete_run(read_json(run.mirror)["run_id"])
    note = read_json(runs[2].mirror)
    write_json(runs[2].mirror, note | {"run_id": "0" * 32})  # removed for good, as by mlflow gc
    tell("start", large)
    tell("finish", large, {"a": "FINISHED", "b": "KILLED", "c": "FINISHED"})
    assert ": 2 of this sweep's runs; python -m daso.runs" in capsys.readouterr().err
    for run in runs:
        rebuild(run, uri, "daso")
    assert family(client) == {"large KILLED": ["seed=0 KILLED", "seed=1 KILLED", "seed=2 KILLED"]}


def test_a_sweep_whose_parent_is_in_the_trash_gets_another_one(uri, client, train, tell):
    sweep = Sweep(uri, "daso", "k1", "grid", "", {"a": "seed=0", "b": "seed=1"})
    tell("start", sweep)
    train(sweep, "a")
    (parent,) = client.search_runs([of(client, "daso-sweeps")], "tags.sweep_parent = 'k1'")
    client.delete_run(parent.info.run_id)
    train(sweep, "b")
    tell("finish", sweep, {"a": "FINISHED", "b": "FINISHED"})
    assert family(client) == {"grid FINISHED": ["seed=0 FINISHED", "seed=1 FINISHED"]}


def test_a_run_that_did_not_arrive_whole_is_counted(uri, client, train, tell, capsys):
    sweep = Sweep(uri, "daso", "k1", "grid", "", {"a": "seed=0", "b": "seed=1"})
    tell("start", sweep)
    train(sweep, "a")
    train(sweep, "b", None)  # the server hung at its end
    tell("finish", sweep, {"a": "FINISHED", "b": "FINISHED"})
    assert "or not whole: 1 of this sweep's runs" in capsys.readouterr().err


def test_a_server_that_never_answers_costs_a_sweep_seconds_and_one_line(silent_server, monkeypatch, capsys):
    monkeypatch.setattr(sweeps, "STALL", 1.0)
    sweep = Sweep(f"http://ann:s3cret@{silent_server}", "my own", "k1", "grid", "", {"a": "seed=0"})
    for action in ("start", "finish"):
        order = {"action": action, "sweep": vars(sweep), "root": "my runs", "ends": {"a": "FINISHED"}}
        monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(order)))
        began = time.monotonic()
        assert sweeps.main() == 1
        assert time.monotonic() - began < 4
    first, second = capsys.readouterr().err.splitlines()
    assert "tried again at the end" in first
    assert second.startswith(
        f"MLflow at http://***@{silent_server} cannot be shown the sweep as one (it does not answer"
    )
    assert "`python -m daso.runs --root 'my runs' mirror all --uri URL --experiment 'my own'`" in second


def test_a_process_that_cannot_be_started_ends_no_sweep(monkeypatch, capsys):
    def full(*args, **kwargs):
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "run", full)
    sweeps.start(Sweep("", "daso"))
    sweeps.start(Sweep("http://***@host", "daso"))
    first, second = capsys.readouterr().err.splitlines()
    assert "Resource temporarily unavailable" in first
    assert "*** stands for credentials" in second


def test_a_store_that_cannot_be_used_is_one_sentence(tmp_path, monkeypatch, capsys):
    order = {"action": "start", "sweep": vars(Sweep("sqlite:////proc/none/mlflow.db", "daso", "k", "grid"))}
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(order)))
    assert sweeps.main() == 1
    assert capsys.readouterr().err.count("\n") == 1
