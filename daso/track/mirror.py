"""MLflow as a mirror of the run directory: it follows `metrics.jsonl`, and can be rebuilt from it at any time.

MLflow cannot take a point back. A row whose run was killed before the next checkpoint is computed again after the
resume, with another time stamp. So the mirror notes which part of the file it is about to send; where that part is no
longer what the file begins with, the MLflow run is replaced by a new one that starts from the first row.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from daso.errors import UserError
from daso.outputs.files import read_json, write_json
from daso.outputs.naming import run_name
from daso.outputs.rundir import RunDir, RunState
from daso.track.jsonl import TIME, Prefix, Row, follow, read, tail
from daso.track.mlflow import (
    METRICS_PER_CALL,
    TAG_LENGTH,
    Status,
    connect,
    experiment_named,
    log_params,
    milliseconds,
    points,
    reason,
    sentences,
    set_tags,
)

LAST_TRIES = 5  # after the run's end, a second apart


class Mirror:
    """Follows a live run from a background thread; neither MLflow's import nor an outage holds the run up.

    Args:
        run: the run directory; `resolved.yaml` (the parameters) and `run.json` (name and tags) are there already.
        uri: the tracking store, see `resolve_uri`.
        experiment: the name of MLflow's experiment; created if need be.
        warn: told in one sentence, from the thread, when MLflow cannot be reached.
    """

    def __init__(self, run: RunDir, uri: str, experiment: str, warn: Callable[[str], None]) -> None:
        self._remote = Remote(run, uri, experiment)
        self._warn = warn
        self._warned = False
        self._rows = threading.Event()
        self._ended = threading.Event()
        self._complete = False
        self._status: Status = "KILLED"
        self._artifacts: Sequence[Path] = ()
        self._thread = threading.Thread(target=self._work, name="mlflow-mirror", daemon=True)

    def start(self) -> None:
        """Open (or reopen) the MLflow run and send what is there. Returns at once."""
        self._rows.set()
        self._thread.start()

    def notify(self) -> None:
        """Say that rows were written: they are sent soon. Returns at once."""
        self._rows.set()

    def finish(self, status: Status, artifacts: Sequence[Path] = (), timeout: float = 120.0) -> bool:
        """Send the rest, upload artifacts (files and folders that exist), end the MLflow run.

        Args:
            status: how the run ended.
            artifacts: what to upload.
            timeout: the longest time, in seconds, to wait while nothing gets on.

        Returns:
            Whether everything arrived; if not, the user has been told how to rebuild the mirror.
        """
        self._status, self._artifacts = status, artifacts
        self._ended.set()
        self._rows.set()
        gains = -1
        while self._thread.is_alive() and self._remote.gains > gains:
            gains = self._remote.gains
            self._thread.join(timeout)
        if not self._complete:
            self._say("has not taken everything", f"nothing arrived for {timeout:g} s")
        return self._complete

    def _work(self) -> None:
        delay, tries = 1.0, 0
        while True:
            ended = self._ended.is_set()
            try:
                self._remote.send()
                if ended:
                    self._remote.close(self._status, self._artifacts)
                    self._complete = True
                    return
                delay = 1.0
                self._rows.wait()
                self._rows.clear()
            except Exception as error:  # whatever goes wrong with tracking, training goes on
                tries += ended
                if tries >= LAST_TRIES:
                    self._say("has not taken everything", reason(error))
                    return
                if ended:
                    time.sleep(1.0)
                else:
                    self._say("cannot be used now, training goes on", reason(error))
                    self._ended.wait(delay)
                    delay = min(2 * delay, 60.0)

    def _say(self, what: str, why: str) -> None:
        if not self._warned:
            self._warned = True
            key, root = self._remote.run.key, self._remote.run.root
            command = f"python -m daso.runs mirror {key} --root {root}"
            self._warn(f"MLflow at {self._remote.uri} {what} ({why}); afterwards `{command}` brings it up to date.")


class Remote:
    """The MLflow run of a run directory. Blocks, and raises whatever MLflow raises.

    Args:
        run, uri, experiment: as for `Mirror`.
        fresh: replace the MLflow run even if it could be continued.
    """

    def __init__(self, run: RunDir, uri: str, experiment: str, fresh: bool = False) -> None:
        self.run = run
        self.uri = uri
        self.experiment = experiment
        self.run_id = ""
        self.gains = 0  # how often it got a step further
        self._fresh = fresh
        self._client: Any = None
        self._sent = Prefix()
        self._old: set[str] = set()  # MLflow runs that this one replaces, once it holds as much as the file

    def send(self) -> None:
        """Open the MLflow run if it is not open yet, then send every row that is new."""
        if self._client is None:
            self._open()
        for rows, end in self._groups():
            self._note(sending=end)
            for part in points(rows):
                self._client.log_batch(self.run_id, metrics=part)
                self.gains += 1
            self._sent = end
            self._note()
        while self._old:
            self._client.delete_run(next(iter(self._old)))
            self._old.pop()

    def close(self, status: Status, artifacts: Sequence[Path] = (), end: float | None = None) -> None:
        """Upload artifacts and end the MLflow run, at `end` (seconds since 1970; default now)."""
        for path in artifacts:
            if path.is_dir():
                self._client.log_artifacts(self.run_id, str(path), artifact_path=path.name)
            elif path.exists():
                self._client.log_artifact(self.run_id, str(path))
        self._client.set_terminated(self.run_id, status, end_time=milliseconds(end or time.time()))

    def _open(self) -> None:
        from daso.track.sweeps import PARENT, SWEEP, parent_run

        self.gains += 1
        client = connect(self.uri)
        self.gains += 1
        experiment_id = experiment_named(client, self.uri, self.experiment)
        config = yaml.safe_load(self.run.resolved.read_text())
        card = read_json(self.run.card) or {"name": run_name(config), "tags": {}}
        tags = _tags(self.run, card["tags"])
        if SWEEP in tags:
            tags[PARENT] = parent_run(client, experiment_id, tags)
        note = read_json(self.run.mirror) or {}
        if (note.get("uri"), note.get("experiment")) != (self.uri, self.experiment):
            note = {}
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
        if self._fresh or not note:
            return False
        sent, sending = (Prefix.of(self.run.metrics, *note[name]) for name in ("sent", "sending"))
        if sent is None or sending is None:
            return False
        self._sent = sent
        return True

    def _groups(self) -> Iterator[tuple[list[Row], Prefix]]:
        """Rows after `_sent`, in groups that fill a call, each with the part of the file that it completes."""
        rows: list[Row] = []
        end, values = self._sent, 0
        for row, place in follow(self.run.metrics, self._sent):
            if rows and values + len(row) > METRICS_PER_CALL:
                yield rows, end
                rows, values = [], 0
            rows.append(row)
            values += len(row)
            end = place
        if rows:
            yield rows, end

    def _note(self, sending: Prefix | None = None) -> None:
        target = {"uri": self.uri, "experiment": self.experiment, "run_id": self.run_id}
        write_json(self.run.mirror, target | {"sent": self._sent.note(), "sending": (sending or self._sent).note()})


def rebuild(run: RunDir, uri: str, experiment: str) -> str:
    """Make MLflow show exactly what the run directory holds: a new MLflow run in the place of the old one.

    Returns:
        The new MLflow run id.

    Raises:
        UserError: the store or experiment cannot be used, the run directory holds no configuration, or a process works
            on it and mirrors it itself.
    """
    if not run.resolved.exists():
        raise UserError(f"Run {run.key} has no {run.resolved.name} in {run.path}, so there is nothing to mirror.")
    ends: dict[RunState, Status] = {RunState.done: "FINISHED", RunState.failed: "FAILED"}
    status = ends.get(run.state(), "KILLED")
    with run.lock(patience=0), sentences(uri):
        remote = Remote(run, uri, experiment, fresh=True)
        remote.send()
        last = [row[TIME] for row in tail(run.metrics)][-1:]
        remote.close(status, artifacts(run), *last)
    return remote.run_id


def artifacts(run: RunDir) -> list[Path]:
    """What of a run directory is worth a look in MLflow; the checkpoint stays where it is."""
    return [run.resolved, run.summary, run.figures]


def _own_runs(client: Any, experiment_id: str, tags: Mapping[str, str], noted: str | None) -> set[str]:
    """The MLflow runs that mirror this folder: the noted one, wherever the folder was then, and those that name it."""
    found = client.search_runs([experiment_id], f"tags.run_key = '{tags['run_key']}'")
    return {
        run.info.run_id for run in found if run.info.run_id == noted or run.data.tags.get("run_dir") == tags["run_dir"]
    }


def _tags(run: RunDir, tags: Mapping[str, str]) -> dict[str, str]:
    own = {"run_key": run.key, "run_dir": f"{socket.gethostname()}:{run.path}"}
    if "git_commit" in tags:
        own["mlflow.source.git.commit"] = tags["git_commit"]
    return {key: str(value)[:TAG_LENGTH] for key, value in (dict(tags) | own).items()}
