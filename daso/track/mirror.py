"""MLflow as a mirror of the run directory: it follows `metrics.jsonl`, and can be rebuilt from it at any time.

MLflow cannot take a point back. A row whose run was killed before the next checkpoint is computed again after the
resume, with another time stamp. So the mirror notes which part of the file it is about to send; where that part is no
longer what the file begins with, the MLflow run is replaced by a new one that starts from the first row.
"""

import shlex
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from daso.credentials import MASK, mask, mask_url
from daso.errors import UserError
from daso.outputs.files import read_json, read_yaml, write_json
from daso.outputs.naming import run_name
from daso.outputs.rundir import RunDir, RunState
from daso.track.about import PROGRAM, description
from daso.track.follower import Follower, Status
from daso.track.jsonl import TIME, Prefix, Row, follow, read
from daso.track.mlflow import (
    METRICS_PER_CALL,
    TAG_LENGTH,
    connect,
    experiment_named,
    log_file,
    log_params,
    milliseconds,
    points,
    sentences,
    set_tags,
)
from daso.track.selection import PerClass, Selection

PER_CLASS = "per_class.npz"  # the artifact that holds what is no curve in MLflow


class Mirror(Follower):
    """Follows a live run for MLflow.

    Args:
        run: the run directory; `resolved.yaml` (the parameters) and `run.json` (name and tags) are there already.
        uri: the tracking store, see `resolve_uri`.
        experiment: the name of MLflow's experiment; created if need be.
        warn: told in one sentence, from the thread, when MLflow cannot be reached.
    """

    def __init__(self, run: RunDir, uri: str, experiment: str, warn: Callable[[str], None]) -> None:
        super().__init__(Remote(run, uri, experiment, note=warn), warn)


def remedy(run: RunDir, uri: str) -> str:
    """The command that mirrors a run by hand; a URL that was recorded without its credentials has to be given."""
    whole = " --uri URL" if MASK in mask_url(uri) else ""
    return f"python -m daso.runs mirror {run.key} --root {shlex.quote(str(run.root))}{whole}"


class Remote:
    """The MLflow run of a run directory, see `Backend`.

    Args:
        run, uri, experiment: as for `Mirror`.
        fresh: replace the MLflow run even if it could be continued.
        note: told what was done to a store that was of an older version.
    """

    name = "MLflow"

    def __init__(
        self, run: RunDir, uri: str, experiment: str, fresh: bool = False, note: Callable[[str], None] | None = None
    ) -> None:
        self.run = run
        self.uri = uri
        self.experiment = experiment
        self.place = mask_url(uri)
        self.remedy = remedy(run, uri)
        self.run_id = ""
        self.gains = 0
        self._fresh = fresh
        self._tell = note
        self._client: Any = None
        self._selection = Selection.of({})
        self._sent = Prefix()
        self._old: set[str] = set()  # MLflow runs that this one replaces, once it holds as much as the file

    def send(self) -> None:
        """Open the MLflow run if it is not open yet, then send every row that is new."""
        if self._client is None:
            self._open()
        for rows, end in self._groups():
            self._note(sending=end)
            self._log(rows)
            self._sent = end
            self._note()
        while self._old:
            self._client.delete_run(next(iter(self._old)))
            self._old.pop()

    def close(self, status: Status, artifacts: Sequence[Path] = ()) -> None:
        """Send what was held back of the newest rows and all values per class, upload artifacts, end the MLflow run:
        now, or where it is rebuilt, when the last row was written.
        """
        last: dict[str, Row] = {}  # of each event
        per_class = PerClass()
        for row in read(self.run.metrics):
            last[row["event"]] = row
            per_class.add(row)
        self._log([self._selection.rest(row) for row in last.values()])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, PER_CLASS)
            if per_class.save(path):
                log_file(self._client, self.run_id, path)
        for path in artifacts:
            for file in sorted(path.iterdir()) if path.is_dir() else [path] * path.exists():
                log_file(self._client, self.run_id, file, path.name if path.is_dir() else None)
                self.gains += 1
        end = max((row[TIME] for row in last.values()), default=time.time()) if self._fresh else time.time()
        self._client.set_terminated(self.run_id, status, end_time=milliseconds(end))
        self._note(complete=True)

    def reopen(self) -> None:
        """Look for the store, the experiment and the MLflow run again."""
        self._client = None

    def _open(self) -> None:
        from daso.track.sweeps import PARENT, SWEEP, parent_run

        client = connect(self.uri, self._tell)
        self.gains += 1
        experiment_id = experiment_named(client, self.uri, self.experiment)
        config = configuration(self.run)
        card = {"name": run_name(config), "tags": {}} | self.run.about()
        self._selection = Selection.of(config, card.get("steps"))
        tags = _tags(self.run, card["tags"]) | _words(self.run, config)
        if SWEEP in tags:
            tags[PARENT] = parent_run(client, self.uri, self.experiment, tags)
        note = noted(self.run, self.uri, self.experiment)
        own = _own_runs(client, experiment_id, tags, note.get("run_id"))
        if note.get("run_id") in own and self._resume(note):
            self.run_id = note["run_id"]
            client.update_run(self.run_id, status="RUNNING", name=card["name"])
            set_tags(client, self.run_id, tags)
        else:
            self._sent = Prefix()
            began = next((row[TIME] for row in read(self.run.metrics)), time.time())
            created = client.create_run(experiment_id, milliseconds(began), tags, run_name=card["name"])
            self.run_id = created.info.run_id
        self._note()
        log_params(client, self.run_id, config)
        self._old = own - {self.run_id}
        self._client = client
        self.gains += 1

    def _resume(self, note: Mapping[str, Any]) -> bool:
        """Whether the noted MLflow run holds nothing but what the file begins with; then go on after that."""
        if self._fresh:
            return False
        sent, sending = (Prefix.of(self.run.metrics, *note[name]) for name in ("sent", "sending"))
        if sent is None or sending is None:
            return False
        self._sent = sent
        return True

    def _groups(self) -> Iterator[tuple[list[Row], Prefix]]:
        """What is to be sent of the rows after `_sent`, in groups that fill a call, each with the part of the file that
        it completes."""
        rows: list[Row] = []
        end, values = self._sent, 0
        for row, place in follow(self.run.metrics, self._sent):
            chosen = self._selection.now(row)
            if rows and values + len(chosen) > METRICS_PER_CALL:
                yield rows, end
                rows, values = [], 0
            rows.append(chosen)
            values += len(chosen)
            end = place
        if rows:
            yield rows, end

    def _log(self, rows: Sequence[Row]) -> None:
        for part in points(rows):
            self._client.log_batch(self.run_id, metrics=part, synchronous=True)
            self.gains += 1

    def _note(self, sending: Prefix | None = None, complete: bool = False) -> None:
        target = {"uri": self.place, "experiment": self.experiment, "run_id": self.run_id, "complete": complete}
        write_json(self.run.mirror, target | {"sent": self._sent.note(), "sending": (sending or self._sent).note()})


