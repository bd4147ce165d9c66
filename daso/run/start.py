"""One run, from its configuration to DONE: start or resume, train, leave everything worth keeping in its folder."""

import errno
import math
import platform
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from daso.data import index_files
from daso.data import split as splits
from daso.errors import CannotCompile, RunFailed, UserError
from daso.machine import devices
from daso.machine.execution import configure_torch, hardware, resolve_device, short_of_memory
from daso.machine.signals import StopRequest
from daso.machine.version import code_version
from daso.outputs.files import read_json, replace_file, write_json
from daso.outputs.naming import method_name, objective, ratio, run_name
from daso.outputs.rundir import RunDir
from daso.run.build import build, data_of
from daso.run.stages import own, prerequisites, remarks
from daso.schema import Compile, Config, Provenance
from daso.settings.checks import check
from daso.settings.identity import plain, to_yaml
from daso.track.console import Console
from daso.track.figures import confusion_figure, pseudo_label_figure
from daso.track.jsonl import TIME, Journal, tail
from daso.track.mirror import Mirror, artifacts
from daso.track.mlflow import Status, resolve_uri
from daso.train import checkpoint, evaluate
from daso.train.loop import Parts, State, evaluated, predictor, tallies, train


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
    device = resolve_device(config.device)
    folder, console = RunDir(config.out_root, config.run_key), Console()
    if config.eval_only:
        with _place(config, device, console) as device:
            return evaluate_only(config, folder, device, console)
    if finished(config, provenance, folder, console):
        return objective(read_json(folder.summary) or {})
    if afresh(config, provenance, folder) or not folder.checkpoint.exists():
        run_prerequisites(config, provenance, console)
    with _place(config, device, console) as device, folder.lock(patience), StopRequest() as stop:
        if finished(config, provenance, folder, console):  # by the process that held the lock until now
            return objective(read_json(folder.summary) or {})
        if afresh(config, provenance, folder):
            folder.reset()
        folder.clear()
        try:
            with sentences(device):
                attempt = partial(
                    _train, provenance=provenance, folder=folder, device=device, console=console, stop=stop
                )
                return _compiled_or_not(attempt, config, device, folder, console)
        except RunFailed as failure:
            folder.mark_failed(str(failure))
            raise


def _place(config: Config, device: torch.device, console: Console) -> AbstractContextManager[torch.device]:
    any_gpu = config.device in ("auto", "cuda")
    return devices.place(device, any_gpu, config.jobs_per_device, config.train.threads, console.note)


def run_prerequisites(config: Config, provenance: Provenance, console: Console) -> None:
    """Make the runs exist that this one is built on; another process that makes one is waited for."""
    for needed in prerequisites(config):
        console.note(f"Run {config.run_key} is built on run {needed.run_key}, which comes first.")
        run(needed, provenance._replace(choices={}, warnings=check(needed), name=""), patience=math.inf)


def afresh(config: Config, provenance: Provenance, folder: RunDir) -> bool:
    """Whether the run is to lose what there is of it: with `force`, unless this start of a sweep began it already."""
    return config.force and not (provenance.start and provenance.start == _forced_by(folder))


def _forced_by(folder: RunDir) -> str:
    """The start of a sweep that `force` last began the run for; empty if none."""
    return str((read_json(folder.card) or {}).get("forced", ""))


def finished(config: Config, provenance: Provenance, folder: RunDir, console: Console) -> bool:
    """Whether the run is done already, and is to stay so; says so."""
    summary = read_json(folder.summary)
    if afresh(config, provenance, folder) or not folder.done.exists() or summary is None:
        return False
    console.note(f"Run {folder.key} is finished: nothing to train (force=true does it again).")
    _compare_code(str(summary.get("code")), console)
    console.summary(summary)
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
    begun = folder.checkpoint.exists()
    config = _as_begun(config, device, folder)
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
    config = _without_compiler(config)
    return attempt(config, configure_torch(own(config), device))


def _as_begun(config: Config, device: torch.device, folder: RunDir) -> Config:
    """`config`, without the compiler if a run that leaves it to the device was begun without one on such a device."""
    card = read_json(folder.card) or {}
    was = (card.get("device"), card.get("compile"))
    same = folder.checkpoint.exists() and was == (hardware(device), Compile.none.value)
    return _without_compiler(config) if same and config.train.compile is Compile.auto else config


