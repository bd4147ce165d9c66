"""The sweep in MLflow: a run of its own in an experiment beside that of its jobs, which name it.

`python -m daso.track.sweeps` does what `start` and `finish` ask for, in a process of its own: the one that starts a
sweep imports no MLflow, and forks.
"""

import dataclasses
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daso.credentials import MASK, mask_url
from daso.errors import UserError
from daso.outputs.files import write_record
from daso.outputs.rundir import RunDir
from daso.track import mlflow
from daso.track.address import sqlite_file
from daso.track.follower import STALL, Status, attempt, reason
from daso.track.store import discard

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 60.0  # seconds for a store that answers slowly; one that does not answer has `STALL`
SWEEP, SWEEP_NAME, COMMAND, RUNS = "sweep", "sweep_name", "sweep_command", "sweep_runs"
PARENT = "sweep_run"  # the tag of a run that names the sweep's: MLflow's own would fold runs away, and draw the sweep
BESIDE = "-sweeps"  # behind the name of the runs' experiment: that of their sweeps


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


def start(sweep: Sweep) -> bool:
    """Make the store, and the parent run, before jobs race for them; the jobs go on if that fails.

    Returns:
        Whether a file was made for it.
    """
    file = _file(sweep)
    fresh = file is not None and not file.exists()
    _apart({"action": "start", "sweep": dataclasses.asdict(sweep)})
    return fresh


def withdraw(sweep: Sweep) -> None:
    """Remove the file that was made for a sweep of which no job began."""
    if (file := _file(sweep)) is not None:
        discard(file, sweep.experiment + BESIDE)


def finish(sweep: Sweep, out_root: str, ends: Mapping[str, Status]) -> None:
    """End the sweep's run and those of jobs that were killed; let what was finished before the sweep started name it.

    Args:
        sweep: the sweep.
        out_root: where its runs are.
        ends: how they ended, by run key.
    """
    _apart({"action": "finish", "sweep": dataclasses.asdict(sweep), "root": out_root, "ends": dict(ends)})


def parent_run(client: Any, uri: str, experiment: str, tags: dict[str, str]) -> str:
    """The id of the sweep's run that the tags of a run name; it is created if need be."""
    experiment_id = mlflow.experiment_named(client, uri, experiment + BESIDE)
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
    task = _Task(sweep, order.get("root", ""), order.get("ends") or {})
    starts = order["action"] == "start"
    failure = attempt(task.start if starts else task.finish, lambda: task.gains, STALL, LIMIT)
    if failure:
        then = "it is tried again at the end" if starts else f"afterwards `{task.remedy()}` does it"
        place = mask_url(sweep.uri)
        print(f"MLflow at {place} cannot be shown the sweep as one ({failure}): {then}.", file=sys.stderr)
    return int(bool(failure))


class _Task:
    """What is asked for.

    Args:
        sweep: the sweep.
        root: where its runs are.
        ends: how they ended, by run key.
    """

    def __init__(self, sweep: Sweep, root: str, ends: dict[str, Status]) -> None:
        self.sweep = sweep
        self.root = root
        self.ends = ends
        self.gains = 0  # how often it got a step further

    def start(self) -> None:
        """Make the store, and the parent run."""
        sweep = self.sweep
        if not sweep.key:
            mlflow.connect(sweep.uri)
            return
        client, parent = self._parent()
        client.update_run(parent, status="RUNNING", name=sweep.name)
        mlflow.set_tags(client, parent, {"command": sweep.command, "runs": str(len(sweep.runs))})

    def finish(self) -> None:
        """End the parent run and put all runs under it; say how many finished ones it lacks."""
        client, parent = self._parent()
        shown = []
        for key, status in self.ends.items():
            try:
                shown.append(self._place(client, parent, RunDir(self.root, key), status))
            except OSError:  # a folder that is not ours
                shown.append(False)
        worst = next((status for status in ("KILLED", "FAILED") if status in self.ends.values()), "FINISHED")
        client.set_terminated(parent, worst)
        if missing := shown.count(False):
            print(f"Not in {mask_url(self.sweep.uri)}, or not whole: {missing} of this sweep's runs; {self.remedy()} "
                  "shows them there.", file=sys.stderr)  # fmt: skip

    def _place(self, client: Any, parent: str, run: RunDir, status: Status) -> bool:
        """Put a run under the parent run, in MLflow and on disk; False if it finished and MLflow does not have it."""
        from daso.track.mirror import noted

        self.gains += 1
        sweep, finished, card = self.sweep, status == "FINISHED", run.about()
        if not card:
            return not (finished and run.done.exists())
        name = sweep.runs.get(run.key, card.get("name", run.key))
        if finished and (card.get("name"), card["tags"].get(SWEEP)) != (name, sweep.key):
            write_record(run.card, card | {"name": name, "tags": card["tags"] | sweep.tags})
        note = noted(run, sweep.uri, sweep.experiment)
        there = mlflow.active_run(client, note["run_id"]) if note else None
        if there is None:  # tracked in another store or in none, or thrown away there
            return not finished
        if not finished and there.info.status == "RUNNING":
            client.set_terminated(there.info.run_id, status)
        if finished and there.data.tags.get(PARENT) != parent:
            client.update_run(there.info.run_id, name=name)
            mlflow.set_tags(client, there.info.run_id, {PARENT: parent} | sweep.tags)
        return not finished or bool(note.get("complete", True))

    def _parent(self) -> tuple[Any, str]:
        client = mlflow.connect(self.sweep.uri)
        self.gains += 1
        return client, parent_run(client, self.sweep.uri, self.sweep.experiment, self.sweep.tags)

    def remedy(self) -> str:
        """The command that mirrors the runs by hand; the sweep comes with them."""
        place = mask_url(self.sweep.uri)
        store = "URL" if MASK in place else shlex.quote(place)
        command = f"python -m daso.runs --root {shlex.quote(self.root)} mirror all --uri {store}"
        return f"{command} --experiment {shlex.quote(self.sweep.experiment)}"


def _file(sweep: Sweep) -> Path | None:
    """The file that the store is in; None where it is none, or has no name."""
    try:
        return sqlite_file(mlflow.resolve_uri(sweep.uri))
    except UserError:
        return None


def _apart(order: dict[str, Any]) -> None:
    sweep = order["sweep"]
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    try:
        sweep["uri"] = mlflow.resolve_uri(sweep["uri"])
        subprocess.run(
            [sys.executable, "-m", "daso.track.sweeps"],
            input=json.dumps(order),
            text=True,
            env=os.environ | {"PYTHONPATH": paths},
            timeout=LIMIT + STALL,
            start_new_session=True,  # a terminal's Ctrl-C is for the jobs
            check=False,
        )
    except (UserError, OSError, subprocess.SubprocessError) as error:
        print(f"MLflow cannot be shown the sweep as one ({reason(error)}).", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
