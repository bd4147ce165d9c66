"""The sweep in MLflow: one parent run, under which its jobs stand.

`python -m daso.track.sweeps` does what `start` and `finish` ask for, in a process of its own: the one that starts a
sweep imports no MLflow, and forks.
"""

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daso.errors import UserError
from daso.outputs.files import read_json, write_json
from daso.outputs.rundir import RunDir
from daso.track import mlflow

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120  # seconds for a store that answers slowly
SWEEP, SWEEP_NAME, COMMAND, RUNS = "sweep", "sweep_name", "sweep_command", "sweep_runs"
PARENT = "mlflow.parentRunId"


@dataclass
class Sweep:
    """A sweep as MLflow sees it.

    Args:
        uri, experiment: as configured.
        key: the sweep's identity; the same runs are the same sweep. Empty: only the store is made.
        name: what people call it.
        command: what started it.
        runs: what each run is called in it, by key.
    """

    uri: str
    experiment: str
    key: str = ""
    name: str = ""
    command: str = ""
    runs: dict[str, str] = field(default_factory=dict)

    @property
    def tags(self) -> dict[str, str]:
        """What its runs say about it, enough to show it again in another store."""
        about = {SWEEP: self.key, SWEEP_NAME: self.name, COMMAND: self.command, RUNS: str(len(self.runs))}
        return about if self.key else {}


def start(sweep: Sweep) -> None:
    """Make the store, and the parent run, before jobs race for them; the jobs go on if that fails."""
    _apart({"action": "start", "sweep": dataclasses.asdict(sweep)})


def finish(sweep: Sweep, out_root: str, ends: Mapping[str, mlflow.Status]) -> None:
    """End the parent run and those of jobs that were killed; put under it what was finished before the sweep started.

    Args:
        sweep: the sweep.
        out_root: where its runs are.
        ends: how they ended, by run key.
    """
    _apart({"action": "finish", "sweep": dataclasses.asdict(sweep), "root": out_root, "ends": dict(ends)})


def parent_run(client: Any, experiment_id: str, tags: dict[str, str]) -> str:
    """The id of the parent run that the tags of a run name; it is created if need be."""
    own = {"sweep_parent": tags[SWEEP], "command": tags.get(COMMAND, ""), "runs": tags.get(RUNS, "")}
    found = client.search_runs([experiment_id], f"tags.sweep_parent = '{tags[SWEEP]}'", max_results=1)
    if found:
        return str(found[0].info.run_id)
    created = client.create_run(experiment_id, round(time.time() * 1000), own, run_name=tags[SWEEP_NAME])
    client.set_terminated(created.info.run_id, "FINISHED")
    return str(created.info.run_id)


def main() -> int:
    """Do what standard input says; a sentence on stderr and 1 if the store cannot be used."""
    order = json.load(sys.stdin)
    sweep = Sweep(**order["sweep"])
    try:
        with mlflow.sentences(sweep.uri):
            if order["action"] == "start":
                _start(sweep)
            else:
                _finish(sweep, order["root"], order["ends"])
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _start(sweep: Sweep) -> None:
    mlflow.init_store(sweep.uri)
    if sweep.key:
        client, parent = _parent(sweep)
        client.update_run(parent, status="RUNNING", name=sweep.name)
        client.set_tag(parent, "command", sweep.command)
        client.set_tag(parent, "runs", str(len(sweep.runs)))


def _finish(sweep: Sweep, root: str, ends: dict[str, mlflow.Status]) -> None:
    client, parent = _parent(sweep)
    elsewhere = 0  # runs finished before, tracked in another store or in none
    for key, status in ends.items():
        run = RunDir(root, key)
        card, note = read_json(run.card), read_json(run.mirror) or {}
        if card is None:
            continue
        if (note.get("uri"), note.get("experiment")) != (sweep.uri, sweep.experiment):
            if status == "FINISHED":
                elsewhere += 1
                write_json(run.card, card | {"name": sweep.runs[key], "tags": card["tags"] | sweep.tags})
            continue
        if status != "FINISHED" and client.get_run(note["run_id"]).info.status == "RUNNING":
            client.set_terminated(note["run_id"], status)
        if status == "FINISHED" and card["tags"].get(SWEEP) != sweep.key:
            _adopt(client, parent, sweep, run, card, note["run_id"])
    worst = next((status for status in ("KILLED", "FAILED") if status in ends.values()), "FINISHED")
    client.set_terminated(parent, worst)
    if elsewhere:
        mirror = f"python -m daso.runs --root {root} mirror all --uri {sweep.uri} --experiment {sweep.experiment}"
        print(f"Not in {sweep.uri}: {elsewhere} of this sweep's runs; {mirror} shows them there.", file=sys.stderr)


def _adopt(client: Any, parent: str, sweep: Sweep, run: RunDir, card: dict[str, Any], run_id: str) -> None:
    """Put a finished run under the parent run, in MLflow and on disk."""
    name = sweep.runs[run.key]
    client.update_run(run_id, name=name)
    for tag in ({PARENT: parent} | sweep.tags).items():
        client.set_tag(run_id, *tag)
    write_json(run.card, card | {"name": name, "tags": card["tags"] | sweep.tags})


def _parent(sweep: Sweep) -> tuple[Any, str]:
    client = mlflow.connect(sweep.uri)
    experiment_id = mlflow.experiment_named(client, sweep.uri, sweep.experiment)
    return client, parent_run(client, experiment_id, sweep.tags)


def _apart(order: dict[str, Any]) -> None:
    sweep = order["sweep"]
    sweep["uri"] = mlflow.resolve_uri(sweep["uri"])
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    try:
        subprocess.run(
            [sys.executable, "-m", "daso.track.sweeps"],
            input=json.dumps(order),
            text=True,
            env=os.environ | {"PYTHONPATH": paths},
            timeout=PATIENCE,
            start_new_session=True,  # a terminal's Ctrl-C is for the jobs
            check=False,
        )
    except subprocess.TimeoutExpired:
        print(f"track.uri={sweep['uri']} does not answer: the sweep is not shown as one.", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
