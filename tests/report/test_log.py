"""Tables, figures and pages in MLflow."""

from daso.report.__main__ import main
from daso.report.log import EXPERIMENT, log_files
from tests.report.fake import C10, record


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


def test_a_table_and_the_page_reach_the_same_place_as_figures(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    record(tmp_path / "runs", (*C10, "algorithm=fixmatch"), 0, 70.0, **{f"test/class/{k}": 70.0 for k in range(10)})
    for what in ("table=mine", "html=report.html"):
        assert main([what, "runs=runs", "mlflow=true"]) == 0
    assert capsys.readouterr().out.count("logged 1 file to MLflow run") == 2

    from mlflow import MlflowClient
    from mlflow.artifacts import load_text

    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    found = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
    files = {run.info.run_name: [file.path for file in client.list_artifacts(run.info.run_id)] for run in found}
    assert files == {"table mine": ["table_mine.md"], "report": ["report.html"]}
    (table,) = [run for run in found if run.info.run_name == "table mine"]
    assert "| fixmatch | 70.0 (1)†" in load_text(f"{table.info.artifact_uri}/table_mine.md")
