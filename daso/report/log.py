"""Figures of a report as artifacts of an MLflow run of their own."""

from collections.abc import Sequence
from pathlib import Path

from daso.errors import UserError
from daso.track.mlflow import init_store, resolve_uri

EXPERIMENT = "daso-reports"
SQLITE = "sqlite:///"


def log_files(files: Sequence[Path], name: str) -> str:
    """Upload files to the store of MLFLOW_TRACKING_URI, else `mlflow.db` here; returns a sentence that says where.

    Raises:
        UserError: the store cannot be used.
    """
    uri = resolve_uri("")
    init_store(uri)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    try:
        experiment = client.get_experiment_by_name(EXPERIMENT)
        beside = (Path(uri.removeprefix(SQLITE)).parent / "mlruns" / EXPERIMENT).as_uri() if SQLITE in uri else None
        known = experiment.experiment_id if experiment else client.create_experiment(EXPERIMENT, beside)
        run_id = client.create_run(known, run_name=name).info.run_id
        for file in files:
            client.log_artifact(run_id, str(file))
        client.set_terminated(run_id)
    except (MlflowException, OSError) as error:
        raise UserError(f"MLflow at {uri} did not take the files: {str(error).splitlines()[0]}.") from error
    return f"logged {len(files)} files to MLflow run {run_id} in {uri}"
