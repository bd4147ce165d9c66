"""Which runs a paper table needs, and what the runs of any sweep are called: by what varies among them."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from daso.credentials import mask
from daso.errors import UserError
from daso.outputs.naming import DIGITS, typed
from daso.published.cells import Overrides, cells

PREFIXES = "+~"
NAMED = 3  # combinations that a sentence lists


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
    """What each of several lists of overrides is called: its overrides that not all have, groups by their option only,
    long numbers rounded where none becomes another one's.

    The full list where there is but one. Credentials are masked.
    """
    shared = set.intersection(*map(set, jobs)) if len(jobs) > 1 else set()
    own = [[item for item in job if item not in shared] for job in jobs]
    exact, rounded = (_called(own, digits) for digits in (None, DIGITS))
    return rounded if len(set(rounded)) == len(set(exact)) else exact


def doubles(
    pairs: Sequence[tuple[Sequence[str], Sequence[str]]], names: Sequence[str], total: int, again: int = 0
) -> str:
    """A sentence about combinations that are no run of their own; empty where there are none.

    Args:
        pairs: the overrides of each, and of the combination whose run it is.
        names: what they are called.
        total: combinations in all.
        again: how many of them are written a second time.
    """
    repeated = f"{again} of {total} combinations {'is' if again == 1 else 'are'} written a second time." * (again > 0)
    if not pairs:
        return repeated
    keys = ", ".join(dict.fromkeys(key for pair in pairs for key in varying(pair)))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    said = "is the run of another one" if len(pairs) == 1 else "are the runs of others"
    reason = f"where what differs ({keys}) changes nothing"
    return (
        f"{len(pairs)} of {total} combinations {said}, {reason}: {', '.join(names[:NAMED])}{more}. {repeated}".strip()
    )


def varying(jobs: Sequence[Sequence[str]]) -> list[str]:
    """The keys whose values differ among several lists of overrides."""
    shared = set.intersection(*map(set, jobs))
    keys = (item.partition("=")[0].lstrip(PREFIXES) for job in jobs for item in job if item not in shared)
    return list(dict.fromkeys(keys))


def _algorithm(overrides: Overrides) -> str:
    return next(item.partition("=")[2] for item in overrides if item.startswith("algorithm="))


def _fits(overrides: Overrides, row: str, pattern: str) -> bool:
    return any(fnmatchcase(name.lower(), pattern.lower()) for name in (_algorithm(overrides), row))


def _called(jobs: Sequence[Sequence[str]], digits: int | None) -> list[str]:
    return [" ".join(mask(_short(item, digits)) for item in job) for job in jobs]


def _short(override: str, digits: int | None) -> str:
    key, equals, value = override.lstrip(PREFIXES).partition("=")
    group = key in ("dataset", "imbalance", "algorithm")
    return value if group else key.rpartition(".")[2] + equals + typed(value, digits)
