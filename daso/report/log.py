"""Tables, figures and pages of a report as artifacts of an MLflow run of their own."""

from collections.abc import Sequence
from pathlib import Path

from daso.credentials import mask_url
from daso.report.stats import counted
from daso.track.mlflow import connect, experiment_named, resolve_uri, sentences

EXPERIMENT = "daso-reports"


def log_files(files: Sequence[Path], name: str) -> str:
    """Upload files to the store of MLFLOW_TRACKING_URI, else `mlflow.db` here; returns a sentence that says where.

    Raises:
        UserError: the store cannot be used.
    """
    uri = resolve_uri("")
    with sentences(uri):
        client = connect(uri)
        run_id = client.create_run(experiment_named(client, uri, EXPERIMENT), run_name=name).info.run_id
        for file in files:
            client.log_artifact(run_id, str(file))
        client.set_terminated(run_id)
    return f"logged {counted(len(files), 'file')} to MLflow run {run_id} in {mask_url(uri)}"
