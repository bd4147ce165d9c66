"""Which runs a paper table needs, and what the runs of any sweep are called: by what varies among them."""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from daso.credentials import mask
from daso.errors import UserError
from daso.published.cells import Overrides, cells

PREFIXES = "+~"
FRACTION = re.compile(r"-?\d+(\.\d+|(\.\d+)?e[-+]?\d+)")


def table_runs(table: str, dataset: str, rows: Sequence[str]) -> list[Overrides]:
    """The configurations that give the cells of a table, without their seeds.

    Args:
        table: its number in the paper.
        dataset: an option of the group dataset; empty for all of the table.
        rows: patterns (`*` for anything) of which a row fits one, by its algorithm (`fixmatch_daso`) or its name in
            print (`FixMatch + DASO`); empty for all.

    Raises:
        UserError: there is no such table, or nothing of it is left.
    """
    found = [cell for cell in cells(table) if dataset in ("", cell.dataset)]
    if not found:
        known = ", ".join(dict.fromkeys(cell.dataset for cell in cells(table)))
        raise UserError(f"sweep.dataset={dataset} is not possible: Table {table} has {known}.")
    for pattern in rows:
        if not any(_fits(cell.overrides, cell.row, pattern) for cell in found):
            known = ", ".join(dict.fromkeys(_algorithm(cell.overrides) for cell in found))
            raise UserError(f"sweep.rows={pattern} is not possible: the rows are of {known}.")
    wanted = [cell for cell in found if not rows or any(_fits(cell.overrides, cell.row, row) for row in rows)]
    return list(dict.fromkeys(cell.overrides for cell in wanted))


def labels(jobs: Sequence[Sequence[str]]) -> list[str]:
    """What each of several lists of overrides is called: its overrides that not all have, groups by their option only.

    The full list where there is but one. Credentials are masked.
    """
    shared = set.intersection(*map(set, jobs)) if len(jobs) > 1 else set()
    return [" ".join(mask(_short(item)) for item in job if item not in shared) for job in jobs]


def varying(jobs: Sequence[Sequence[str]]) -> list[str]:
    """The keys whose values differ among several lists of overrides."""
    shared = set.intersection(*map(set, jobs))
    keys = (item.partition("=")[0].lstrip(PREFIXES) for job in jobs for item in job if item not in shared)
    return list(dict.fromkeys(keys))


def _algorithm(overrides: Overrides) -> str:
    return next(item.partition("=")[2] for item in overrides if item.startswith("algorithm="))


def _fits(overrides: Overrides, row: str, pattern: str) -> bool:
    return any(fnmatchcase(name.lower(), pattern.lower()) for name in (_algorithm(overrides), row))


def _short(override: str) -> str:
    key, equals, value = override.lstrip(PREFIXES).partition("=")
    return value if key in ("dataset", "imbalance", "algorithm") else key.rpartition(".")[2] + equals + _typed(value)


def _typed(value: str) -> str:
    """A number as people type it, `1e13` or `1e-5`, where a parser has made 10000000000000.0 or 1e-05 of it."""
    if not FRACTION.fullmatch(value):
        return value
    short = re.sub(r"e\+?(-?)0*", r"e\1", f"{float(value):g}")
    return short if "e" in short and float(short) == float(value) else value
