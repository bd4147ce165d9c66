"""A table of arbitrary runs: rows are methods, columns are data sets and imbalance settings, found in the runs."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from daso.errors import UserError
from daso.outputs.naming import imbalance_name, method_name, recipe_name
from daso.published.cells import LEARNERS, Setting
from daso.report.collect import Run, decisive, known, passed_over
from daso.report.finish import finish
from daso.report.sample import sample_of
from daso.report.stats import counted
from daso.report.table import Column, Entry, Options, Table, own_metric
from daso.report.where import ANYWHERE, Place, Where, setting_of_run
from daso.schema import LONG_TAILED
from daso.settings.identity import plain
from daso.settings.restored import flat
from daso.settings.unread import reader_of

UNREAD = "unread"
SETTINGS = ("dataset.", "imb.", "model.", "optim.", "train.")
OF_RECIPE = ("dataset.", "model.", "optim.", "train.")  # where a learner or a recipe may have values of its own
RECIPE = "recipe"
FILES = "dataset.files_checksum"
OWN_FILES, STAND_IN = (
    ("folder", "csv"),
    "fashion_mnist",
)  # no recipe knows a person's files, nor has this one values for it


def own_table(runs: Sequence[Run], options: Options, where: Where = ANYWHERE) -> Table:
    """The finished runs of some settings, grouped by everything that varies except the seed.

    Raises:
        UserError: there are runs, but none of the settings.
    """
    others, runs = passed_over(runs), where.among(known(runs))
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
            table.place(row, column, Entry(metric=metric, configuration=row, sample=sample))
    places = {
        column: Place(column.group, setting_of_run(members[0])) for (_, column), members in reversed(cells.items())
    }
    finish(table, places, {row: row_names(row) for row in rows}, dict.fromkeys(rows, ()), {}, head=_head)
    table.notes += others
    if len(finished) < len(runs):
        table.notes.append(f"Unfinished and not counted: {counted(len(runs) - len(finished), 'run')}.")
    return table


def own_heads(runs: Iterable[Run], where: Where = ANYWHERE) -> list[str]:
    """The heads of the columns of own runs of some settings."""
    asked = where.plain
    _, columns = ordered(group(run for run in known(runs) if run.done and asked.has_run(run)))
    return [column.head for column in columns]


def row_names(row: str) -> tuple[str, str]:
    """What `rows=` may call a row of own runs: all of its name, or its method alone."""
    return row, row.partition(",")[0]


def _head(setting: Setting) -> str:
    """A setting that no run has, as the column's head would be."""
    ratios = f"gl={setting.gamma_l} gu={setting.gamma_u or setting.gamma_l}"
    shape = setting.shape if setting.shape != LONG_TAILED else ""
    return " ".join(word for word in (f"N1={setting.n1}" * bool(setting.n1), ratios, shape) if word)


def group(runs: Iterable[Run]) -> dict[tuple[str, Column], list[Run]]:
    """The runs of each method and setting: those of one cell differ in their seed alone.

    A knob of data, network or training that varies among runs of one data set and imbalance makes columns of its own;
    a knob of the method, rows.
    """
    places: dict[Column, list[Run]] = {}
    for run, columns in _hosted(runs):
        for column in columns:
            places.setdefault(column, []).append(run)
    settled: dict[tuple[str, Column], list[Run]] = {}
    for column, members in places.items():
        for label, alike in _settings(column.label, members).items():
            for run in alike:
                settled.setdefault((method_name(run.config), Column(column.group, label)), []).append(run)
    of_method: dict[str, set[str]] = {}
    for (method, _), members in settled.items():
        of_method.setdefault(method, set()).update(_varying([_knobs(run, settings=False) for run in members]))
    found: dict[tuple[str, Column], list[Run]] = {}
    for (method, column), members in settled.items():
        for run in members:
            knobs = flat(plain(run.settings)) | decisive(run.settings)
            row = ", ".join([method, *(f"{key}={knobs[key]}" for key in sorted(of_method[method]))])
            found.setdefault((row, column), []).append(run)
    return found


def _hosted(runs: Iterable[Run]) -> list[tuple[Run, list[Column]]]:
    """Each run with its data set and imbalance: one without unlabeled images fits all that share its labeled ones."""
    own = [(run, Column(str(run.config["dataset"]["name"]), imbalance_name(run.config["imb"]))) for run in runs]
    shared: dict[Any, dict[Column, None]] = {}
    for run, column in sorted(own, key=lambda one: not one[0].settings.reads_unlabeled):  # readers come first
        columns = shared.setdefault(_labeled(run), {})
        if run.settings.reads_unlabeled or not columns:
            columns[column] = None
    return [(run, [column] if run.settings.reads_unlabeled else [*shared[_labeled(run)]]) for run, column in own]


def _labeled(run: Run) -> tuple[Any, ...]:
    return run.config["dataset"]["name"], run.config["imb"]["n1"], run.config["imb"]["gamma_l"]


