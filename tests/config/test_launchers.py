"""The launchers under names of our own: how many jobs at once, and what a cluster is asked for."""

import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
import submitit
from hydra import compose, initialize_config_dir

from daso.machine import devices
from daso.settings.compose import register
from daso.sweep.callback import SweepReport
from daso.sweep.graph import NAMED
from daso.sweep.session import Session
from hydra_plugins.daso_slurm import leave_nothing
from tests.compose import CONF


def launcher(*overrides):
    register()
    with initialize_config_dir(CONF, version_base="1.3"):
        cfg = compose("config", [*overrides], return_hydra_config=True)
        return {key: cfg.hydra.launcher[key] for key in cfg.hydra.launcher}


@pytest.fixture
def machine(monkeypatch):
    def with_gpus(count):
        monkeypatch.setattr(devices, "visible_gpus", lambda: count)
        monkeypatch.setattr(devices, "usable_cores", lambda: list(range(12)))

    return with_gpus


@pytest.mark.parametrize(
    ("gpus", "overrides", "jobs"),
    [
        (8, [], 8),
        (8, ["jobs_per_device=2"], 16),
        (8, ["device=cpu", "train.threads=4"], 3),
        (0, [], 12),
        (8, ["hydra.launcher.n_jobs=5"], 5),
    ],
)
def test_one_machine_runs_a_job_a_device(machine, gpus, overrides, jobs):
    machine(gpus)
    node = launcher("hydra/launcher=joblib_gpu", *overrides)
    assert node["n_jobs"] == jobs
    assert int(node["batch_size"]) == 1


def test_a_cluster_is_asked_for_one_gpu_and_the_jobs_threads():
    node = launcher("hydra/launcher=slurm", "train.threads=4")
    assert (node["gpus_per_node"], node["cpus_per_task"]) == (1, 4)
    assert launcher("hydra/launcher=slurm", "device=cpu")["gpus_per_node"] is None


def test_a_cluster_restarts_a_job_as_often_as_it_takes():
    node = launcher("hydra/launcher=slurm")
    assert node["max_num_timeout"] >= 1000
    assert node["additional_parameters"]["requeue"] is True
    assert node["signal_delay_s"] >= 60


def test_without_a_launcher_of_its_own_a_sweep_runs_one_job_after_the_other():
    assert launcher()["_target_"].endswith("BasicLauncher")


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    """Submits jobs named `a` to `d` in this order, of which `c` waits for `a`, and `d` for `a` and `c`; gives, for each
    array, the jobs and what they depend on."""
    from hydra_plugins import daso_slurm

    arrays = []

    class Executor:
        folder = "logs"

        def __init__(self, **kwargs):
            pass

        def update_parameters(self, **parameters):
            self.dependency = parameters["slurm_additional_parameters"].get("dependency")

        def map_array(self, launcher, overrides, *columns):
            names = [given[-1].removeprefix(NAMED).strip("'") for given in overrides]
            arrays.append((names, columns[1], self.dependency))
            return [SimpleNamespace(job_id=f"{len(arrays)}_{i}", name=name) for i, name in enumerate(names)]

    def submit(**parameters):
        monkeypatch.setattr(submitit, "AutoExecutor", Executor)
        monkeypatch.setattr(daso_slurm, "wait", lambda jobs: [job.name for job in jobs])
        session = Session.start(tmp_path)
        session.share({"needs": {"c": ["a"], "d": ["a", "c"]}})
        monkeypatch.setattr(SweepReport, "session", session)
        slurm = object.__new__(daso_slurm.SlurmLauncher)
        usual = {"submitit_folder": f"{tmp_path}/logs/%j", "max_num_timeout": 0, "setup": None}
        slurm.params = usual | {"array_parallelism": 256, "additional_parameters": {"requeue": True}} | parameters
        returned = slurm.launch([[f"seed={i}", f"{NAMED}'{name}'"] for i, name in enumerate("abcd")], 5)
        session.close()
        assert returned == list("abcd")
        return arrays

    return submit


def test_a_cluster_holds_what_waits_for_others_in_its_queue_until_they_ended(cluster):
    assert cluster() == [(["a", "b"], [5, 6], None), (["c"], [7], "afterany:1_0"), (["d"], [8], "afterany:1_0:2_0")]


def test_a_cluster_runs_no_more_jobs_at_once_than_it_may_whatever_waits(cluster):
    dependencies = [dependency for _, _, dependency in cluster(array_parallelism=3)]
    assert dependencies == [None, "afterany:1_0:1_1", "afterany:1_0:1_1:2_0"]


def test_what_a_cluster_is_told_to_wait_for_is_waited_for_as_well(cluster):
    dependencies = [dependency for _, _, dependency in cluster(additional_parameters={"dependency": "afterok:9"})]
    assert dependencies == ["afterok:9", "afterok:9,afterany:1_0", "afterok:9,afterany:1_0:2_0"]


def test_what_a_cluster_writes_down_of_a_sweep_only_its_user_reads(cluster, tmp_path):
    cluster(setup=["export MLFLOW_TRACKING_PASSWORD=s3cret"])
    assert (tmp_path / "logs").stat().st_mode & 0o777 == 0o700
    (tmp_path / "logs").chmod(0o755)
    cluster()
    assert (tmp_path / "logs").stat().st_mode & 0o777 == 0o755  # as whoever made it left it


def test_no_cluster_and_one_that_takes_no_job_are_sentences_and_leave_nothing(sweep, tmp_path, monkeypatch):
    import mlflow.tracking  # noqa: F401  once, not in the process of each sweep

    monkeypatch.setattr(shutil, "which", lambda name: None)
    grid = ("experiment=quickstart", "seed=0,1", "hydra/launcher=slurm")
    tracked = ("track=mlflow", f"track.uri=sqlite:///{tmp_path}/m.db")
    code, _, err, _ = sweep(*grid, *tracked)
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("hydra/launcher=slurm is not possible: there is no SLURM here")
    assert sweep(*grid, "plan=true")[0] == 0
    monkeypatch.undo()
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("srun", "sbatch", "squeue"):
        (tools / name).write_text("#!/bin/sh\necho sbatch: error: no such partition >&2; exit 1\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=os.pathsep)
    code, _, err, _ = sweep(*grid, *tracked)
    assert (code, err.splitlines()[-1]) == (1, "SLURM took no job: sbatch: error: no such partition.")
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


def test_the_files_of_jobs_that_a_cluster_took_stay(tmp_path):
    one, other = f"{1:032x}", f"{2:032x}"
    for name in (f"{one}.pkl", f".submission_file_{one}.sh", f"4711_{other}.pkl", "4711_submission.sh"):
        (tmp_path / name).touch()
    leave_nothing(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"4711_{other}.pkl", "4711_submission.sh"}


def test_what_clears_up_behind_a_killed_sweep_says_nothing_of_it(sweep, monkeypatch):
    monkeypatch.setattr(sys, "warnoptions", [])
    sweep("experiment=quickstart", "seed=0,1", "hydra/launcher=joblib", "plan=true")
    (option,) = sys.warnoptions
    said = "resource_tracker: There appear to be 8 leaked semlock objects to clean up at shutdown"
    command = [sys.executable, "-W", option, "-c", f"import warnings; warnings.warn({said!r})"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stderr == ""
