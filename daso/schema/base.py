"""What every part of the schema is made with."""

import os
from collections.abc import Callable, Mapping
from dataclasses import Field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from daso.errors import UserError

if TYPE_CHECKING:
    from daso.schema.run import Config

UNKNOWN = "unknown"
DIST = "dist"
NOT_SCIENCE = {"science": False}


class Provenance(NamedTuple):
    """Where a configuration came from: recorded beside a run, without a part in its identity."""

    overrides: list[str]  # as typed on the command line, or as the sweep set them
    choices: dict[str, str]  # the chosen option of each configuration group
    in_sweep: bool
    warnings: list[str]  # sentences about the settings
    name: str = ""  # what the sweep calls the run; empty where that is left to its settings
    tags: Mapping[str, str] = {}  # what the sweep says about its runs
    start: str = ""  # which start of a sweep it is, however often its scheduler starts the job; empty outside sweeps
    warned: bool = False  # whether the sweep has said these sentences, so that they are for the log alone
    awaited: bool = False  # others of the sweep are built on it: another process that makes it is waited for


class Reader(NamedTuple):
    """What must be chosen for a knob to be read at all. One place says so: run key, warnings and reports ask it.

    A knob that a run does not read is hashed as `usual`: the value that it has where nobody sets it, so that runs made
    so keep their keys, and those that differ in it alone are one.
    """

    said: str  # as it completes "only ... reads it"
    reads: Callable[["Config"], bool]
    usual: "Callable[[Config], Any] | None" = None  # None: the value as it is, where it follows from others already


def read_by(*readers: Reader) -> dict[str, tuple[Reader, ...]]:
    """The metadata of a field that is read only where all `readers` do."""
    return {"readers": readers}


def missing_reader(knob: "Field[Any]", config: "Config") -> Reader | None:
    """The first of a field's readers that `config` lacks; None where the field is read."""
    readers: tuple[Reader, ...] = knob.metadata.get("readers", ())
    return next((reader for reader in readers if not reader.reads(config)), None)


def phases_differ(config: "Config") -> bool:
    """Whether a phase of the run is longer than the one that fractions of `train.steps` are of."""
    return config.train.steps % config.protocol.phases > 0


def require(ok: bool, key: str, value: object, right: str) -> None:
    """Raise a `UserError` naming key, value and what would be right, unless `ok`."""
    if not ok:
        raise UserError(f"{key}={value} is not possible: {right}.")


LONGEST_NAME, LONGEST_PATH = 255, 3900  # bytes: what Linux takes, less what stands in a run's folder


def require_place(key: str, value: str) -> str:
    """A path with its `~` expanded, as shells do not do it behind `key=`.

    Raises:
        UserError: it is none that a file system takes.
    """
    shown = value if len(value) < 80 else f"{value[:70]}..."
    require(value.isprintable() and value.strip() != "", key, repr(value), "a folder, by a name of printable letters")
    try:
        place = Path(value).expanduser()
    except RuntimeError:
        raise UserError(f"{key}={shown} is not possible: there is no user {Path(value).parts[0][1:]}.") from None
    right = f"a name has {LONGEST_NAME} bytes at most, and a path {LONGEST_PATH}"
    longest = max(len(os.fsencode(part)) for part in place.absolute().parts)
    require(longest <= LONGEST_NAME and len(os.fsencode(place.absolute())) <= LONGEST_PATH, key, shown, right)
    return str(place) if value.startswith("~") else value


def require_one_of(key: str, value: str, options: tuple[str, ...]) -> None:
    """Raise a `UserError` unless `value` is one of `options`."""
    require(value in options, key, value, f"one of {', '.join(options)}")
