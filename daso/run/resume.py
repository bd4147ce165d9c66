"""What a run that goes on is held against: how it was begun, with which code and on which machine."""

from dataclasses import replace
from typing import Any

import torch

from daso.errors import UserError
from daso.machine.execution import hardware
from daso.machine.version import code_version
from daso.outputs.files import read_json
from daso.outputs.rundir import RunDir
from daso.schema import Compile, Config, Provenance
from daso.track.console import Console


def afresh(config: Config, provenance: Provenance, folder: RunDir) -> bool:
    """Whether the run is to lose what there is of it: with `force`, unless this start of a sweep began it already."""
    return config.force and not (provenance.start and provenance.start == forced_by(folder))


def forced_by(folder: RunDir) -> str:
    """The start of a sweep that `force` last began the run for; empty if none."""
    return str((read_json(folder.card) or {}).get("forced", ""))


def as_begun(config: Config, device: torch.device, folder: RunDir) -> Config:
    """`config`, without the compiler if a run that leaves it to the device was begun without one on such a device."""
    card = read_json(folder.card) or {}
    was = (card.get("device"), card.get("compile"))
    same = folder.checkpoint.exists() and was == (hardware(device), Compile.none.value)
    return without_compiler(config) if same and config.train.compile is Compile.auto else config


def without_compiler(config: Config) -> Config:
    """`config` as it would be with `train.compile=none`."""
    return replace(config, train=replace(config.train, compile=Compile.none))


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