def _settings(label: str, runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of one data set and imbalance by their setting, named by what varies.

    A learner's own schedule or batch is no other setting: where runs have the value of a knob that their learner has in
    their recipe, it is the same one. Recipes are settings by their name.
    """
    knobs = [_knobs(run, settings=True) | {RECIPE: recipe_name(run.config)} for run in runs]
    varying = _varying(knobs)
    if varying:
        knobs = [_relative(run, some) for run, some in zip(runs, knobs)]
        varying &= _varying(knobs)
    names = {key: _short(key, varying) for key in varying}
    folders = _folders(runs) if FILES in varying else {}
    by_value: dict[str, list[Run]] = {}
    for run, some in zip(runs, knobs):
        by_value.setdefault(repr([some.get(key) for key in sorted(varying)]), []).append(run)
    found: dict[str, list[Run]] = {}
    for members in by_value.values():
        values = [flat(plain(run.settings)) | {RECIPE: recipe_name(run.config)} for run in members]
        shared = [key for key in sorted(varying) if len({repr(some[key]) for some in values}) == 1]
        told = {key: f"{names[key]}={values[0][key]}" for key in shared}
        if FILES in told and folders:
            told[FILES] = f"root={folders[values[0][FILES]]}"
        words = [*told.values()]
        words += [f"{names[key]} by method" for key in sorted(varying - {*shared})]
        found.setdefault(" ".join([label, *words]), []).extend(members)
    return found


def _folders(runs: Iterable[Run]) -> dict[str, str]:
    """What the folder of each checksum of files is called; nothing where that does not tell them apart."""
    names = {(run.settings.dataset.files_checksum, Path(run.settings.dataset.root).name) for run in runs}
    told = all(name for _, name in names) and all(len({*some}) == len(names) for some in zip(*names))
    return dict(names) if told else {}


def _relative(run: Run, knobs: Mapping[str, Any]) -> dict[str, Any]:
    """The knobs with `None` for those that have the value of the run's learner and recipe."""
    config = run.config
    name, reader = (str(config["dataset"].get(key, "")) for key in ("name", "reader"))
    choices = (
        f"dataset={STAND_IN if reader in OWN_FILES else reader or name}",
        f"recipe={recipe_name(config)}",
        f"algorithm={config['algorithm']['name']}",
    )
    sizes = tuple(f"imb.{key}={value}" for key, value in config["imb"].items() if value not in ([], LONG_TAILED))
    try:
        usual = _usual((*choices, *sizes))
    except UserError:  # sizes that its images leave no room for
        usual = _usual(choices)
    return {k: None if k.startswith(OF_RECIPE) and value == usual.get(k) else value for k, value in knobs.items()}


@cache
def _usual(overrides: tuple[str, ...]) -> dict[str, Any]:
    """The knobs where nothing else is said."""
    from daso.settings.compose import configuration

    return decisive(configuration(overrides))


def _short(key: str, among: Iterable[str]) -> str:
    """A knob without its group, where that is clear; class sizes as printed."""
    name = key.rpartition(".")[2]
    clear = sum(other.rpartition(".")[2] == name for other in among) == 1
    return {"imb.m1": "M1"}.get(key, name if clear else key)


def _varying(knobs: Sequence[Mapping[str, Any]]) -> set[str]:
    keys = {key for some in knobs for key in some}
    return {key for key in keys if len({repr(some.get(key)) for some in knobs if some.get(key) is not UNREAD}) > 1}


def _knobs(run: Run, settings: bool) -> dict[str, Any]:
    """The knobs that decide a run's numbers, the seed aside: those of its setting, or those of its method. `UNREAD`
    where nothing reads them, so that they are unlike no other value.
    """
    values = {key: value for key, value in decisive(run.settings).items() if key.startswith(SETTINGS) == settings}
    return {k: UNREAD if reader_of(run.settings, k) else value for k, value in values.items() if k != "seed"}


def ordered(cells: Mapping[tuple[str, Column], Sequence[Run]]) -> tuple[list[str], list[Column]]:
    """Rows by learner, the plain one first; columns by data set and sizes: matched, then uniform, then reversed."""
    sizes: dict[Column, tuple[float, ...]] = {}
    for column in dict.fromkeys(column for _, column in cells):
        runs = [run for (_, place), members in cells.items() if place == column for run in members]
        imb = min(runs, key=lambda run: not run.settings.reads_unlabeled).config["imb"]
        gamma_u, m1 = (imb[key] if isinstance(imb[key], int | float) else 0.0 for key in ("gamma_u", "m1"))
        sizes[column] = (float(imb["n1"]), float(imb["gamma_l"]), -float(gamma_u), float(m1), runs[0].steps)
    rows = dict.fromkeys(row for row, _ in cells)
    return sorted(rows, key=_row_order), sorted(sizes, key=lambda column: (column.group, sizes[column], column.label))


def _row_order(row: str) -> tuple[int, int, str]:
    words = row.partition(",")[0].split("_")
    learners = list(LEARNERS)
    return learners.index(words[0]) if words[0] in learners else len(learners), len(words), row
