"""Checkpoints: written atomically, read with `weights_only=True`, refused in a sentence when they do not fit."""

import errno
import os
from pathlib import Path
from typing import Any

import torch

from daso.errors import RunFailed, UserError

FORMAT = 1


def save(path: Path, state: dict[str, Any]) -> None:
    """Write `state` beside `path`, flush it to the disk, then rename: a kill leaves the old file or the new one.

    Raises:
        RunFailed: the disk is full or cannot be written.
    """
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("wb") as file:
            torch.save({"format": FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        raise RunFailed(f"The checkpoint {path} could not be written: {_reason(error)}.") from error


def load(path: Path, run_key: str, device: torch.device) -> dict[str, Any]:
    """Read the checkpoint of `run_key`.

    Raises:
        UserError: the file is unreadable, of another format, or of another run.
    """
    remedy = f"remove {path} to start that run afresh, or bring back the right file"
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise UserError(f"The checkpoint {path} is unreadable ({type(error).__name__}); {remedy}.") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UserError(f"The checkpoint {path} is not one of this version's; {remedy}.")
    if state["run_key"] != run_key:
        raise UserError(f"The checkpoint {path} belongs to run {state['run_key']}, not to {run_key}; {remedy}.")
    return state


def _reason(error: BaseException) -> str:
    """In words; torch puts an error of its own in front of the operating system's."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError) and link.errno is not None:
            full = link.errno in (errno.ENOSPC, errno.EDQUOT)
            return "the disk is full" if full else os.strerror(link.errno).lower()
        link = link.__context__
    return str(error).splitlines()[0].lower()
