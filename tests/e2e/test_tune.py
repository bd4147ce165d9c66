"""A study through the command line: killed in the middle, it goes on; its figures land in MLflow."""

import signal
import time

import optuna
import pytest

from daso.outputs.rundir import RunDir
from tests import warm

SHORT = ["train.steps=20", "train.eval_every=10", "daso.warmup_steps=range(10,15,1)", "device=cpu"]
SHORT += ["train.batch_size=8"]


def start(folder, *arguments):
    return warm.start(folder, "-m", "experiment=tune_quickstart", *SHORT, *arguments, merged=True)


def trials(folder):
    return optuna.load_study(study_name="quickstart", storage=f"sqlite:///{folder}/outputs/studies.db").trials


def states(folder):
    return [trial.state.name for trial in trials(folder)]


def finish(process):
    out, _ = process.communicate(timeout=300)
    return process.returncode, out


def test_a_killed_study_goes_on_and_repeats_no_trial(tmp_path):
    arguments = ["track=none", "tune.n_trials=3", "tune.seeds=[0,1]"]
    process = start(tmp_path, *arguments)
    for line in process.stdout:
        if line.startswith("Trial 0:"):
            break
    end = time.monotonic() + 60
    while states(tmp_path) != ["COMPLETE", "RUNNING"] and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert states(tmp_path) == ["COMPLETE", "RUNNING"]

    code, out = finish(start(tmp_path, *arguments))
    assert code == 0, out
    assert "1 of 3 trials are complete" in out
    assert states(tmp_path) == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    killed, repeated = (trial.params for trial in trials(tmp_path)[1:3])
    assert killed.items() <= repeated.items()  # fewer, if the kill came while its values were being drawn
    tried = {tuple(trial.params.items()) for trial in trials(tmp_path) if trial.value is not None}
    assert len(tried) == 3
    runs = [key for trial in trials(tmp_path) for key in trial.user_attrs.get("runs", [])]
    assert len(set(runs)) == 6
    assert all(RunDir(tmp_path / "outputs", key).done.exists() for key in runs)

    code, out = finish(start(tmp_path, *arguments))
    assert code == 0
    assert "3 of 3 trials are complete" in out
    assert len(trials(tmp_path)) == 4


def test_the_figures_of_a_study_land_in_the_mlflow_run_that_its_runs_name(tmp_path):
    from mlflow.tracking import MlflowClient

    code, out = finish(start(tmp_path, "tune.n_trials=2", "tune.seeds=[0]"))
    assert code == 0, out
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiments = [found.experiment_id for found in client.search_experiments() if found.name.startswith("daso")]
    runs = {run.info.run_name: run for run in client.search_runs(experiments)}
    study = runs["study quickstart"]
    files = [file.path for file in client.list_artifacts(study.info.run_id, "study")]
    assert {"study/history.png", "study/importance.png", "study/best.yaml", "study/trials.csv"} == set(files)
    points = client.get_metric_history(study.info.run_id, "tune/value")
    assert [(point.step, point.value) for point in points] == [
        (t.number, pytest.approx(t.value)) for t in trials(tmp_path)
    ]
    for trial in trials(tmp_path):
        job = runs[f"trial {trial.number} seed=0"]
        assert job.data.tags["sweep_run"] == study.info.run_id
