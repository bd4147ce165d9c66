"""What a person may do next, as commands that can be copied."""

import json
import os
import shlex
from importlib.util import find_spec
from pathlib import Path

from daso.credentials import mask_url
from daso.outputs.rundir import RunDir
from daso.schema import TrackConfig
from daso.track import tensorboard, wandb
from daso.track.mlflow import DEFAULT_URI, resolve_uri

ROOT = "outputs"  # where runs are by default


def after_run(run: RunDir, track: TrackConfig) -> list[str]:
    """Lines for the end of a single run: its folder, and what to do next; only a finished one can be used."""
    root, folder = _option("--root ", _short(run.root)), _short(run.path)
    show = f"python -m daso.runs show {run.key}{root}"
    use = f"python -m daso.predict {shlex.quote(folder)} IMAGES...  # in Python: daso.load({json.dumps(folder)})"
    return told(run.path, [show, use if run.done.exists() else "", *viewers(track, run.root)])


def after_sweep(out_root: str, track: TrackConfig, table: str = "") -> list[str]:
    """Lines for the end of a sweep: the folder of its runs, and what to do next.

    Args:
        out_root: where they are.
        track: their trackers.
        table: the number of the paper's table that they are of.
    """
    runs = _option("runs=", _short(Path(out_root)))
    report = f"python -m daso.report table={table or 'mine'}{runs}"
    return told(Path(out_root), [report, *viewers(track, Path(out_root))])


def told(folder: Path, commands: list[str]) -> list[str]:
    """A folder and commands, one a line; none of those that are empty."""
    heads = ["next", *[""] * len(commands)]
    return [f"folder  {_short(folder)}", *(f"{head:6}  {line}" for head, line in zip(heads, filter(None, commands)))]


def viewers(track: TrackConfig, root: Path) -> list[str]:
    """The commands that show tracked runs, one a tracker.

    Args:
        track: their trackers.
        root: where the runs are.
    """
    found = [_mlflow(track)] if "mlflow" in track.trackers else []
    if "tensorboard" in track.trackers and find_spec("tensorboard"):  # else whoever tracks has said what is missing
        found.append(f"tensorboard --logdir {shlex.quote(f'{_short(root)}/{tensorboard.FOLDER}')}")
    if "wandb" in track.trackers and find_spec("wandb") and wandb.mode() == "offline":
        found.append(f"wandb sync {shlex.quote(f'{_short(root)}/{wandb.FOLDER}')}/offline-run-*")
    return found


def _mlflow(track: TrackConfig) -> str:
    """The command that shows MLflow's store; empty where it has no name."""
    try:
        uri = resolve_uri(track.uri)
    except Exception:  # whoever tracks has said so
        return ""
    if uri.startswith("http"):
        return f"open {mask_url(uri)}"
    here = uri == f"sqlite:///{Path.cwd()}/{DEFAULT_URI.rpartition('/')[2]}"
    return "mlflow ui" if here else f"mlflow ui --backend-store-uri {shlex.quote(mask_url(uri))}"


def _option(name: str, root: str) -> str:
    return "" if root == ROOT else f" {name}{shlex.quote(root)}"


def _short(folder: Path) -> str:
    """A folder as one would type it here."""
    place = os.path.relpath(folder)
    return str(folder.absolute()) if place.startswith("..") else place