def _without_compiler(config: Config) -> Config:
    return replace(config, train=replace(config.train, compile=Compile.none))


def _train(
    config: Config,
    environment: dict[str, Any],
    provenance: Provenance,
    folder: RunDir,
    device: torch.device,
    console: Console,
    stop: StopRequest,
) -> float:
    for sentence in [*provenance.warnings, *remarks(own(config))]:
        console.warn(sentence)
    parts = prepare(own(config), folder, device)
    for sentence in index_files.remarks(config, splits.load(folder.splits), parts.counts):
        console.warn(sentence)
    state = State()
    code = str(code_version())
    if folder.checkpoint.exists():
        saved = checkpoint.load(folder.checkpoint, config.run_key, device)
        _check_environment(saved["environment"], environment, config.resume_across)
        _compare_code(saved["environment"]["code"], console)
        state.unpack(parts, saved)
    replace_file(folder.resolved, to_yaml(config).encode())
    name, steps = provenance.name or run_name(plain(config)), parts.config.train.steps
    forced = provenance.start if config.force else _forced_by(folder)
    card = {"name": name, "tags": _tags(config, provenance), "steps": steps, "forced": forced}
    write_json(folder.card, card | {"device": hardware(device), "compile": environment["compile"]})
    journal = Journal(folder.metrics)
    journal.truncate(state.step, state.rows)
    mirror = None
    if config.track.name == "mlflow":
        uri = resolve_uri(config.track.uri)
        mirror = Mirror(folder, uri, config.track.experiment, console.warn)
        mirror.start()
    console.header(_facts(name, parts, environment, state))
    status: Status = "KILLED"
    try:
        report = _Report(journal, console, mirror)
        with console.progress(state.step, steps):
            train(parts, state, report, folder.checkpoint, environment | {"code": code}, stop)
        summary = summarise(parts, state, environment | {"code": code}, last_log(folder))
        write_json(folder.summary, summary)
        draw_figures(folder, state)
        console.summary(summary)
        status = "FINISHED"
    except Exception:
        status = "FAILED"
        raise
    finally:
        journal.close()
        if mirror is not None:
            mirror.finish(status, artifacts(folder), timeout=20 if status == "KILLED" else 120)
    folder.mark_done()
    return objective(summary)


def prepare(config: Config, folder: RunDir, device: torch.device) -> Parts:
    """Load data and build the run; the split is saved beside it, or compared with the one that is.

    Raises:
        UserError: the data set is not the one that the run was started on.
    """
    arrays, split = data_of(config)
    if not folder.splits.exists():
        splits.save(split, folder.splits)
    elif splits.checksum(splits.load(folder.splits)) != splits.checksum(split):
        raise UserError(
            f"dataset.root={config.dataset.root} holds other data than run {folder.key} was started on: "
            "bring the old data back, or start afresh with force=true."
        )
    return build(config, device, arrays, split)


def last_log(folder: RunDir) -> dict[str, Any]:
    """The newest losses, speed and memory in the run's journal, by name."""
    rows = [row for row in tail(folder.metrics) if row["event"] == "train"]
    return {name: value for row in rows[-1:] for name, value in row.items() if name not in ("event", "step", TIME)}


def summarise(parts: Parts, state: State, environment: dict[str, Any], logged: dict[str, Any]) -> dict[str, Any]:
    """The final numbers and what they were made with, flat; `logged` is the newest row of the training log."""
    config = parts.config
    return {
        "run_key": config.run_key,
        "status": "FINISHED",
        "dataset": config.dataset.name,
        "steps": state.step,
        "seconds": round(state.seconds, 3),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "python": platform.python_version(),
        **environment,
        "warnings": state.warned,
        **logged,
        **state.last,
    }


def draw_figures(folder: RunDir, state: State) -> None:
    """Confusion matrix of the test set, and recall and precision of the pseudo-labels where there are any."""
    folder.figures.mkdir(exist_ok=True)
    confusion_figure(state.confusion.numpy(), folder.figures / "confusion.png")
    classes = len(state.confusion)

    def per_class(name: str) -> list[float]:
        return [state.last.get(f"pl/final/{name}/class/{k}", math.nan) for k in range(classes)]

    recall, precision = per_class("recall"), per_class("precision")
    if not all(map(math.isnan, recall)):
        pseudo_label_figure(recall, precision, folder.figures / "pseudo_labels.png")


