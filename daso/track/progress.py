"""How far a run is, by its checkpoint and its journal; imports no torch."""

import pickletools
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daso.outputs.rundir import RunDir, RunState
from daso.track.jsonl import pace

CONTENT = "data.pkl"  # of a checkpoint, which is an archive: all but the numbers of its tensors


def reached(run: RunDir, state: RunState) -> int:
    """The step that an unfinished run is at: the newest that it tells under way, else that it goes on from."""
    if state is not RunState.running:
        return going_on_from(run)
    return max(pace(run.metrics)[0], going_on_from(run) if run.begun() else 0)


def going_on_from(run: RunDir) -> int:
    """The step of a run's newest checkpoint; 0 where there is none, as the run then starts again.

    Of checkpoints that do not tell, because they are damaged or an earlier version's, that of the newest row.
    """
    found = (step_of(path) for path in (run.checkpoint, run.previous) if path.exists())
    step = next((step for step in found if step is not None), None)
    return step if step is not None else pace(run.metrics)[0] if run.begun() else 0


def then(run: RunDir, forced: bool) -> str:
    """What the line that began a run makes of it once it was broken off, as a clause.

    Args:
        run: the run.
        forced: whether `force` was asked for, which would begin it afresh.
    """
    if not (step := going_on_from(run)):
        return "the same line starts it again"
    return f"the same line {'without force=true' if forced else 'again'} goes on from step {step:,}"


def step_of(checkpoint: Path) -> int | None:
    """The step of a checkpoint, from the first bytes of its content, which are looked at and not executed; None where
    they do not tell.
    """
    try:
        with zipfile.ZipFile(checkpoint) as parts:
            (name,) = (name for name in parts.namelist() if name.rpartition("/")[2] == CONTENT)
            with parts.open(name) as content:
                words = (value for code, value, _ in pickletools.genops(content) if "PUT" not in code.name)
                next(word for word in words if word == "step")
                step = next(words)
    except Exception:  # a damaged file may raise anything
        return None
    return step if isinstance(step, int) else None


def first_row(config: Mapping[str, Any]) -> int:
    """The step of the first row that a resolved configuration's run writes; 0 where it does not tell."""
    train = config.get("train")
    known = [train.get(key) for key in ("log_every", "eval_every", "steps")] if isinstance(train, Mapping) else []
    return min((steps for steps in known if isinstance(steps, int)), default=0)
