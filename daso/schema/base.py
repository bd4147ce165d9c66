"""What every part of the schema is made with."""

from collections.abc import Mapping
from typing import NamedTuple

from daso.errors import UserError

UNKNOWN = "unknown"
DIST = "dist"
NOT_SCIENCE = {"science": False}


class Provenance(NamedTuple):
    """Where a configuration came from: recorded beside a run, without a part in its identity."""

    overrides: list[str]  # as typed on the command line, or as the sweep set them
    choices: dict[str, str]  # the chosen option of each configuration group
    in_sweep: bool
    warnings: list[str]  # sentences for the console
    name: str = ""  # what the sweep calls the run; empty where that is left to its settings
    tags: Mapping[str, str] = {}  # what the sweep says about its runs
    start: str = ""  # which start of a sweep it is, however often its scheduler starts the job; empty outside sweeps


def require(ok: bool, key: str, value: object, right: str) -> None:
    """Raise a `UserError` naming key, value and what would be right, unless `ok`."""
    if not ok:
        raise UserError(f"{key}={value} is not possible: {right}.")


def require_one_of(key: str, value: str, options: tuple[str, ...]) -> None:
    """Raise a `UserError` unless `value` is one of `options`."""
    require(value in options, key, value, f"one of {', '.join(options)}")
