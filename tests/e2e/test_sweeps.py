"""Sweeps through the command line, in processes of their own: killed, interrupted, repeated."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from daso.outputs.files import read_json
from daso.outputs.rundir import RunDir, RunState
from daso.sweep.session import Session
from daso.track.jsonl import read
from tests import warm

ROOT = Path(__file__).resolve().parents[2]
RUN = ["experiment=quickstart", "algorithm=fixmatch", "train.eval_every=10", "train.checkpoint_every=1000"]
RUN += ["train.batch_size=8"]
PARALLEL = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]


class Sweep:
    """Command lines of one sweep, in a folder of their own."""

    def __init__(self, folder, *arguments):
        self.out = folder / "out"
        self.arguments = [*RUN, f"out_root={self.out}", *arguments]

    def start(self, *more):
        return warm.start(self.out.parent, "-m", *self.arguments, *more, merged=True, MLFLOW_RUN_ID="0" * 32)

    def finish(self, process, timeout=120):
        output = process.communicate(timeout=timeout)[0]
        return process.returncode, output

    def runs(self):
        folders = [path for path in self.out.glob("*") if path.name[0] != "."]
        return {read_json(path / "run.json")["name"]: RunDir(self.out, path.name) for path in folders}

    def wait(self, ready, timeout=60):
        """Wait for something to be true of the runs by name; gives them."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            try:
                if ready(self.runs()):
                    return self.runs()
            except (TypeError, KeyError):  # a run is about to appear
                pass
            time.sleep(0.05)
        raise TimeoutError


def steps(run):
    return [row["step"] for row in read(run.metrics) if row["event"] == "eval"]


def holder(run):
    return json.loads((run.path / "lock.json").read_text())["pid"]


def under_way(name, step=10):
    return lambda runs: name in runs and steps(runs[name])[-1:] >= [step] and runs[name].state() is RunState.running


def test_a_sweep_whose_parent_is_killed_goes_on_where_it_was(tmp_path):
    sweep = Sweep(tmp_path, "track=none", "seed=0,1", "train.steps=60")
    parent = sweep.start()
    runs = sweep.wait(under_way("seed=1"))
    first, second = runs["seed=0"], runs["seed=1"]
    done = first.done.read_text()
    parent.kill()
    killed = time.monotonic()
    sweep.wait(lambda runs: second.state() is not RunState.running)
    assert time.monotonic() - killed < 10
    assert second.checkpoint.exists()  # long before the first one was due

    code, output = sweep.finish(sweep.start())
    assert code == 0, output
    assert "going on from" in output
    assert "2 of 2 jobs finished" in output
    assert first.done.read_text() == done  # not trained again
    assert steps(second) == [10, 20, 30, 40, 50, 60]
    assert sorted(sweep.runs()) == ["seed=0", "seed=1"]


def test_a_job_killed_under_a_parallel_launcher_is_reported_and_retried(tmp_path):
    sweep = Sweep(tmp_path, "track=none", "seed=0,1,2", "train.steps=60", *PARALLEL)
    parent = sweep.start()
    victim = sweep.wait(under_way("seed=1"))["seed=1"]
    os.kill(holder(victim), signal.SIGKILL)
    code, output = sweep.finish(parent)
    assert (code, "2 of 3 jobs finished" in output) == (1, True), output
    assert "killed by SIGKILL, perhaps for its memory" in output
    assert "killed by SIGKILL" in victim.reason()
    assert "seed=0 | step 60/60" in output  # who said what, where two speak at once
    assert sweep.finish(sweep.start())[0] == 0
    assert {run.state() for run in sweep.runs().values()} == {RunState.done}


