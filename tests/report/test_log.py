"""Figures in MLflow."""

from daso.report.log import EXPERIMENT, log_files


def test_files_become_artifacts_of_a_run_that_is_not_one_of_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    picture = tmp_path / "figure2.svg"
    picture.write_text("<svg/>")
    sentence = log_files([picture], "figure 2")

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name(EXPERIMENT)
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_id in sentence
    assert (run.info.run_name, run.info.status) == ("figure 2", "FINISHED")
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["figure2.svg"]
    assert experiment.artifact_location == (tmp_path / "mlruns" / EXPERIMENT).as_uri()
