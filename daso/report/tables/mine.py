"""A table of arbitrary runs: rows are methods, columns are data sets and imbalance settings, found in the runs."""

from collections.abc import Iterable, Sequence

from daso.outputs.naming import setting_name
from daso.published.cells import Setting
from daso.report.collect import Run, known, passed_over, unfinished
from daso.report.names import paper_setting
from daso.report.sample import sample_of
from daso.report.tables.finish import finish
from daso.report.tables.group import group
from daso.report.tables.table import PAPER_NAMES, Entry, Options, Table, own_metric
from daso.report.where import ANYWHERE, Place, Where, setting_of_run


def own_table(runs: Sequence[Run], options: Options, where: Where = ANYWHERE) -> Table:
    """The finished runs of some settings, grouped by everything that varies except the seed.

    Raises:
        UserError: there are runs, but none of the settings.
    """
    others, every = passed_over(runs), known(runs)
    runs = where.among(every)
    finished = [run for run in runs if run.done]
    cells, rows, columns, usual, unset = group((run for run in every if run.done), {run.key for run in finished})
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
            table.place(row, column, Entry(metric=metric, configuration=row, sample=sample))
    places = {
        column: Place(column.group, setting_of_run(members[0]), unset=column in unset)
        for (_, column), members in reversed(cells.items())
    }
    finish(table, places, {row: row_names(row) for row in rows}, dict.fromkeys(rows, ()), {}, head=_head)
    if table.rows:
        table.notes.append(_legend(table))
        table.notes += [
            f"Where a head of {name} says nothing else: {words}."
            for name, words in usual.items()
            if name in table.groups
        ]
    table.notes += [*others, *unfinished(runs)]
    return table


def own_heads(runs: Iterable[Run], where: Where = ANYWHERE) -> list[str]:
    """The heads of the columns of own runs of some settings."""
    finished, asked = [run for run in known(runs) if run.done], where.plain
    return [column.head for column in group(finished, {run.key for run in finished if asked.has_run(run)}).columns]


def row_names(row: str) -> tuple[str, str]:
    """What `rows=` may call a row of own runs: all of its name, or its method alone."""
    return row, row.partition(",")[0]


def _legend(table: Table) -> str:
    """What the letters in the heads mean, as far as they are there."""
    heads = " ".join(table.head(column) for column in table.columns)
    gl, gu = (paper_setting(word) if table.options.names == PAPER_NAMES else word for word in ("gl=", "gu="))
    meanings = {
        "N1=": "labeled images of the class that has most",
        "M1=": "unlabeled images of the class that has most",
        gl: "that number over the one of the class that has fewest",
        gu: "the same ratio of the unlabeled images",
        "M=": "unlabeled images of each class, a list by its checksum",
    }
    said = [f"{word.rstrip('=')}: {meaning}" for word, meaning in meanings.items() if f" {word}" in f" {heads}"]
    return f"{'; '.join(said)}."


def _head(setting: Setting) -> str:
    """A setting that no run has, as the column's head would be."""
    return setting_name(setting.n1, setting.gamma_l, setting.gamma_u or setting.gamma_l, setting.shape)