def noted(run: RunDir, uri: str, experiment: str) -> dict[str, Any]:
    """What a run directory says about its MLflow run in a store, whatever the credentials; empty if nothing."""
    note = read_json(run.mirror) or {}
    target = mask_url(str(note.get("uri"))), note.get("experiment")
    known = target == (mask_url(uri), experiment) and isinstance(note.get("run_id"), str)
    places = [note.get(name) for name in ("sent", "sending")]
    whole = all(isinstance(place, list) and [type(part) for part in place] == [int, str] for place in places)
    return note if known and whole else {}


def rebuild(run: RunDir, uri: str, experiment: str) -> str:
    """Make MLflow show exactly what the run directory holds: a new MLflow run in the place of the old one.

    Returns:
        The new MLflow run id.

    Raises:
        UserError: the store or experiment cannot be used, the run directory holds no configuration, or a process works
            on it and mirrors it itself.
    """
    configuration(run)
    ends: dict[RunState, Status] = {RunState.done: "FINISHED", RunState.failed: "FAILED"}
    status = ends.get(run.state(), "KILLED")
    with run.lock(patience=0), sentences(uri):
        remote = Remote(run, uri, experiment, fresh=True)
        remote.send()
        remote.close(status, artifacts(run))
    return remote.run_id


def configuration(run: RunDir) -> dict[str, Any]:
    """What `resolved.yaml` says.

    Raises:
        UserError: it is missing or damaged.
    """
    config = read_yaml(run.resolved)
    if config is None:
        raise UserError(f"Run {run.key} cannot be mirrored: {run.resolved} is missing or damaged.")
    return config


def artifacts(run: RunDir) -> list[Path]:
    """What of a run directory is worth a look in MLflow; the checkpoint stays where it is."""
    return [run.resolved, run.summary, run.classes, run.openset, run.figures]


def _own_runs(client: Any, experiment_id: str, tags: Mapping[str, str], noted: str | None) -> set[str]:
    """The MLflow runs that mirror this folder: the noted one, wherever the folder was then, and those that name it."""
    found = client.search_runs([experiment_id], f"tags.run_key = '{tags['run_key']}'")
    return {
        run.info.run_id for run in found if run.info.run_id == noted or run.data.tags.get("run_dir") == tags["run_dir"]
    }


def _words(run: RunDir, config: Mapping[str, Any]) -> dict[str, str]:
    """What MLflow shows as description, which has the command, and as source, cut at its last slash."""
    words = {"mlflow.source.name": PROGRAM, "mlflow.source.type": "LOCAL"}
    return {"mlflow.note.content": description(config, run)[:TAG_LENGTH]} | words


def _tags(run: RunDir, tags: Mapping[str, str]) -> dict[str, str]:
    own = {"run_key": run.key, "run_dir": f"{socket.gethostname()}:{run.path}"}
    if "git_commit" in tags:
        own["mlflow.source.git.commit"] = tags["git_commit"]
    return {key: mask(str(value))[:TAG_LENGTH] for key, value in (dict(tags) | own).items()}
