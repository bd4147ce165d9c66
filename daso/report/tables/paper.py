"""The paper's tables from own runs, beside the published numbers."""

from collections import Counter
from collections.abc import Sequence
from functools import cache

from daso.errors import UserError
from daso.published.cells import (
    AVES,
    METRIC,
    METRIC_AFTER_LA,
    METRIC_LAST,
    TITLES,
    Cell,
    Overrides,
    Setting,
    algorithm_of,
    cells,
    has_place,
    overrides_of,
    row_label,
)
from daso.published.numbers import numbers
from daso.report.collect import Run, passed_over
from daso.report.match import Configure, Matched, match
from daso.report.sample import sample_of
from daso.report.stats import listed
from daso.report.tables.finish import finish
from daso.report.tables.table import PUBLISHED, Column, Entry, Number, Options, Table, own_metric
from daso.report.where import ANYWHERE, Place, Where

CAPTIONS = {
    "1": "labeled and unlabeled data equally imbalanced",
    "2": "unlabeled data distributed unlike the labeled data",
    "3": "DASO on other learners",
    "4": "natural imbalance, without and with images of other classes among the unlabeled ones",
    "5": "ablation of blending and alignment loss",
    "6": "ablation of the blending weight v",
    "7": "ablation of balanced queue and EMA encoder",
    "8": "ablation of T_dist",
    "11": "comparison with more methods",
    "12": "combinations on STL10-LT",
    "13": "re-balancing of ReMixMatch",
    "14": "logit adjustment in training and at test time",
    "15": "ablation of the queue length L",
    "16": "ablation of T_proto",
    "17": "ablation of the weight of the alignment loss",
}
SEVAL = (
    "Not to be compared with the numbers above: SEVAL (arXiv 2407.05370, Table 3) trains a ResNet-50 for 45,000 steps "
    "of 32 labeled and 64 unlabeled images."
)
ABLATION = (
    "The paper prints ablations without deviation or number of runs; "
    "their FixMatch (68.25, 55.53) and DASO (75.97, 70.21) "
    "are not the means of Tables 1 and 2 (67.8, 56.1; 76.0, 70.0)."
)


def paper_table(
    name: str | int, runs: Sequence[Run], options: Options, configure: Configure, where: Where = ANYWHERE
) -> Table:
    """A table of the paper, or its part of some settings; cells without a finished run hold the published number alone.

    Raises:
        UserError: there is no such table, no such setting in it, or no such baseline.
    """
    content = _content(name, where)
    if not content:
        has = listed(list(dict.fromkeys(f"{cell.dataset} {cell.column}" for cell in cells(name))))
        raise UserError(f"{where} is not possible: Table {name} has {has}.")
    found = match(content, runs, options.overrides, configure)
    table = Table(
        title=f"Table {name}: {CAPTIONS[str(name)]}",
        rows=list(dict.fromkeys(cell.row for cell in content)),
        columns=sorted(dict.fromkeys(map(_column, content)), key=lambda c: list(TITLES.values()).index(c.group)),
        entries={},
        options=options,
        decimals=1 if content[0].std is not None else 2,
    )
    shorter: list[Run] = []
    for cell in content:
        entry, column = _entry(cell, table), _column(cell)
        runs_of_cell = found.runs.get(cell.overrides, [])
        entry.sample, left = sample_of(runs_of_cell, entry.metric, found.goals.get(cell.overrides))
        shorter += left
        table.place(cell.row, column, entry)
    footnotes = {(cell.row, _column(cell)): cell.footnotes for cell in content}
    places = {_column(cell): Place(cell.dataset, cell.setting) for cell in content}
    options_of = {cell.row: (algorithm_of(cell.overrides),) for cell in reversed(content)}
    names = {row: options_of[row] for row in table.rows}
    finish(table, places, names, names, footnotes)
    _remark(table, found, shorter, runs)
    if str(name) == "4":
        table.notes += _seval()
    return table


def _content(name: str | int, where: Where) -> list[Cell]:
    return [cell for cell in cells(name) if where.plain.has(cell.dataset, cell.setting, "")]


