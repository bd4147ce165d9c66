"""The trackers that a run is mirrored in, several at once, and the command that rebuilds them."""

import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from daso.credentials import mask_url
from daso.errors import UserError
from daso.outputs.files import read_yaml
from daso.outputs.rundir import RunDir, RunState
from daso.schema import TRACKERS, TrackConfig
from daso.track import mirror
from daso.track.follower import STALL, Backend, Follower, Status, reason
from daso.track.mlflow import resolve_uri, sentences
from daso.track.tensorboard import Board
from daso.track.wandb import WandbRun

ENDS: Mapping[RunState, Status] = {RunState.done: "FINISHED", RunState.failed: "FAILED"}


class Followers:
    """Keeps several trackers up to date with a live run, each from a thread of its own.

    Args:
        followers: those that have begun.
    """

    def __init__(self, followers: Sequence[Follower]) -> None:
        self._followers = followers

    def notify(self) -> None:
        """Say that rows were written. Returns at once."""
        for follower in self._followers:
            follower.notify()

    def finish(self, status: Status, artifacts: Sequence[Path] = (), timeout: float = STALL) -> bool:
        """As `Follower.finish`, of all at the same time: what one needs is not added to what another needs.

        Returns:
            Whether everything arrived everywhere.
        """
        for follower in self._followers:
            follower.end(status, artifacts)
        began = time.monotonic()
        whole = True
        for follower in self._followers:
            whole &= follower.finish(status, artifacts, timeout, spent=time.monotonic() - began)
        return whole


def mirrored(run: RunDir, track: TrackConfig, warn: Callable[[str], None]) -> Followers | None:
    """Begin to mirror a live run as `track` says; None if nothing is, or, which `warn` is told, nothing can be."""
    begun = []
    for tracker in track.trackers:
        try:
            one = backend(tracker, run, track.uri, track.experiment, note=warn)
        except Exception as error:  # whatever goes wrong with tracking, training goes on
            command = remedy(tracker, run, track.uri)
            warn(f"{NAMES[tracker]} is not told of this run ({reason(error)}); afterwards `{command}` tells it.")
            continue
        follower = Follower(one, warn)
        begun += [follower] * follower.start()
    return Followers(begun) if begun else None


def rebuild(tracker: str, run: RunDir, uri: str = "", experiment: str = "") -> str:
    """Make a tracker show exactly what the run directory holds, in the place of what it shows.

    Args:
        tracker: one of `TRACKERS`.
        run: the run directory.
        uri, experiment: of MLflow; as the run was told where empty.

    Returns:
        A sentence that says where.

    Raises:
        UserError: the tracker cannot be used, the run directory holds no configuration, or a process works on it and
            mirrors it itself.
    """
    track = mirror.configuration(run).get("track", {})
    uri, experiment = uri or track.get("uri", ""), experiment or track.get("experiment", "") or "daso"
    if tracker == "mlflow":
        store = resolve_uri(uri)
        return f"{run.key} is MLflow run {mirror.rebuild(run, store, experiment)} in {mask_url(store)}"
    with run.lock(patience=0), sentences(uri, tracker):
        one = backend(tracker, run, uri, experiment, fresh=True)
        one.send()
        one.close(ENDS.get(run.state(), "KILLED"), mirror.artifacts(run))
    return f"{run.key} is in {one.name} at {one.place}"


def trackers_of(run: RunDir) -> tuple[str, ...]:
    """The trackers that a run was told of: what its configuration says, also in an older version's words."""
    track = (read_yaml(run.resolved) or {}).get("track", {})
    return tuple(name for name in TRACKERS if name == track.get("name") or track.get(name) is True)


def untold(runs: Sequence[RunDir], trackers: Iterable[str]) -> list[str]:
    """A sentence for each tracker that is asked for and lacks some finished runs, of which only a command tells it.

    Args:
        runs: finished ones, of one folder.
        trackers: of `TRACKERS`.
    """
    found = []
    for tracker in trackers:
        if lacking := [run for run in runs if not _is_told(tracker, run)]:
            which = f"{len(lacking)} of the runs that are" if len(lacking) > 1 else f"run {lacking[0].key}, which is"
            command = f"python -m daso.runs mirror {' '.join(run.key for run in lacking)}"
            command += f" --root {shlex.quote(str(lacking[0].root))} --to {tracker}"
            found.append(f"{NAMES[tracker]} does not have {which} finished already; `{command}` tells it.")
    return found


def _is_told(tracker: str, run: RunDir) -> bool:
    if tracker == "tensorboard":
        return Board.folder_of(run) is not None
    return {"mlflow": run.mirror, "wandb": run.wandb}[tracker].exists()


def remedy(tracker: str, run: RunDir, uri: str = "") -> str:
    """The command that rebuilds a tracker from the run by hand."""
    if tracker == "mlflow":
        return mirror.remedy(run, uri)
    return f"python -m daso.runs mirror {run.key} --root {shlex.quote(str(run.root))} --to {tracker}"


NAMES = {"mlflow": "MLflow", "tensorboard": Board.name, "wandb": WandbRun.name}


def backend(
    tracker: str,
    run: RunDir,
    uri: str,
    experiment: str,
    note: Callable[[str], None] | None = None,
    fresh: bool = False,
) -> Backend:
    """A tracker as a mirror of a run directory.

    Args:
        tracker: one of `TRACKERS`.
        run: the run directory.
        uri, experiment: of MLflow.
        note: told in a sentence what was done to MLflow's store.
        fresh: whether to begin anew even where it could go on.

    Raises:
        UserError: the store has no name, or the run no configuration.
    """
    if tracker == "mlflow":
        return mirror.Remote(run, resolve_uri(uri), experiment, fresh, note)
    config: dict[str, Any] = mirror.configuration(run)
    if tracker == "tensorboard":
        return Board(run, config, remedy(tracker, run))
    if tracker == "wandb":
        return WandbRun(run, config, remedy(tracker, run), fresh)
    raise UserError(f"{tracker} is no tracker: one of {', '.join(TRACKERS)}.")
