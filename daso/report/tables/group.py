"""Any runs in rows and columns: what varies among them beside the seed, in the order of its values.

Rows are methods with the knobs that vary of them, columns are data sets and settings with theirs.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from daso.outputs.naming import OWN_FILES, dataset_name, imbalance_name, method_name
from daso.published.cells import LEARNERS
from daso.report.collect import Run
from daso.report.tables.heads import line, parts_of
from daso.report.tables.table import Column


class Grouped(NamedTuple):
    """Runs by method and setting: those of one cell differ in their seed alone."""

    cells: dict[tuple[str, Column], list[Run]]
    rows: list[str]  # by learner, the plain one first, variants by their values
    columns: list[Column]  # by data set and sizes, matched, uniform, reversed; then by the values of knobs
    usual: dict[str, str]  # data set -> what its heads leave unsaid, as most of them have it
    unset: set[Column]  # whose heads tell nothing that somebody has set


def group(runs: Iterable[Run], asked: Collection[str] | None = None) -> Grouped:
    """The runs of each method and setting.

    A knob of data, network or training that varies among runs of one data set makes columns of its own; a knob of the
    method that varies among those of one column, rows.

    Args:
        runs: the runs.
        asked: keys of those that are shown, beside whom they stand among all of them; None: all.
    """
    homes = _homes(_hosted(runs), asked)
    datasets: dict[str, list[Column]] = {}
    for host in homes:
        datasets.setdefault(host.group, []).append(host)
    columns: dict[Column, list[Run]] = {}
    usual: dict[str, str] = {}
    unset: set[Column] = set()
    rows: dict[tuple[int, int, str], dict[str, None]] = {}
    cells: dict[tuple[str, Column], list[Run]] = {}
    for name, hosts in datasets.items():
        parts, unsaid = parts_of([homes[host] for host in hosts], settings=True)
        usual |= {name: " ".join(unsaid.values())} if unsaid else {}
        here: dict[Column, list[Run]] = {}
        for host, part in ((host, part) for host, some in zip(hosts, parts) for part in some):
            left = {key: word for key, word in part.words.items() if unsaid.get(key) != word}
            column = Column(host.group, " ".join([host.label, *left.values()]))
            here.setdefault(column, []).extend(part.runs)
            unset |= {column} if left.keys() <= part.unset else set()
        columns |= here
        row_of = _rows_of(here)
        for column, run in ((column, run) for column, members in here.items() for run in members):
            cells.setdefault((row_of[run.key], column), []).append(run)
        for row in row_of.values():
            rows.setdefault(_method_order(row.partition(", ")[0]), {})[row] = None
    ordered = [row for order in sorted(rows) for row in sorted(rows[order], key=lambda row: ", " in row)]
    return Grouped(cells, ordered, list(columns), usual, unset)


def _rows_of(columns: Mapping[Column, list[Run]]) -> dict[str, str]:
    """The row of each run of one data set: its method, with the knobs that vary among the runs of a column."""
    methods: dict[str, dict[Column, list[Run]]] = {}
    for column, members in columns.items():
        for run in members:
            methods.setdefault(method_name(run.config), {}).setdefault(column, []).append(run)
    found: dict[str, str] = {}
    for method, places in methods.items():
        parts, _ = parts_of(list(places.values()), settings=False, within=True)  # T_dist follows the column
        told = sorted((part for some in parts for part in some), key=lambda part: part.place)
        found |= {run.key: ", ".join([method, *part.words.values()]) for part in told for run in part.runs}
    return found


def _hosted(runs: Iterable[Run]) -> dict[Column, list[Run]]:
    """The runs of each data set and imbalance: one without unlabeled images fits all that share its labeled ones."""
    called: dict[
        tuple[str, str], str
    ] = {}  # the same files are one data set, wherever they lie, unless somebody names it
    own: list[tuple[Run, Column]] = []
    for run in runs:
        name = dataset_name(run.config["dataset"])
        given = "" if run.config["dataset"]["name"] in OWN_FILES else name
        name = called.setdefault((run.settings.dataset.files_checksum or name, given), name)
        own.append((run, Column(name, imbalance_name(run.config["imb"]))))
    shared: dict[Any, dict[Column, None]] = {}
    for run, column in sorted(own, key=lambda one: not one[0].settings.reads_unlabeled):  # readers come first
        columns = shared.setdefault(_labeled(run, column), {})
        if run.settings.reads_unlabeled or not columns:
            columns[column] = None
    found: dict[Column, list[Run]] = {}
    for run, column in own:
        for place in [column] if run.settings.reads_unlabeled else shared[_labeled(run, column)]:
            found.setdefault(place, []).append(run)
    return dict(sorted(found.items(), key=lambda one: _sizes(*one)))


def _labeled(run: Run, column: Column) -> tuple[Any, ...]:
    return column.group, run.config["imb"]["n1"], run.config["imb"]["gamma_l"]


def _homes(hosts: Mapping[Column, list[Run]], asked: Collection[str] | None) -> dict[Column, list[Run]]:
    """The runs that are asked for, by the same; those of labels alone not where no other run has their setting, if some
    has it elsewhere; where none has it anywhere, they stand once.
    """
    beside: dict[Column, set[str]] = {}
    for host, members in hosts.items():
        parts: dict[str, list[Run]] = {}
        for part in parts_of([members], settings=True)[0][0]:
            parts.setdefault(line(part.words), []).extend(part.runs)
        read = [part for part in parts.values() if any(run.settings.reads_unlabeled for run in part)]
        beside[host] = {run.key for part in read for run in part}
    housed = set().union(*beside.values())
    found: dict[Column, list[Run]] = {}
    for host, members in hosts.items():
        shown = [run for run in members if asked is None or run.key in asked]
        if any(run.settings.reads_unlabeled for run in members) > any(run.settings.reads_unlabeled for run in shown):
            continue  # a place of others
        found[host] = [run for run in shown if run.key in beside[host] or run.key not in housed]
        housed |= {run.key for run in found[host]}
    return {host: members for host, members in found.items() if members}


def _sizes(host: Column, runs: Iterable[Run]) -> tuple[Any, ...]:
    """A key that sorts data sets and imbalances: matched, then uniform, then reversed."""
    imb = min(runs, key=lambda run: not run.settings.reads_unlabeled).config["imb"]
    gamma_u, m1 = (imb[key] if isinstance(imb[key], int | float) else 0.0 for key in ("gamma_u", "m1"))
    return host.group, float(imb["n1"]), float(imb["gamma_l"]), -float(gamma_u), float(m1), host.label


def _method_order(method: str) -> tuple[int, int, str]:
    words = method.split("_")
    learners = list(LEARNERS)
    return learners.index(words[0]) if words[0] in learners else len(learners), len(words), method
