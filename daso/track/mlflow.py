"""The store of MLflow, and what may be written to it in one call; imports MLflow when first used."""

import json
import logging
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from filelock import FileLock

from daso.errors import UserError
from daso.track.jsonl import TIME, Row

Status = Literal["FINISHED", "FAILED", "KILLED"]

DEFAULT_URI = "sqlite:///mlflow.db"  # what a bare `mlflow ui` opens
METRICS_PER_CALL = 1000  # the limits of MLflow's servers
PARAMS_PER_CALL = 100
PARAM_LENGTH = 6000
TAG_LENGTH = 8000
BROKEN = re.compile("database disk image is malformed|file is not a database")  # what SQLite says after a power cut


def resolve_uri(configured: str) -> str:
    """The tracking store: `track.uri`, else the variable MLFLOW_TRACKING_URI, else `mlflow.db` where we are.

    A relative SQLite path becomes absolute, so that a later change of directory does no harm.
    """
    uri = configured or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    path = _sqlite_path(uri)
    return uri if path is None else f"sqlite:///{path.absolute()}"


def init_store(uri: str) -> None:
    """Create the store's tables if they are not there; many processes may call this at once.

    MLflow's own set-up of a fresh SQLite file does not survive a race, so it happens under a lock beside the file.

    Raises:
        UserError: the store cannot be used.
    """
    with sentences(uri):
        connect(uri)


def connect(uri: str) -> Any:
    """A client for a store that is there and answers."""
    # Outages are waited out here, in the background and for as long as it takes, not inside one request.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    from mlflow.tracking import MlflowClient

    for noisy in ("mlflow", "alembic", "urllib3.connectionpool"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    path = _sqlite_path(uri)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if not _has_tables(path):
                MlflowClient(tracking_uri=uri, registry_uri=uri)  # makes the tables
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    client.search_experiments(max_results=1)
    return client


def _has_tables(path: Path) -> bool:
    """Whether MLflow has set this SQLite file up; cheap, for eight processes ask one after the other."""
    with closing(sqlite3.connect(path)) as database:
        return bool(database.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchall())


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
        raise UserError(f"track.experiment={name} was deleted in {uri}: restore it or choose another.")
    return str(found.experiment_id)


def _artifact_location(uri: str, name: str) -> str | None:
    """Beside a SQLite file, wherever the run was started; elsewhere (None) the server knows best."""
    path = _sqlite_path(uri)
    return None if path is None else (path.parent / "mlruns" / quote(name, safe="")).as_uri()


def set_tags(client: Any, run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags of a run, in one call."""
    from mlflow.entities import RunTag

    client.log_batch(run_id, tags=[RunTag(*tag) for tag in tags.items()])


def log_params(client: Any, run_id: str, config: Mapping[str, Any]) -> None:
    """Log the flattened configuration; parameters that are there already stay, MLflow never changes one."""
    from mlflow.entities import Param

    there = client.get_run(run_id).data.params
    params = [Param(key, value[:PARAM_LENGTH]) for key, value in flatten(config).items() if key not in there]
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


def reason(error: Exception) -> str:
    """The first line of an error, short enough for a sentence; of a broken SQLite file, what to do with it."""
    texts = [str(link) for link in (error, error.__cause__) if link is not None]
    if broken := BROKEN.search(" ".join(texts)):
        return f"{broken[0]}; remove that file, which the run folders can fill again"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")[:200]


@contextmanager
def sentences(uri: str) -> Iterator[None]:
    """Turn whatever MLflow raises into a `UserError`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"track.uri={uri} cannot be used: {reason(error)}.") from error


def _parts(items: list[Any], size: int) -> Iterator[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _sqlite_path(uri: str) -> Path | None:
    scheme = "sqlite:///"
    return Path(uri[len(scheme) :]) if uri.startswith(scheme) else None