def test_a_job_that_memory_does_not_suffice_for_is_reported_and_the_others_run(tmp_path):
    sweep = Sweep(
        tmp_path, "track=none", "device=cpu", "train.batch_size=65536,4,2", "train.mu=1024", "train.steps=1", *PARALLEL
    )
    before = resource.getrlimit(resource.RLIMIT_AS)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (6 << 30, before[1]))
        parent = sweep.start()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    code, output = sweep.finish(parent)
    assert (code, "2 of 3 jobs finished" in output) == (1, True), output
    assert "cpu is out of memory: a smaller train.batch_size or train.mu" in sweep.runs()["batch_size=65536"].reason()
    assert "Traceback" not in output


@pytest.mark.slow
def test_jobs_that_go_down_with_a_worker_are_started_again(tmp_path):
    sweep = Sweep(tmp_path, "track=none", "seed=0,1,2", "train.steps=60", *PARALLEL)
    parent = sweep.start()
    runs = sweep.wait(lambda runs: under_way("seed=0")(runs) and under_way("seed=1")(runs))
    worker = os.popen(f"ps -o ppid= -p {holder(runs['seed=0'])}").read()
    os.kill(int(worker), signal.SIGKILL)
    code, output = sweep.finish(parent)
    assert (code, "3 of 3 jobs finished" in output) == (0, True), output
    assert all(steps(run) == [10, 20, 30, 40, 50, 60] for run in sweep.runs().values())


