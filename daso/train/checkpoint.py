"""Checkpoints: written atomically, read with `weights_only=True`, believed only if they are what was written."""

import errno
import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor

from daso.errors import AFRESH, Damaged, RunFailed
from daso.machine.execution import short_of_memory
from daso.outputs.files import damage_of, digest, read_file
from daso.outputs.rundir import before

FORMAT = 1
WEIGHTS = ("student", "teacher", "optimizer")  # what a run cannot go on from unless it is finite


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write `state` beside `path`, flush it to the disk, then rename: a kill leaves the old file or the new one.

    The old one stays as `before(path)`, and is the only one between the two renames.

    Args:
        path: where to.
        state: nested dicts and lists of tensors and plain values.

    Raises:
        RunFailed: the disk is full or cannot be written.
    """
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("wb") as file:
            torch.save({"format": FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            path.replace(before(path))
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        raise RunFailed(f"The checkpoint {path} could not be written: {_reason(error)}.") from error


def load(path: Path, run_key: str) -> dict[str, Any]:
    """Read the checkpoint of `run_key`, onto the CPU: a GPU has no room to give to a second copy of a run.

    Every byte is compared with the checksums that torch writes and does not read.

    Raises:
        Damaged: it is not what was written, of another format, or of another run; a weight is not finite.
        UserError: the operating system does not let it be read.
    """
    content = io.BytesIO(read_file(path))
    state, sound = None, True
    try:
        broken = damage_of(content)
        if broken is None:
            state = torch.load(content, map_location="cpu", weights_only=True)
        if is_ours(state):
            sound = finite(state)
    except Exception as error:  # a damaged file may raise anything
        if short_of_memory(error):
            raise
        raise Damaged(f"The checkpoint {path} is unreadable ({type(error).__name__})", AFRESH) from error
    if broken is not None:
        raise Damaged(f"The checkpoint {path} is damaged: its part {broken} does not fit its checksum", AFRESH)
    if not is_ours(state):
        raise Damaged(f"The checkpoint {path} is not one of this version's", AFRESH)
    if state["run_key"] != run_key:
        raise Damaged(f"The checkpoint {path} belongs to run {state['run_key']}, not to {run_key}", AFRESH)
    if not sound:
        raise Damaged(f"The checkpoint {path} holds weights that are not finite", AFRESH)
    return state


def is_ours(state: Any) -> TypeGuard[dict[str, Any]]:
    """Whether it is what `save` writes of a run."""
    return isinstance(state, dict) and state.get("format") == FORMAT and {"run_key", *WEIGHTS} <= state.keys()


def finite(state: Mapping[str, Any]) -> bool:
    """Whether weights, running statistics and momentum are finite, and so are their sums. One device read."""
    tensors = [t for name in WEIGHTS for t in _tensors(state[name]) if t.is_floating_point() and t.numel()]
    norms = torch._foreach_norm(tensors, ord=1)  # the largest entry instead takes five times as long on a CPU
    return not norms or bool(torch.isfinite(torch.stack([norm.to(torch.float64) for norm in norms])).all())


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """32 hex digits over names, kinds, shapes and bits of a network's state."""
    parts = [
        part
        for name, value in sorted(state.items())
        for part in (
            f"{name}:{value.dtype}:{tuple(value.shape)}:".encode(),
            value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes(),
        )
    ]
    return digest(*parts)


def unlike(found: Any, model: Any, name: str) -> str:
    """How a part of a checkpoint differs from what it should be, in words; empty where it does not.

    Args:
        found: the part.
        model: tensors of the right shapes in dicts with the right keys, or a type; `{str: model}` is a dict with any
            keys, `[model]` a list of any length.
        name: of the part.
    """
    if isinstance(model, Tensor):
        good = isinstance(found, Tensor) and found.shape == model.shape
    elif isinstance(model, type):
        good = isinstance(found, (float, int) if model is float else model) and not isinstance(found, bool)
    elif isinstance(model, list):
        good = isinstance(found, list)
    else:
        good = isinstance(found, dict) and (str in model or found.keys() == model.keys())
    if not good:
        return f"{name} is not what it should be"
    if isinstance(model, list):
        parts = [(item, model[0], name) for item in found]
    elif isinstance(model, dict):
        parts = [(item, model.get(key, model.get(str)), f"{name}.{key}") for key, item in found.items()]
    else:
        parts = []
    return next(filter(None, (unlike(*part) for part in parts)), "")


def _tensors(node: Any) -> Iterator[Tensor]:
    """The tensors in nested dicts and lists."""
    if isinstance(node, Tensor):
        yield node
    elif isinstance(node, dict | list):
        for item in node.values() if isinstance(node, dict) else node:
            yield from _tensors(item)


def _reason(error: BaseException) -> str:
    """In words; torch puts an error of its own in front of the operating system's."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError) and link.errno is not None:
            full = link.errno in (errno.ENOSPC, errno.EDQUOT)
            return "the disk is full" if full else os.strerror(link.errno).lower()
        link = link.__context__
    return str(error).splitlines()[0].lower()
