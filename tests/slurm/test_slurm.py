"""Sweeps on a real SLURM cluster of one node: jobs that it stops go back into the queue and end as if nothing had been."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from daso.outputs.rundir import RunDir
from daso.track.jsonl import TIME, read
from tests.compose import tiny

pytestmark = pytest.mark.slurm

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 600  # seconds; a busy machine takes five times as long as an idle one
TINY = ["experiment=quickstart", "track=none", "device=cpu", "train.log_every=5", "train.checkpoint_every=100000"]
TINY += ["train.steps=600", "train.eval_every=200", "daso.warmup_steps=100", "daso.update_every=10"]


@pytest.fixture(scope="module", autouse=True)
def cluster():
    script = str(ROOT / "tests/slurm/one_node.sh")
    with FileLock("/var/tmp/daso-slurm.lock"):  # a machine has one cluster: another test of it comes first or after
        try:
            subprocess.run([script, "start"], check=True)
            yield
        finally:
            subprocess.run([script, "stop"], check=True)


@pytest.fixture
def sweep(tmp_path):
    """Starts a sweep on the cluster from a folder that is not the project's."""
    started = []

    def start(*arguments):
        command = [sys.executable, str(ROOT / "train.py"), "-m", *TINY, "out_root=cluster", "hydra/launcher=slurm"]
        process = subprocess.Popen(
            [*command, *arguments], cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
    subprocess.run(["scancel", "--me"], check=True)


def until(true, what):
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, f"not in {PATIENCE} s: {what}"
        time.sleep(0.1)


def jobs():
    """SLURM's jobs and their states."""
    answer = subprocess.run(["squeue", "--me", "-h", "-r", "-o", "%i %T"], capture_output=True, text=True, check=True)
    return dict(line.split() for line in answer.stdout.splitlines())


def job_of(seed):
    """The job that runs a seed: the seeds are the tasks of one array, in their order."""
    return next((job for job in jobs() if job.endswith(f"_{seed}")), None)


def under_way(folder, seed):
    run = RunDir(folder, tiny(*TINY, f"seed={seed}").run_key)
    until(lambda: run.metrics.exists() and run.metrics.stat().st_size, f"the first rows of seed {seed}")
    return run


def measured(run):
    return [{k: v for k, v in row.items() if not k.startswith((TIME, "time/", "memory/"))} for row in read(run.metrics)]


def stopped(run, before=0):
    """When the checkpoint that only a stop writes was written, later than `before`."""
    until(lambda: run.checkpoint.exists() and run.checkpoint.stat().st_mtime_ns > before, "a checkpoint")
    assert not run.done.exists()
    return run.checkpoint.stat().st_mtime_ns


def test_stopped_jobs_are_requeued_and_end_with_the_undisturbed_numbers(sweep, tmp_path):
    process = sweep("seed=0,1", "track.uri='http://ann:s3cret@127.0.0.1:9'", "hydra.output_subdir=.hydra")
    twice = under_way(tmp_path / "cluster", 0)
    subprocess.run(["scancel", "--signal=USR2", job_of(0)], check=True)  # what comes before the time limit
    first = stopped(twice)
    so_far = twice.metrics.stat().st_size
    once = under_way(tmp_path / "cluster", 1)  # beside the other, or, where a core is all there is, in its place
    subprocess.run(["scontrol", "requeue", job_of(1)], check=True)
    stopped(once)
    until(lambda: twice.metrics.stat().st_size > so_far, "rows after the restart")
    subprocess.run(["scancel", "--signal=TERM", job_of(0)], check=True)  # what pre-emption begins with
    stopped(twice, first)
    alone = [sys.executable, str(ROOT / "train.py"), "-m", *TINY, "out_root=alone", "seed=0,1"]
    subprocess.run(alone, cwd=tmp_path, check=True, capture_output=True)  # while the cluster lets the jobs wait
    out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, out
    assert "2 of 2 jobs finished" in out
    for run in (twice, once):
        assert measured(run) == measured(RunDir(tmp_path / "alone", run.key))
    assert "s3cret" not in out
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"DONE", "overrides.yaml", "hydra.yaml"} <= {path.name for path in files}
    assert [str(path) for path in files if b"s3cret" in path.read_bytes() and not private(path, tmp_path)] == []


def private(path, below):
    """Whether a file, or a folder `below` another one that it lies in, is its user's alone."""
    return path != below and (not path.stat().st_mode & 0o077 or private(path.parent, below))


def test_a_cancelled_job_is_reported_and_the_others_finish(sweep, tmp_path):
    process = sweep("seed=0,1")
    run = under_way(tmp_path / "cluster", 0)
    subprocess.run(["scancel", job_of(0)], check=True)
    out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1, out
    assert "1 of 2 jobs finished" in out
    assert "without a result" in out
    assert run.checkpoint.exists()


def test_an_interrupt_of_the_sweep_ends_its_jobs_with_a_checkpoint(sweep, tmp_path):
    process = sweep("seed=0,1,2", "train.steps=100000")
    other = tiny(*TINY, "train.steps=100000", "seed=0")
    run = RunDir(tmp_path / "cluster", other.run_key)
    until(lambda: run.metrics.exists() and run.metrics.stat().st_size, "the first rows")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + signal.SIGINT, out
    until(lambda: not jobs(), "an empty queue")
    assert run.checkpoint.exists()


def test_a_run_waits_for_its_stage_in_the_queue_even_while_that_is_requeued(sweep, tmp_path):
    process = sweep("algorithm=supervised_crt,supervised", "daso=none", "seed=0")
    stage, run = (
        RunDir(tmp_path / "cluster", tiny(*TINY, f"algorithm={name}", "daso=none", "seed=0").run_key)
        for name in ("supervised", "supervised_crt")
    )
    until(lambda: stage.metrics.exists() and stage.metrics.stat().st_size, "the first rows of the stage")
    (first,) = (job for job, state in jobs().items() if state == "RUNNING")
    (second,) = jobs().keys() - {first}
    subprocess.run(["scancel", "--signal=USR2", first], check=True)
    stopped(stage)
    states = set()
    while not stage.done.exists():
        states.add(jobs().get(second))
        time.sleep(0.2)
    assert states == {"PENDING"}
    out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, out
    assert "2 of 2 jobs finished" in out
    assert next(iter(read(run.metrics)))[TIME] > stage.done.stat().st_mtime


def test_a_job_asks_for_what_its_configuration_needs(sweep):
    sweep("seed=0", "train.threads=2", "hydra.launcher.timeout_min=7")
    until(jobs, "a job")
    shown = subprocess.run(["scontrol", "show", "job", next(iter(jobs()))], capture_output=True, text=True, check=True)
    assert "NumCPUs=2" in shown.stdout
    assert "TimeLimit=00:07:00" in shown.stdout
    assert "Requeue=1" in shown.stdout
