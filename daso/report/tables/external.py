"""Results of other code, read from a file of the user's: what they are, and where they stand in a table."""

import csv
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from daso.errors import UserError
from daso.published.cells import Setting
from daso.report.stats import counted, listed
from daso.report.tables.table import EXTERNAL, Column, Entry, Number, Table
from daso.report.where import Heads, Place, read_place

NEEDED = ("method", "setting", "mean", "source")
FIELDS = ("method", "setting", "mean", "std", "n", "protocol", "source")
EXAMPLE = "DebiasPL,cifar10_n500_m4000_g100,80.6,0.5,3,usb,Wang et al. 2022"
ROW = " | external"  # behind a method in a row's key
Cell = tuple[str, Column]
Head = Callable[[Setting], str]


class External(NamedTuple):
    """One row of the file."""

    method: str
    place: Place
    setting: str  # as written
    number: Number
    n: int | None  # seeds
    protocol: str
    source: str
    where: str  # file and line


def read_external(path: Path, heads: Heads = tuple) -> tuple[External, ...]:
    """The results in a CSV file with a first line of `FIELDS`, in any order.

    Args:
        path: the file.
        heads: as for `read_place`.

    Raises:
        UserError: there is no such file, or a row is not possible: its line is named, with how many more are not.
    """
    path = path.expanduser()
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            header = [str(name).strip().lower() for name in reader.fieldnames or ()]
            reader.fieldnames = header
            rows = [(reader.line_num, row) for row in reader if any(row.values())]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"external={path} cannot be read: {reason.lower()}.") from error
    if missing := [name for name in NEEDED if name not in header]:
        what = f"{listed(missing)} {'are' if len(missing) > 1 else 'is'} missing"
        if len(header) == 1 and ";" in header[0]:
            what = "columns are separated by ; where commas belong"
        raise UserError(f"{path}, line 1: {what}; the first line is {','.join(FIELDS)}.")
    if unknown := [name for name in header if name not in FIELDS]:
        raise UserError(f"{path}, line 1: {unknown[0]} is not possible: one of {', '.join(FIELDS)}.")
    found, refused = [], []
    for line, row in rows:
        try:
            found.append(_external(row, f"{path}, line {line}", heads))
        except UserError as error:
            refused.append((line, str(error)))
    if refused:
        (_, sentence), *others = refused
        more = f" (so {listed([f'line {line}' for line, _ in others])} too)" if others else ""
        raise UserError(sentence.removesuffix(".") + f"{more}.")
    if not found:
        raise UserError(f"external={path} has no row: below its first line stands, for example, {EXAMPLE}.")
    return tuple(found)


def _external(row: Mapping[str | None, object], where: str, heads: Heads) -> External:
    if None in row or None in row.values():
        raise UserError(f"{where}: it has not as many values as the first line has names; in quotes, a comma is none.")
    texts = {str(name): str(value).strip() for name, value in row.items()}
    for name in ("method", "source"):
        if not texts[name]:
            right = {"method": "the name of a method", "source": "where the number is from"}[name]
            raise UserError(f"{where}: {name}= is empty: write {right}.")
    try:
        place = read_place(texts["setting"], heads)
    except UserError as error:
        raise UserError(f"{where}: setting={texts['setting']} is not possible: {error}") from error
    mean = _number(texts["mean"], "mean", where, 100.0)
    std = _number(texts["std"], "std", where, 100.0) if texts.get("std") else None
    n = texts.get("n", "")
    if n and (not n.isdecimal() or int(n) < 1):
        raise UserError(f"{where}: n={n} is not possible: a number of seeds, 1 or more.")
    printed = texts["mean"] + (f" ± {texts['std']}" if std is not None else "")
    number = Number(mean, std, printed)
    return External(
        texts["method"],
        place,
        texts["setting"],
        number,
        int(n) if n else None,
        texts.get("protocol", ""),
        texts["source"],
        where,
    )


def _number(text: str, name: str, where: str, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= most:
        raise UserError(f"{where}: {name}={text} is not possible: a number in percent, from 0 to 100.")
    return value


def place_external(table: Table, places: Mapping[Column, Place], head: Head | None) -> dict[Cell, list[str]]:
    """Put the external results of a table's options into rows of their own.

    Args:
        table: gets a row for each method.
        places: what its columns are.
        head: what a new column is called, of a setting that no run and no published number has; None: there is none.

    Returns:
        The footnotes of the new cells.

    Raises:
        UserError: a result fits several columns, or one cell has two.
    """
    notes: dict[Cell, list[str]] = {}
    left: list[External] = []
    places = dict(places)
    for one in table.options.external:
        column = _column(one, table, places)
        if column is None and head is None:
            left.append(one)
            continue
        if column is None and head is not None:
            group = {place.dataset: known.group for known, place in places.items()}
            column = Column(
                group.get(one.place.dataset, one.place.dataset), f"{head(one.place.setting)} {one.place.rest}".strip()
            )
            table.columns += [column] * (column not in table.columns)
            places[column] = one.place
        assert column is not None
        row = one.method + ROW
        if row not in table.rows:
            table.rows.append(row)
            table.labels[row] = f"{one.method} {EXTERNAL}"
            if table.fact_names:
                table.facts[row] = ("", "", one.source)
        if (row, column) in table.entries:
            raise UserError(f"{one.where}: {one.method} has a second number on {column.head}.")
        entry = Entry(external=one.number, external_n=one.n, source=one.source, protocol=one.protocol)
        table.entries[row, column] = entry
        protocol = f", protocol {one.protocol}" if one.protocol else ", protocol not stated"
        notes[row, column] = [f"External: {one.source}{protocol}."]
    if left:
        settings = listed(list(dict.fromkeys(one.setting for one in left)))
        table.notes.append(
            f"Not shown: {counted(len(left), 'external result')}, of settings that this table has not ({settings})."
        )
    return notes


def _column(one: External, table: Table, places: Mapping[Column, Place]) -> Column | None:
    """The column that a result belongs to, if there is one.

    Raises:
        UserError: there are several.
    """
    written = " ".join(one.setting.split()).lower()
    for column in table.columns:
        if written == column.head.lower():
            return column
    fits = [column for column, place in places.items() if one.place.fits(place.dataset, place.setting)]
    if len(fits) > 1 and sum(places[column].unset for column in fits) == 1:
        fits = [column for column in fits if places[column].unset]
    if len(fits) > 1:
        heads = listed([column.head for column in fits])
        raise UserError(f"{one.where}: setting={one.setting} is not possible: it fits {heads}; write one of them.")
    return fits[0] if fits else None