@pytest.mark.parametrize(
    ("signum", "launcher"),
    [
        pytest.param(signal.SIGINT, [], id="SIGINT, one job at a time"),
        pytest.param(signal.SIGTERM, PARALLEL, id="SIGTERM, several"),
        pytest.param(signal.SIGTERM, [], id="SIGTERM, one job at a time", marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, PARALLEL, id="SIGINT, several", marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_a_sweep_with_checkpoints_and_a_table(tmp_path, launcher, signum):
    sweep = Sweep(tmp_path, "track=none", "seed=0,1,2,3", "train.steps=400", *launcher)
    parent = sweep.start()
    running = sweep.wait(under_way("seed=0"))["seed=0"]
    parent.send_signal(signum)
    code, output = sweep.finish(parent, timeout=30)
    assert (code, output.count("STOPPED")) == (128 + signum, 4), output
    assert running.checkpoint.exists()
    assert running.state() is RunState.partial


@pytest.mark.slow
def test_jobs_of_a_killed_parallel_sweep_end_with_checkpoints(tmp_path):
    sweep = Sweep(tmp_path, "track=none", "seed=0,1,2,3", "train.steps=400", *PARALLEL)
    parent = sweep.start()
    runs = sweep.wait(lambda runs: under_way("seed=0")(runs) and under_way("seed=1")(runs))
    parent.kill()
    killed = time.monotonic()
    sweep.wait(lambda _: RunState.running not in {run.state() for run in runs.values()})
    assert time.monotonic() - killed < 10
    time.sleep(3)
    assert sorted(sweep.runs()) == ["seed=0", "seed=1"]  # no orphan starts the others
    assert all(run.checkpoint.exists() for run in runs.values())


def test_mlflow_shows_a_sweep_as_one_run_with_its_jobs_under_it(tmp_path):
    from mlflow.tracking import MlflowClient

    store = f"sqlite:///{tmp_path}/mlflow.db"
    sweep = Sweep(tmp_path, f"track.uri={store}", "algorithm=fixmatch,supervised", "daso=none", "train.steps=20")
    sweep.arguments.remove("algorithm=fixmatch")
    code, output = sweep.finish(sweep.start())
    assert code == 0, output

    client = MlflowClient(store)
    runs, sweeps = (client.get_experiment_by_name(name).experiment_id for name in ("daso", "daso-sweeps"))
    search = lambda text, where=runs: client.search_runs([where], text)  # noqa: E731
    (parent,) = (run.info for run in search("tags.command LIKE '%train.py%'", sweeps))
    assert (parent.run_name, parent.status) == ("quickstart: algorithm", "FINISHED")
    children = search(f"tags.sweep_run = '{parent.run_id}'")
    assert sorted(run.info.run_name for run in children) == ["fixmatch", "supervised"]
    filters = ["tags.dataset = 'digits'", "tags.gamma_l = '10'", "tags.gamma_u = '1'", "params.`imb.n1` = '20'"]
    assert [len(search(text)) for text in filters] == [2] * 4
    assert len(search("tags.algorithm = 'fixmatch'")) == 1
    steps = {run.info.run_name: client.get_metric_history(run.info.run_id, "test/top1") for run in children}
    assert {name: [point.step for point in points] for name, points in steps.items()} == {
        "fixmatch": [10, 20],
        "supervised": [10, 20],
    }


def test_parallel_jobs_on_a_fresh_store_lose_nothing(tmp_path):
    from mlflow.tracking import MlflowClient

    store = f"sqlite:///{tmp_path}/mlflow.db"
    sweep = Sweep(tmp_path, f"track.uri={store}", "seed=range(5)", "train.steps=2", *PARALLEL[:1])
    code, output = sweep.finish(sweep.start("hydra.launcher.n_jobs=5", "train.eval_every=1"), timeout=400)
    assert code == 0, output
    client = MlflowClient(store)
    runs = client.search_runs([client.get_experiment_by_name("daso").experiment_id], "tags.dataset = 'digits'")
    assert {run.info.run_name: run.info.status for run in runs} == {f"seed={seed}": "FINISHED" for seed in range(5)}
    assert len({run.data.tags["sweep_run"] for run in runs}) == 1
    points = [[point.step for point in client.get_metric_history(run.info.run_id, "test/top1")] for run in runs]
    assert points == [[1, 2]] * 5


def finished(out, key):
    """What a finished run leaves, as far as a sweep looks."""
    run = RunDir(out, key)
    run.path.mkdir(parents=True)
    run.summary.write_text('{"test/top1_median20": 50.0, "code": "another"}')
    run.mark_done()


def cpu_seconds(command, folder):
    """CPU seconds of a command and its children, and what it says."""
    before = os.times()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return spent, done


@pytest.mark.parametrize("several", [4, pytest.param(25, marks=pytest.mark.slow)])
def test_jobs_are_planned_and_skipped_fast(tmp_path, several):
    algorithms = sorted(path.stem for path in (ROOT / "conf" / "algorithm").glob("*.yaml"))[:several]
    number = 20 * len(algorithms)
    arguments = [f"algorithm={','.join(algorithms)}", "optim=ssl,supervised", "seed=range(10)"]
    program = [sys.executable, str(ROOT / "train.py"), "-m", "track=none"]
    one, _ = cpu_seconds([*program, "plan=true"], tmp_path)  # how fast this machine is: 1.5 s on a slow one
    command = [*program, *arguments, f"out_root={tmp_path / 'out'}"]
    spent, done = cpu_seconds([*command, "plan=full"], tmp_path)
    assert done.returncode == 0, done.stderr
    keys = [line.split()[1] for line in done.stdout.splitlines() if " new " in line and "seed=" in line]
    assert "runs  " in done.stdout
    assert len(keys) >= number
    assert not (tmp_path / "out").exists()
    assert spent < one * (2.5 + 0.01 * number)

    for key in keys:
        finished(tmp_path / "out", key)
    spent, done = cpu_seconds(command, tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{number} of {number} jobs finished" in done.stdout
    assert "made by code another" in done.stderr
    assert spent < one * (4 + 0.035 * number)


def test_what_killed_sweeps_left_is_removed(tmp_path):
    left = tmp_path / ".sweep-left"
    left.mkdir()
    session = Session.start(tmp_path)
    assert not left.exists()
    other = Session.start(tmp_path)
    assert session.folder.exists()
    for each in (session, other):
        each.close()
    assert list(tmp_path.iterdir()) == []


def test_what_is_imported_before_the_forks_does_not_touch_the_gpu():
    program = "import torch; from daso.command import program; torch._C._cuda_getDeviceCount = None; program.prepare()"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
