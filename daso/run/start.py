"""One run, from its configuration to DONE: whether to start, resume or skip it, and on which device."""

import math
import os
import socket
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch

from daso.errors import AFRESH, CannotCompile, Damaged, Interrupted, RunFailed, UserError
from daso.machine import devices
from daso.machine.execution import configure_torch, resolve_device, short_of_disk, short_of_memory
from daso.machine.memory import address_limit, require_room
from daso.machine.signals import StopRequest
from daso.machine.streams import log_of
from daso.outputs.files import why
from daso.outputs.naming import objective
from daso.outputs.rundir import RunDir, RunState
from daso.run.evaluation import evaluate_only
from daso.run.images import changed
from daso.run.resume import afresh, as_begun, compare_code, left_behind, without_compiler
from daso.run.stages import own, prerequisites
from daso.run.training import train_run
from daso.schema import Compile, Config, Provenance
from daso.settings.checks import check
from daso.track.console import Console
from daso.track.progress import then
from daso.track.trackers import untold


def run(config: Config, provenance: Provenance, patience: float = 5.0) -> float:
    """Make the run that `config` describes exist, whatever is there of it already.

    A finished run is reported and not repeated; a partial one goes on from its checkpoint; `force` starts afresh, once
    for each start of a sweep; `eval_only` evaluates what there is. Runs that it is built on are made first.

    Args:
        config, provenance: what to run, and where that came from.
        patience: seconds to wait for another process that works on this run.

    Returns:
        The objective: the median of the last 20 top-1 accuracies, on the validation set where there is one, else on the
        test set.

    Raises:
        UserError: a mistake that the user can mend.
        RunFailed: the run cannot go on; it is marked FAILED and keeps its last good checkpoint.
        Interrupted: a signal ended it; a checkpoint is written.
    """
    require_room()
    device = resolve_device(config.device)
    with sentences(device):
        return _run(config, provenance, patience, device)


def _run(config: Config, provenance: Provenance, patience: float, device: torch.device) -> float:
    folder, console = RunDir(config.out_root, config.run_key), Console()
    if config.eval_only:
        with _place(config, device, console) as device:
            return evaluate_only(config, folder, device, console)
    if finished(config, provenance, folder, console):
        return objective(folder.numbers() or {})
    if afresh(config, provenance, folder) or not folder.begun():
        if sentence := left_behind(config, provenance):
            console.note(sentence)
        run_prerequisites(config, provenance, console)
    with (
        folder.lock(patience),
        _logged(folder, provenance, console, config.force),
        _place(config, device, console) as device,
    ):
        if finished(config, provenance, folder, console):  # by the process that held the lock until now
            return objective(folder.numbers() or {})
        if afresh(config, provenance, folder):
            folder.reset()
        folder.require_files()
        folder.clear()
        with StopRequest() as stop, sentences(device):
            attempt = partial(
                train_run, provenance=provenance, folder=folder, device=device, console=console, stop=stop
            )
            return _compiled_or_not(attempt, config, device, folder, console)


@contextmanager
def _logged(folder: RunDir, provenance: Provenance, console: Console, forced: bool) -> Iterator[None]:
    """Keep what a person is told in the run's folder, and there how the block ended; a refusal leaves no folder."""
    with log_of(folder.log) as log, console.kept_in(log):
        where = f"{socket.gethostname()}, process {os.getpid()}"
        console.remember(f"[{time.strftime('%Y-%m-%d %H:%M:%S%z')}] {where}: {' '.join(provenance.overrides)}")
        try:
            yield
        except RunFailed as failure:
            console.remember(f"Failed: {failure}")
            folder.mark_failed(str(failure))
            raise
        except UserError as refusal:
            console.remember(f"Refused: {refusal}")
            folder.give_up()
            raise
        except Interrupted:
            console.note(f"Stopped: {then(folder, forced)}.")
            raise


def _place(config: Config, device: torch.device, console: Console) -> AbstractContextManager[torch.device]:
    any_gpu = config.device in ("auto", "cuda")
    return devices.place(device, any_gpu, config.jobs_per_device, config.train.threads, console.note)


def run_prerequisites(config: Config, provenance: Provenance, console: Console) -> None:
    """Make the runs exist that this one is built on; another process that makes one is waited for."""
    for needed in prerequisites(config):
        folder = RunDir(needed.out_root, needed.run_key)
        ready = folder.numbers() is not None and not folder.mendable()
        elsewhere = folder.state() is RunState.running
        which = "which is finished" if ready else "which another process trains" if elsewhere else "which comes first"
        console.note(f"Run {config.run_key} is built on run {needed.run_key}, {which}.")
        if not ready:
            run(needed, provenance._replace(choices={}, warnings=check(needed), name=""), patience=math.inf)


def finished(config: Config, provenance: Provenance, folder: RunDir, console: Console) -> bool:
    """Whether the run is done already, and is to stay so; says so."""
    if afresh(config, provenance, folder) or not folder.done.exists():
        return False
    summary = folder.numbers()
    whole = summary is not None and {"run_key", "steps", "seconds"} <= summary.keys()
    if folder.begun() and (folder.mendable() or not whole):
        return False  # no step is left to train, and all that is missing is written
    if summary is None or not whole:
        raise Damaged(f"{folder.summary} is damaged, and no checkpoint holds the numbers of the finished run", AFRESH)
    console.note(f"Run {folder.key} is finished: nothing to train (force=true does it again).")
    for sentence in folder.troubles():
        console.warn(sentence)
    for sentence in changed(config, folder):
        console.warn(sentence)
    compare_code(str(summary.get("code")), console)
    for sentence in untold([folder], config.track.trackers):
        console.warn(sentence)
    console.summary(summary, folder.class_names(), config.train.evaluations)
    return True


def _compiled_or_not(
    attempt: Callable[[Config, dict[str, Any]], float],
    config: Config,
    device: torch.device,
    folder: RunDir,
    console: Console,
) -> float:
    """What `attempt` returns; where the compiler fails that nobody asked for, without it, from the start.

    Raises:
        CannotCompile: it was asked for, or the run has come a long way with it.
    """
    begun = folder.begun()
    config = as_begun(config, device, folder)
    try:
        return attempt(config, configure_torch(own(config), device))
    except CannotCompile as failure:
        if config.train.compile is not Compile.auto:
            raise
        if begun:
            remedy = "with resume_across=true, for this run was begun compiled; force=true starts afresh"
            raise CannotCompile(f"{str(failure).rstrip('.')} {remedy}.") from failure
        console.warn(f"{failure} So this run starts again with that.")
    folder.reset()
    config = without_compiler(config)
    return attempt(config, configure_torch(own(config), device))


@contextmanager
def sentences(device: torch.device) -> Iterator[None]:
    """Turn what can befall a run from outside into a `RunFailed`."""
    try:
        yield
    except (MemoryError, OSError, RuntimeError) as error:
        if short_of_memory(error):
            traceback.clear_frames(error.__traceback__)  # what they hold is needed to end in order
            raise RunFailed(
                f"{device} is out of memory: a smaller train.batch_size or train.mu, train.precision=bf16, "
                f"or fewer jobs on this {'GPU' if device.type == 'cuda' else 'machine'} would fit"
                f"{'' if address_limit() is None else '; or allow more address space (ulimit -v)'}."
            ) from error
        if short_of_disk(error):
            raise RunFailed("The disk is full: free some space and start the same line again.") from error
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):  # a reader that went away
            place = f"{error.filename}: " if error.filename else ""
            raise RunFailed(f"A file cannot be read or written: {place}{why(error)}.") from error
        raise
