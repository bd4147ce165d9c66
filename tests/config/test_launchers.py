"""The launchers under names of our own: how many jobs at once, and what a cluster is asked for."""

import pytest
from hydra import compose, initialize_config_dir

from daso.machine import devices
from daso.settings.compose import register
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