def has_settings(name: str | int, where: Where) -> bool:
    """Whether a table of the paper has some of these settings, whatever their protocol."""
    return bool(_content(name, where._replace(recipe="")))


def _column(cell: Cell) -> Column:
    return Column(TITLES[cell.dataset], cell.column if cell.setting is AVES else setting_label(cell.setting))


def setting_label(setting: Setting) -> str:
    """A setting as a column's head."""
    ratio = f"γ={setting.gamma_l}" if setting.gamma_l == setting.gamma_u else f"γl={setting.gamma_l}"
    if setting.gamma_u not in (setting.gamma_l, "unknown"):
        ratio += f" γu={setting.gamma_u}"
    sizes = f"N1={setting.n1}" + (f" M1={setting.m1}" if setting.m1 != "unknown" else "")
    return f"{ratio} {sizes}"


def _entry(cell: Cell, table: Table) -> Entry:
    after_la = cell.metric == METRIC_AFTER_LA
    options = table.options._replace(select="last") if cell.metric == METRIC_LAST else table.options
    return Entry(
        metric=own_metric(options, after_la),
        configuration=" ".join(cell.overrides),
        published=Number(cell.mean, cell.std),
        usb=_usb().get((cell.overrides, cell.metric)) if table.options.usb else None,
        source=cell.source,
        comparable=after_la or not table.options.la,
    )


@cache
def _usb() -> dict[tuple[Overrides, str], Number]:
    """USB's independent runs of configurations of the paper."""
    wanted = {cell.overrides for table in CAPTIONS for cell in cells(table)}
    found = {}
    for number in numbers():
        if number.protocol == "usb" and has_place(number) and (overrides := overrides_of(number)) in wanted:
            found[overrides, METRIC] = Number(number.mean, number.std)
    return found


def _seval() -> list[str]:
    """The numbers of SEVAL on the same images, which another protocol keeps apart from the paper's."""
    theirs = [number for number in numbers() if number.protocol == "seval"]
    notes = []
    for dataset in dict.fromkeys(number.dataset for number in theirs):
        rows = [n for n in theirs if n.dataset == dataset]
        told = [f"{_seval_row(n.learner, n.rebalancer)} {n.mean:.1f} ± {n.std:.2f}" for n in rows]
        notes.append(f"SEVAL, {dataset.partition(':')[2]}: {', '.join(told)}.")
    return [f"{SEVAL} {' '.join(notes)}"] if notes else []


def _seval_row(learner: str, rebalancer: str) -> str:
    return "SEVAL" if rebalancer == "seval" else row_label(learner, rebalancer)


def _remark(table: Table, found: Matched, shorter: Sequence[Run], runs: Sequence[Run]) -> None:
    options = table.options
    if options.la and options.columns != PUBLISHED:
        table.notes.append("Own numbers are after logit adjustment at test time, so they have no published counterpart "
                           "except in the rows with LA (inf).")  # fmt: skip
    if table.decimals == 2:
        table.notes.append(ABLATION)
    if options.usb:
        table.notes.append(
            "USB: independent runs of USB (classic_cv_imb), with its own protocol; not the paper's numbers."
        )
    remark_on_runs(table, found, shorter)
    table.notes += passed_over(runs) if options.columns != PUBLISHED else []


def remark_on_runs(table: Table, found: Matched, shorter: Sequence[Run], whose: str = "the paper's settings") -> None:
    """Say in what the own runs differ by design from `whose`, and which runs are not counted, and why."""
    options = table.options
    if options.columns == PUBLISHED:
        return
    if options.overrides:
        table.notes.append(f"Own runs differ from {whose} by design: {' '.join(options.overrides)}.")
    if shorter:
        steps = Counter(run.steps for run in shorter)
        kinds = listed([f"{count} of {step} steps" for step, count in sorted(steps.items())])
        table.notes.append(
            "Not counted beside runs of the same cell that are longer, or as long as is asked for, or have the same "
            f"seed: {kinds}."
        )
    table.notes += found.uncounted()
