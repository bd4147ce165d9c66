"""What MLflow is asked for, and what may be written to it in one call; imports it when first used."""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from daso.credentials import hold, mask, mask_all, mask_url
from daso.errors import UserError
from daso.track.address import VARIABLE, absolute, malformed, reveal, sqlite_file
from daso.track.follower import reason
from daso.track.jsonl import TIME, Row
from daso.track.store import Schema, prepare

DEFAULT_URI = "sqlite:///mlflow.db"  # what a bare `mlflow ui` opens
METRICS_PER_CALL = 1000  # the limits of MLflow's servers
PARAMS_PER_CALL = 100
PARAM_LENGTH = 6000
TAG_LENGTH = 8000
SETTINGS = {  # of MLflow, for whoever has not set them
    # Outages are waited out here, in the background and for as long as it takes, not inside one request.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",  # threads and requests of its own, to its makers
}
LOUD = ("mlflow", "alembic", "sqlalchemy", "urllib3")  # they print tracebacks of errors that they raise as well


def resolve_uri(configured: str) -> str:
    """The tracking store: `track.uri`, else the variable MLFLOW_TRACKING_URI, else `mlflow.db` where we are.

    With its credentials, which are masked from here on wherever the URL is shown. A relative SQLite path becomes
    absolute, so that a later change of directory does no harm.

    Raises:
        UserError: `configured` was recorded without its credentials, and nothing says them; the URL cannot be read.
    """
    uri = reveal(configured) or os.environ.get(VARIABLE) or DEFAULT_URI
    key = "track.uri" if configured else VARIABLE
    masked = hold(uri)
    if wrong := malformed(uri):
        raise UserError(f"{key}={masked} is not possible: {wrong}.")
    return absolute(uri)


def init_store(uri: str) -> None:
    """Make the store if it is not there; many processes may call this at once.

    Raises:
        UserError: the store cannot be used.
    """
    with sentences(uri):
        connect(uri)


def connect(uri: str, note: Callable[[str], None] | None = None) -> Any:
    """A client for a store that is there and answers.

    Args:
        uri: the store, with its credentials.
        note: told in a sentence what was done to a store that was there already; standard error by default.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    from mlflow.tracking import MlflowClient

    for name in LOUD:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    path = sqlite_file(uri)
    if path is not None and (said := prepare(path, Schema(_make, _upgrade, _revisions))):
        (note or (lambda text: print(text, file=sys.stderr)))(said)
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    client.search_experiments(max_results=1)
    return client


def _make(path: Path) -> None:
    """Write the tables and the experiment `Default` into a new file."""
    from mlflow.store.db.utils import _initialize_tables
    from mlflow.tracking import MlflowClient

    _on_file(path, _initialize_tables)
    uri = f"sqlite:///{path}"
    MlflowClient(tracking_uri=uri, registry_uri=uri).search_experiments(max_results=1)


def _upgrade(path: Path) -> None:
    from mlflow.store.db.utils import _upgrade_db

    _on_file(path, _upgrade_db)


def _revisions() -> list[str]:
    from alembic.script import ScriptDirectory
    from mlflow.store.db import utils

    folder = Path(utils.__file__).parents[1] / "db_migrations"
    return [script.revision for script in ScriptDirectory(str(folder)).walk_revisions()]


def _on_file(path: Path, change: Callable[[Any], None]) -> None:
    """Change a file that nobody else knows yet, without waiting for the disk after each of many transactions."""
    from sqlalchemy import create_engine, event

    engine = create_engine(f"sqlite:///{path}")
    event.listen(engine, "connect", lambda connection, record: connection.execute("PRAGMA synchronous = OFF"))
    try:
        change(engine)
    finally:
        engine.dispose()


def active_run(client: Any, run_id: str) -> Any | None:
    """A run of MLflow's; None if it is not there, or in the trash."""
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return found if found.info.lifecycle_stage == "active" else None


def experiment_named(client: Any, uri: str, name: str) -> str:
    """The id of an experiment, which is created if need be."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, _artifact_location(uri, name)))
        except MlflowException:  # another process was faster
            found = client.get_experiment_by_name(name)
    if found is None or found.lifecycle_stage != "active":
        raise UserError(f"track.experiment={name} was deleted in {mask_url(uri)}: restore it or choose another.")
    return str(found.experiment_id)


def _artifact_location(uri: str, name: str) -> str | None:
    """Beside a SQLite file, wherever the run was started; elsewhere (None) the server knows best."""
    path = sqlite_file(uri)
    return None if path is None else (path.absolute().parent / "mlruns" / quote(name, safe="")).as_uri()


def log_file(client: Any, run_id: str, path: Path, folder: str | None = None) -> None:
    """Upload a file; a text without credentials that an earlier version may have written into it."""
    if path.suffix in (".yaml", ".json"):
        client.log_text(run_id, mask(path.read_text()), path.name)
    else:
        client.log_artifact(run_id, str(path), folder)


def set_tags(client: Any, run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags of a run, in one call."""
    from mlflow.entities import RunTag

    client.log_batch(run_id, tags=[RunTag(*tag) for tag in tags.items()])


def log_params(client: Any, run_id: str, config: Mapping[str, Any]) -> None:
    """Log the flattened configuration; parameters that are there already stay, MLflow never changes one."""
    from mlflow.entities import Param

    there = client.get_run(run_id).data.params
    params = [Param(key, value[:PARAM_LENGTH]) for key, value in flatten(mask_all(config)).items() if key not in there]
    for part in _parts(params, PARAMS_PER_CALL):
        client.log_batch(run_id, params=part)


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """A nested configuration as {"a.b": "value"}; lists in JSON."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list) else str(value)
    return flat


def points(rows: Sequence[Row]) -> Iterator[list[Any]]:
    """The numbers of rows of a journal as MLflow's points, stamped with their time, as many at once as a call takes."""
    from mlflow.entities import Metric

    found = [
        Metric(name, value, milliseconds(row[TIME]), row["step"])
        for row in rows
        for name, value in row.items()
        if name not in ("event", "step", TIME) and value is not None
    ]
    return _parts(found, METRICS_PER_CALL)


def milliseconds(seconds: float) -> int:
    """A time as MLflow counts it."""
    return round(seconds * 1000)


@contextmanager
def sentences(uri: str, tracker: str = "mlflow") -> Iterator[None]:
    """Turn whatever a tracker's library raises into a `UserError`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        place = f"track.uri={mask_url(uri)}" if tracker == "mlflow" else f"track={tracker}"
        raise UserError(f"{place} cannot be used: {reason(error)}.") from error


def _parts(items: list[Any], size: int) -> Iterator[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
