"""A table of arbitrary runs: rows are methods, columns are data sets and imbalance settings, found in the runs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from daso.identity import plain
from daso.report.cells import LEARNERS
from daso.report.collect import Run, decisive, flat
from daso.report.sample import sample_of
from daso.report.stats import counted
from daso.report.table import Column, Entry, Options, Table, baseline_row, own_metric
from daso.rundir import imbalance_name, method_name


def own_table(runs: Sequence[Run], options: Options) -> Table:
    """The finished runs, grouped by everything that varies except the seed.

    A knob that varies among runs of one method in one setting becomes part of the row, so that a cell holds runs that
    differ in their seed alone.
    """
    finished = [run for run in runs if run.done]
    cells = group(finished)
    rows, columns = ordered(cells)
    table = Table(
        title="Own runs",
        rows=rows,
        columns=columns,
        entries={},
        options=options,
    )
    metric = own_metric(options)
    for row in rows:
        for column in columns:
            sample, _ = sample_of(cells.get((row, column), []), metric)
            table.entries[row, column] = Entry(metric=metric, configuration=row, sample=sample)
            for text in sample.troubles if sample else ():
                table.warnings.append(f"{row} on {column.group} {column.label}: {text}.")
    table.judge(baseline_row(options.baseline, dict.fromkeys(table.rows, ())))
    if len(finished) < len(runs):
        table.notes.append(f"Unfinished and not counted: {counted(len(runs) - len(finished), 'run')}.")
    return table


def group(runs: Iterable[Run]) -> dict[tuple[str, Column], list[Run]]:
    """The runs of each method and setting."""
    places: dict[tuple[str, Column], list[Run]] = {}
    for run in runs:
        column = Column(str(run.config["dataset"]["name"]), imbalance_name(run.config["imb"]))
        places.setdefault((method_name(run.config), column), []).append(run)
    varying = {place: _varying(members) for place, members in places.items()}
    of_method: dict[str, set[str]] = {}
    for (method, _), keys in varying.items():
        of_method.setdefault(method, set()).update(keys)
    found: dict[tuple[str, Column], list[Run]] = {}
    for (method, column), members in places.items():
        for run in members:
            knobs = flat(plain(run.settings))
            row = ", ".join([method, *(f"{key}={knobs[key]}" for key in sorted(of_method[method]))])
            found.setdefault((row, column), []).append(run)
    return found


def _varying(runs: Sequence[Run]) -> set[str]:
    knobs = [_decisive(run) for run in runs]
    keys = {key for some in knobs for key in some}
    return {key for key in keys if len({repr(some.get(key)) for some in knobs}) > 1}


def _decisive(run: Run) -> dict[str, Any]:
    """The knobs that decide a run's numbers, the seed aside."""
    return {key: value for key, value in decisive(run.settings).items() if key != "seed"}


def ordered(cells: Mapping[tuple[str, Column], Sequence[Run]]) -> tuple[list[str], list[Column]]:
    """Rows by learner, the plain one first; columns by data set and sizes: matched, then uniform, then reversed."""
    sizes: dict[Column, tuple[float, ...]] = {}
    for (_, column), runs in cells.items():
        imb = runs[0].config["imb"]
        gamma_u = imb["gamma_u"] if isinstance(imb["gamma_u"], int | float) else 0.0
        sizes[column] = (float(imb["n1"]), float(imb["gamma_l"]), -float(gamma_u))
    rows = dict.fromkeys(row for row, _ in cells)
    return sorted(rows, key=_row_order), sorted(sizes, key=lambda column: (column.group, sizes[column]))


def _row_order(row: str) -> tuple[int, int, str]:
    words = row.partition(",")[0].split("_")
    learners = list(LEARNERS)
    return learners.index(words[0]) if words[0] in learners else len(learners), len(words), row