def evaluate_only(config: Config, folder: RunDir, device: torch.device, console: Console) -> float:
    """Evaluate the checkpoint of a finished or partial run again and print its table; changes nothing.

    Raises:
        UserError: there is no checkpoint.
    """
    if not folder.checkpoint.exists():
        raise UserError(f"eval_only=true found no checkpoint at {folder.checkpoint}: train the run first.")
    used = own(_as_begun(config, device, folder))
    environment = configure_torch(used, device)
    parts, state = prepare(used, folder, device), State()
    state.unpack(parts, checkpoint.load(folder.checkpoint, config.run_key, device))
    console.header(_facts(run_name(plain(config)), parts, environment, state))
    measured = evaluate.measure(tallies(parts, predictor(parts, evaluated(parts))), parts.counts).get().metrics
    console.note(f"Evaluated again after {state.step} of {parts.config.train.steps} steps.")
    summary = summarise(parts, state, environment, last_log(folder)) | measured
    console.summary(summary)
    return objective(summary)


class _Report:
    """What the loop tells, told on: to the journal, the console, and MLflow."""

    def __init__(self, journal: Journal, console: Console, mirror: Mirror | None) -> None:
        self._journal, self._console, self._mirror = journal, console, mirror

    def row(self, event: str, step: int, values: dict[str, float]) -> None:
        self._journal.append(event, step, values)
        self._console.row(event, step, values)
        if self._mirror is not None:
            self._mirror.notify()

    def progress(self, step: int) -> None:
        self._console.advance(step)

    def warn(self, step: int, text: str) -> None:
        self._console.warn(f"Step {step}: {text}")

    def sync(self) -> int:
        return self._journal.sync()


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
                f"or fewer jobs on this {'GPU' if device.type == 'cuda' else 'machine'} would fit."
            ) from error
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunFailed("The disk is full: free some space and start the same line again.") from error
        raise


def _check_environment(saved: dict[str, Any], now: dict[str, Any], across: bool) -> None:
    differing = [
        f"{name} was {saved[name]} and is {value}" for name, value in now.items() if saved.get(name, value) != value
    ]
    if differing and not across:
        raise UserError(
            f"This run cannot be resumed here with equal numbers ({'; '.join(differing)}): "
            "resume it where it was started, allow it with resume_across=true, or start afresh with force=true."
        )


def _compare_code(before: str, console: Console) -> None:
    if before != str(code_version()):
        console.warn(
            f"This run was made by code {before}, this is {code_version()}: only the same code promises equal numbers."
        )


def _tags(config: Config, provenance: Provenance) -> dict[str, str]:
    code = code_version()
    return {
        "run_key": config.run_key,
        "git_commit": code.commit or "unknown",
        "git_dirty": str(bool(code.changes)).lower(),
        "dataset": config.dataset.name,
        "algorithm": config.algorithm.name,
        "method": method_name(plain(config)),
        "gamma_l": ratio(config.imb.gamma_l),
        "gamma_u": ratio(config.imb.gamma_u),
        "overrides": " ".join(provenance.overrides),
        **provenance.tags,
        **{f"choice.{group}": option for group, option in provenance.choices.items()},
    }


def _facts(name: str, parts: Parts, environment: dict[str, Any], state: State) -> dict[str, Any]:
    """What a person wants to see before a run starts."""
    pool = parts.feed.pool
    unlabeled = pool.unlabeled_y
    classes = parts.config.dataset.num_classes
    sizes: list[int] | int = 0
    if unlabeled is not None:
        known = bool((unlabeled >= 0).all())
        sizes = torch.bincount(unlabeled, minlength=classes).tolist() if known else len(unlabeled)
    return {
        "name": name,
        "run_key": parts.config.run_key,
        "labeled": parts.counts,
        "unlabeled": sizes,  # per class; one number where the classes are unknown
        "held_out": {name: len(y) for name, (_, y) in parts.splits.items()},
        "parameters": sum(p.numel() for p in parts.nets.student.parameters()),
        "steps": parts.config.train.steps,
        "start": state.step,
        **environment,
    }
