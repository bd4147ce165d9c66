"""Knobs that a person sets and that the chosen options do not read: nothing is silently without effect."""

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from daso.errors import UserError
from daso.schema import DIST, Config, Schedule

# What no single node can tell: key -> who reads it, or nobody reads it here (empty)
READ_BY: dict[str, Callable[[Config], str]] = {
    "dataset.verify": lambda config: _unless(config.dataset.name != "digits", "a data set of files in dataset.root"),
    "optim.milestones": lambda config: _unless(config.optim.schedule is Schedule.multistep, "optim.schedule=multistep"),
    "optim.gamma": lambda config: _unless(config.optim.schedule is Schedule.multistep, "optim.schedule=multistep"),
    "optim.cosine_ratio": lambda config: _unless(config.optim.schedule is Schedule.cosine, "optim.schedule=cosine"),
    "optim.ema_decay": lambda config: _unless(config.reads_unlabeled, "a learner of unlabeled images"),
    "train.mu": lambda config: _unless(config.reads_unlabeled, "a learner of unlabeled images"),
    "daso.t_dist": lambda config: _unless(config.daso.blend == DIST, "daso.blend=dist"),
    "imb.m1": lambda config: _unless(not config.imb.unlabeled_counts, "a setting without imb.unlabeled_counts"),
    "imb.gamma_u": lambda config: _unless(not config.imb.unlabeled_counts, "a setting without imb.unlabeled_counts"),
    "imb.unlabeled_shape": lambda config: _unless(config.reads_unlabeled, "a learner of unlabeled images"),
    "imb.unlabeled_counts": lambda config: _unless(config.reads_unlabeled, "a learner of unlabeled images"),
}

# What a sweep is told: key or node -> the options of hydra/sweeper that read it; empty: a single run reads it as well
SWEEPERS = {"sweep": ("grid",), "tune": ("study",), "plan": ("grid", "study", "")}


def refuse_unread(sweeper: str, overrides: Sequence[str]) -> None:
    """Refuse what is told to a sweep that does not read it.

    Args:
        sweeper: the option of hydra/sweeper; empty for a single run.
        overrides: as typed, such as `tune.n_trials=5`.

    Raises:
        UserError: one of them changes nothing.
    """
    for override in overrides:
        readers = SWEEPERS.get(override.lstrip("+").partition("=")[0].partition(".")[0], (sweeper,))
        if sweeper not in readers:
            here = f"with hydra/sweeper={sweeper}" if sweeper else "in a single run"
            known = " or ".join(f"hydra/sweeper={reader}" for reader in readers if reader)
            raise UserError(f"{override} is not possible {here}: only a sweep (-m) with {known} reads it.")


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
    name, _, field = key.partition(".")
    node: Any = getattr(config, name, None)
    known = {f.name for f in fields(node)} if is_dataclass(node) else set()
    if field not in known:
        return ""
    option = getattr(node, "name", None)
    if field != "name" and option is not None and option == getattr(node, "absent", None):
        return f"another option than {name}={option}"
    return READ_BY[key](config) if key in READ_BY else ""


def _unless(is_read: bool, reader: str) -> str:
    return "" if is_read else reader
