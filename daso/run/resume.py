"""What a run that goes on is held against: what it left, how it was begun, with which code and on which machine."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from daso.errors import AFRESH, Damaged, UserError
from daso.machine.execution import hardware
from daso.machine.version import code_version
from daso.outputs.rundir import RunDir, RunState
from daso.schema import Compile, Config, Provenance, TrainConfig
from daso.settings.identity import run_key
from daso.track.console import Console
from daso.track.jsonl import kept
from daso.train import checkpoint
from daso.train.loop import Parts, State

OF_MACHINE = ("precision", "compile", "threads", "deterministic", "channels_last")  # knobs of `train` with a key each


def afresh(config: Config, provenance: Provenance, folder: RunDir) -> bool:
    """Whether the run is to lose what there is of it: with `force`, unless this start of a sweep began it already."""
    return config.force and not (provenance.start and provenance.start == forced_by(folder))


def forced_by(folder: RunDir) -> str:
    """The start of a sweep that `force` last began the run for; empty if none."""
    return str(folder.about().get("forced", ""))


def left_behind(config: Config, provenance: Provenance) -> str:
    """A sentence about the unfinished run that the same line goes on with where nothing about the machine is typed, and
    which a new run leaves where it is; empty where there is none.
    """
    typed = {override.lstrip("+").partition("=")[0] for override in provenance.overrides}
    usual: dict[str, Any] = {
        f.name: f.default for f in fields(TrainConfig) if f.name in OF_MACHINE and f"train.{f.name}" in typed
    }
    if not usual:
        return ""
    other = RunDir(config.out_root, run_key(replace(config, train=replace(config.train, **usual))))
    if other.key == config.run_key or other.state() not in (RunState.partial, RunState.failed):
        return ""
    words = " and ".join(f"train.{name}" for name in usual)
    return f"Run {other.key}, which differs in {words} alone, is not finished: without {words} it goes on."


def as_begun(config: Config, device: torch.device, folder: RunDir) -> Config:
    """`config`, without the compiler if a run that leaves it to the device was begun without one on such a device."""
    card = folder.about()
    was = (card.get("device"), card.get("compile"))
    same = folder.begun() and was == (hardware(device), Compile.none.value)
    return without_compiler(config) if same and config.train.compile is Compile.auto else config


def without_compiler(config: Config) -> Config:
    """`config` as it would be with `train.compile=none`."""
    return replace(config, train=replace(config.train, compile=Compile.none))


def take_up(folder: RunDir, parts: Parts, state: State, console: Console, to_train: bool = True) -> dict[str, Any]:
    """Bring `parts` and `state` to the last good checkpoint: the newest one that is whole, fits the run and, if the run
    is to be trained, whose rows the journal holds. That one then is the newest. Returns what it was made in.

    Raises:
        Damaged: there is none; the sentence is about the newest.
        UserError: it cannot be read.
    """
    damages: list[Damaged] = []
    for path in filter(Path.exists, (folder.checkpoint, folder.previous)):
        try:
            saved = checkpoint.load(path, parts.config.run_key)
            fit(state, parts, saved, f"The checkpoint {path}")
            if to_train:
                kept(folder.metrics, state.step, state.journal)
        except Damaged as damage:
            damages.append(damage)
            continue
        for found in damages:
            console.warn(f"{found.what}: this run goes on from the checkpoint before, of step {state.step}.")
        if to_train and path == folder.previous:
            path.replace(folder.checkpoint)
        environment: dict[str, Any] = saved["environment"]
        return environment
    raise damages[0]


def fit(state: State, parts: Parts, saved: dict[str, Any], name: str) -> None:
    """Take everything from the content of a checkpoint, called `name`.

    Raises:
        Damaged: it does not fit the run.
    """
    if "journal" not in saved:  # an earlier version's counted rows at most
        saved["journal"] = {"rows": saved.get("rows")}
    wrong = (checkpoint.unlike(saved.get(part), model, part) for part, model in state.model(parts).items())
    reason = next(filter(None, wrong), "")
    if not reason and not 0 <= saved["step"] <= parts.config.train.steps:
        reason = f"its step is {saved['step']} of {parts.config.train.steps}"
    if not reason and "digest" in saved["journal"] and type(saved["journal"].get("bytes")) is not int:
        reason = "journal is not what it should be"
    try:
        if not reason:
            state.unpack(parts, saved)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
    if reason:
        raise Damaged(f"{name} does not fit this run ({reason})", AFRESH)


def check_environment(saved: dict[str, Any], now: dict[str, Any], across: bool) -> None:
    """Refuse to go on where bits would differ, unless the user allows it.

    Raises:
        UserError: what differs, and what would be right.
    """
    differing = [
        f"{name} was {saved[name]} and is {value}" for name, value in now.items() if saved.get(name, value) != value
    ]
    if differing and not across:
        raise UserError(
            f"This run cannot be resumed here with equal numbers ({'; '.join(differing)}): "
            "resume it where it was started, allow it with resume_across=true, or start afresh with force=true."
        )


def compare_code(before: str, console: Console) -> None:
    """Warn if other code than `before` runs now."""
    if before != str(code_version()):
        console.warn(
            f"This run was made by code {before}, this is {code_version()}: only the same code promises equal numbers."
        )
