"""Knobs that a person sets and that the chosen options do not read: nothing is silently without effect."""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from daso.errors import UserError
from daso.schema import Config, missing_reader
from daso.settings.checks import check

# What a sweep is told: key or node -> the options of hydra/sweeper that read it; empty: a single run reads it as well
SWEEPERS = {"sweep": ("grid",), "tune": ("study",), "plan": ("grid", "study", "")}
# What Hydra is told of a sweep, whatever its sweeper
OF_SWEEPS = ("hydra/launcher", "hydra.launcher.", "hydra/sweeper", "hydra.sweeper.", "hydra.sweep.")


def refuse_unread(sweeper: str, overrides: Sequence[str]) -> None:
    """Refuse what is told to a sweep that does not read it.

    Args:
        sweeper: the option of hydra/sweeper; empty for a single run.
        overrides: as typed, such as `tune.n_trials=5`; in a single run those of Hydra as well.

    Raises:
        UserError: one of them changes nothing.
    """
    for override in overrides:
        if not sweeper and override.lstrip("+~").startswith(OF_SWEEPS):
            raise UserError(f"{override} is not possible in a single run: only a sweep reads it, so write -m as well.")
        readers = SWEEPERS.get(override.lstrip("+").partition("=")[0].partition(".")[0], (sweeper,))
        if sweeper not in readers:
            here = f"with hydra/sweeper={sweeper}" if sweeper else "in a single run"
            known = " or ".join(f"hydra/sweeper={reader}" for reader in readers if reader)
            raise UserError(f"{override} is not possible {here}: only a sweep (-m) with {known} reads it.")


def cautions(config: Config, overrides: Sequence[str], to_train: bool = True) -> list[str]:
    """What a person should know of a run before it trains: settings that probably do not mean what they say; and of the
    line that was typed whether it trains or not: overrides that change nothing.

    Args:
        config: the run's configuration.
        overrides: as typed; none of a run that they do not lead to.
        to_train: whether it will train.
    """
    return list(dict.fromkeys([*(check(config) if to_train else ()), *inert(config, overrides)]))


def inert(config: Config, overrides: Sequence[str]) -> list[str]:
    """A sentence for every override that changes nothing.

    Args:
        config: what they gave.
        overrides: as typed, such as `optim.gamma=0.1`.
    """
    found = []
    for override in overrides:
        key, equals, value = override.lstrip("+").partition("=")
        reader = reader_of(config, key) if equals else ""
        if reader:
            found.append(f"{key}={value} has no effect in this run: only {reader} reads it.")
    return found


def reader_of(config: Config, key: str) -> str:
    """Which option reads a knob that `config` does not read; empty where it does."""
    name, _, knob = key.partition(".")
    node: Any = getattr(config, name, None)
    known = {f.name: f for f in fields(node)} if is_dataclass(node) else {}
    if knob not in known:
        return ""
    option = getattr(node, "name", None)
    if knob != "name" and option is not None and option == getattr(node, "absent", None):
        return f"another option than {name}={option}"
    missing = missing_reader(known[knob], config)
    return missing.said if missing else ""
