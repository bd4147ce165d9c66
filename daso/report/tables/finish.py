"""What a person asks of a table beside its numbers: which rows, which columns, results of other code."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from daso.report.stats import counted, listed
from daso.report.tables.external import ROW, Head, place_external
from daso.report.tables.table import BOTH, OWN, PUBLISHED, Column, Table, baseline_row, no_row
from daso.report.where import Place

Names = Mapping[str, Sequence[str]]
"""Row -> other names of it."""
SEVERAL = "; with ; behind each, names may hold commas"


def finish(
    table: Table,
    places: Mapping[Column, Place],
    rows: Names,
    baselines: Names,
    footnotes: Mapping[tuple[str, Column], Sequence[str]],
    head: Head | None = None,
) -> None:
    """Leave what is asked for in a table that holds all numbers, and judge it.

    Args:
        table: the table.
        places: what its columns are.
        rows, baselines: what `rows=` and `baseline=` may call its rows.
        footnotes: of its cells.
        head: as for `place_external`.

    Raises:
        UserError: an external result or the baseline is not possible.
    """
    of_published = {} if table.options.columns == OWN else footnotes
    notes = {**of_published, **place_external(table, places, head)}
    _choose_rows(table, rows)
    _choose_numbers(table)
    table.number_footnotes(notes)
    left = {row: names for row, names in baselines.items() if row in table.rows}
    table.judge(baseline_row(table.options.baseline, left) if table.rows else None)


def with_rows(tables: Sequence[Table], wanted: Sequence[str]) -> list[Table]:
    """Those tables that have some of the rows that were asked for.

    Raises:
        UserError: one of these is in no table.
    """
    for name in wanted:
        if all(name in table.unknown_rows for table in tables):
            raise no_row("rows", name.strip(), [label for table in tables for label in table.all_rows], SEVERAL)
    return [table for table in tables if table.rows or not wanted] or list(tables)


def choose(
    rows: Sequence[str], wanted: Sequence[str], called: Callable[[str], Iterable[str]]
) -> tuple[list[str], list[str]]:
    """The rows that `rows=` asks for, and which of its names no row has.

    Args:
        rows: all of them.
        wanted: names or patterns, in the order of the rows that are left; empty for all rows.
        called: what a row may be called.
    """
    fits = {
        name: [row for row in rows if any(fnmatchcase(n.lower(), name.strip().lower()) for n in called(row))]
        for name in wanted
    }
    chosen = dict.fromkeys(row for some in fits.values() for row in some)
    return list(chosen if wanted else rows), [name for name, some in fits.items() if not some]


def _choose_rows(table: Table, names: Names) -> None:
    """Keep the rows that are asked for, in that order, and the external ones, without columns that then are empty."""
    table.all_rows = list(
        dict.fromkeys([*(n for row in table.rows for n in names.get(row, ())[:1] or [table.label(row)])])
    )

    def called(row: str) -> tuple[str, ...]:
        return table.label(row), table.labels.get(row, row), row.removesuffix(ROW), *names.get(row, ())

    chosen, unknown = choose(table.rows, table.options.rows, called)
    table.unknown_rows |= set(unknown)
    external = [row for row in table.rows if row.endswith(ROW)]
    rows = list(dict.fromkeys([*chosen, *external]))
    told = {column for (row, column), entry in table.entries.items() if row in rows and entry.told}
    kept = [column for column in table.columns if column in told or not (table.options.rows and told)]
    if gone := len(table.columns) - len(kept):
        table.notes.append(f"Left out: {counted(gone, 'column')} without a number in the rows that are asked for.")
    _keep(table, rows, kept)


def _choose_numbers(table: Table) -> None:
    """Take away the numbers that are not asked for, and the rows and columns that then are empty."""
    columns = table.options.columns
    if columns == BOTH:
        return
    for entry in table.entries.values():
        if columns == PUBLISHED:
            entry.sample = None
        else:
            entry.published = entry.usb = None
    shown = [place for place, entry in table.entries.items() if entry.sample or entry.published or entry.external]
    rows = [row for row in table.rows if any(row == place[0] for place in shown)]
    kept = [column for column in table.columns if any(column == place[1] for place in shown)]
    gone = len(table.rows) - len(rows), len(table.columns) - len(kept)
    words = [counted(number, noun) for number, noun in zip(gone, ("row", "column")) if number]
    if words:
        table.notes.append(f"Left out: {listed(words)} without {'an own' if columns == OWN else 'a published'} number.")
    _keep(table, rows, kept)


def _keep(table: Table, rows: list[str], columns: list[Column]) -> None:
    table.rows, table.columns = rows, columns
    table.entries = {(r, c): e for (r, c), e in table.entries.items() if r in rows and c in columns}
