"""Any runs in rows and columns: what varies among them beside the seed, in the order of its values.

Rows are methods with the knobs that vary of them, columns are data sets and settings with theirs.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from daso.errors import UserError
from daso.outputs.naming import DIGITS, OWN_FILES, dataset_name, imbalance_name, method_name, recipe_name
from daso.published.cells import LEARNERS
from daso.report.collect import Run
from daso.report.table import Column
from daso.schema import LONG_TAILED
from daso.settings.apart import decisive, written
from daso.settings.identity import plain
from daso.settings.restored import flat
from daso.settings.unread import reader_of

UNREAD = "unread"
SETTINGS = ("dataset.", "imb.", "model.", "optim.", "train.")
OF_RECIPE = ("dataset.", "model.", "optim.", "train.")  # where a learner or a recipe may have values of its own
RECIPE = "recipe"
FILES, EPOCHS, STEPS = "dataset.files_checksum", "train.epochs", "train.steps"
DERIVED = ("train.epoch",)  # which other knobs decide
SEVERAL = 4  # columns whose heads leave to a note what most of them have
STAND_IN = "fashion_mnist"  # no recipe knows a person's files, nor has this one values for it
Knobs = dict[str, Any]


class Grouped(NamedTuple):
    """Runs by method and setting: those of one cell differ in their seed alone."""

    cells: dict[tuple[str, Column], list[Run]]
    rows: list[str]  # by learner, the plain one first, variants by their values
    columns: list[Column]  # by data set and sizes, matched, uniform, reversed; then by the values of knobs
    usual: dict[str, str]  # data set and imbalance -> what its heads leave unsaid, as most of them have it


def group(runs: Iterable[Run]) -> Grouped:
    """The runs of each method and setting.

    A knob of data, network or training that varies among runs of one data set and imbalance makes columns of its own;
    a knob of the method, rows.
    """
    columns: dict[Column, list[Run]] = {}
    usual: dict[str, str] = {}
    for host, members in _homes(_hosted(runs)).items():
        parts = _apart(members, settings=True)
        unsaid = _unsaid([words for words, _ in parts])
        usual |= {host.head: " ".join(unsaid.values())} if unsaid else {}
        for words, alike in parts:
            left = [word for key, word in words.items() if unsaid.get(key) != word]
            columns.setdefault(Column(host.group, " ".join([host.label, *left])), []).extend(alike)
    methods: dict[str, dict[Column, list[Run]]] = {}
    for column, members in columns.items():
        for run in members:
            methods.setdefault(method_name(run.config), {}).setdefault(column, []).append(run)
    row_of: dict[str, str] = {}
    for method in sorted(methods, key=_method_order):
        varying = {key for members in methods[method].values() for key in _told_apart(members, settings=False)[1]}
        every = {run.key: run for members in methods[method].values() for run in members}
        for words, alike in _apart(list(every.values()), settings=False, among=varying):  # T_dist follows the column
            row_of |= dict.fromkeys((run.key for run in alike), ", ".join([method, *words.values()]))
    cells: dict[tuple[str, Column], list[Run]] = {}
    for column, members in columns.items():
        for run in members:
            cells.setdefault((row_of[run.key], column), []).append(run)
    return Grouped(cells, list(dict.fromkeys(row_of.values())), list(columns), usual)


def _hosted(runs: Iterable[Run]) -> dict[Column, list[Run]]:
    """The runs of each data set and imbalance: one without unlabeled images fits all that share its labeled ones."""
    called: dict[str, str] = {}  # the same files are one data set, wherever they lie
    own: list[tuple[Run, Column]] = []
    for run in runs:
        name = dataset_name(run.config["dataset"])
        name = called.setdefault(_files(run) or name, name)
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


def _homes(hosts: Mapping[Column, list[Run]]) -> dict[Column, list[Run]]:
    """The same without runs of labels alone where no other run has their setting, if some has it elsewhere; where none
    has it anywhere, they stand once.
    """
    beside: dict[Column, set[str]] = {}
    for host, members in hosts.items():
        parts: dict[str, list[Run]] = {}
        for words, part in _apart(members, settings=True):
            parts.setdefault(_line(words), []).extend(part)
        read = [part for part in parts.values() if any(run.settings.reads_unlabeled for run in part)]
        beside[host] = {run.key for part in read for run in part}
    housed = set().union(*beside.values())
    found: dict[Column, list[Run]] = {}
    for host, members in hosts.items():
        found[host] = [run for run in members if run.key in beside[host] or run.key not in housed]
        housed |= {run.key for run in members}
    return {host: members for host, members in found.items() if members}


def _apart(
    runs: Sequence[Run], settings: bool, among: Collection[str] | None = None
) -> list[tuple[dict[str, str], list[Run]]]:
    """Runs by what varies among them, in the order of its values: the words that name a part by knob, and the part.

    A learner's own schedule or batch is no other setting: where runs have the value of a knob that their learner has in
    their recipe, it is the same one. Recipes are settings by their name.

    Args:
        runs: of one data set and imbalance, or of one method.
        settings: which of the two.
        among: the knobs that tell them apart; all by default.
    """
    knobs, order = _told_apart(runs, settings)
    order = [key for key in order if among is None or key in among]
    alike: dict[str, list[Run]] = {}
    for run, some in zip(runs, knobs):
        alike.setdefault(repr([some.get(key) for key in order]), []).append(run)
    values = {run.key: _values(run, settings) for run in runs}
    folders = _folders(runs) if FILES in order else {}
    if folders:  # which say more than a checksum
        values = {run.key: values[run.key] | {FILES: folders[_files(run)]} for run in runs}
    said = {key: _saying([some[key] for some in values.values() if key in some]) for key in order}
    names = {key: _short(key, order) if settings else key for key in order}
    names |= {FILES: "root"} if folders else {}

    def place(part: Sequence[Run]) -> list[Any]:
        return [_sortable([values[run.key].get(key) for run in part]) for key in order]

    parts = sorted(alike.values(), key=place)

    def words(part: Sequence[Run], keys: Iterable[str]) -> dict[str, str]:
        told = {key: _word(key, [values[run.key] for run in part], names, said) for key in keys}
        return {key: word for key, word in told.items() if word}

    plain_keys = [key for key in order if key not in DERIVED]
    short, whole = ([words(part, keys) for part in parts] for keys in (plain_keys, order))
    enough = len({*map(_line, short)}) == len({*map(_line, whole)})
    return list(zip(short if enough else whole, parts))


def _line(words: Mapping[str, str]) -> str:
    return " ".join(words.values())


def _unsaid(heads: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The knobs that most of several heads have alike, and all of them have: a note says them once."""
    found: dict[str, str] = {}
    distinct = list({_line(words): words for words in heads}.values())
    for key in dict.fromkeys(key for words in distinct for key in words):
        (word, count), *_ = Counter(words.get(key, "") for words in distinct).most_common()
        everywhere = all(key in words or (key == STEPS and EPOCHS in words) for words in distinct)
        if word and everywhere and len(distinct) >= SEVERAL and 2 * count > len(distinct):
            found[key] = word
    return found


def _word(key: str, values: Sequence[Knobs], names: Mapping[str, str], said: Mapping[str, Callable[[Any], str]]) -> str:
    """A knob and its value in a part, such as `lr=0.03`; nothing where it is left as it was before there was it."""
    there = [some[key] for some in values if key in some]
    if len({repr(value) for value in there}) > 1 or 0 < len(there) < len(values):
        return f"{names[key]} by method"
    followed = key == STEPS and EPOCHS in names and any(some.get(EPOCHS) for some in values)
    return f"{names[key]}={said[key](there[0])}" if there and not followed else ""


def _told_apart(runs: Sequence[Run], settings: bool) -> tuple[list[Knobs], list[str]]:
    """The knobs of each run as they are compared, and which of them vary, in the order of their definition."""
    compared = [_knobs(run, settings) for run in runs]
    varying = _varying(compared)
    if varying and settings:
        compared = [_relative(run, some) for run, some in zip(runs, compared)]
        varying &= _varying(compared)
    defined = [*dict.fromkeys(key for run in runs for key in flat(plain(run.settings))), RECIPE]
    return compared, [key for key in defined if key in varying]


def _values(run: Run, settings: bool) -> Knobs:
    """The knobs that a part may be named by, without those that are as they were before there were any."""
    deciding, every = decisive(run.settings), flat(plain(run.settings))
    there = {key: every[key] for key in every if key in deciding}
    return there | {RECIPE: recipe_name(run.config)} if settings else deciding


def _folders(runs: Iterable[Run]) -> dict[str, str]:
    """As much of the path of each checksum's files as tells them apart; nothing where one path had several."""
    places = {_files(run): Path(run.settings.dataset.lists or run.settings.dataset.root).parts for run in runs}
    for length in range(1, max(map(len, places.values()), default=0) + 1):
        tails = {files: "/".join(parts[-length:]) for files, parts in places.items()}
        if len({*tails.values()}) == len(tails) and all(tails.values()):
            return tails
    return {}


def _files(run: Run) -> str:
    return run.settings.dataset.files_checksum


def _relative(run: Run, knobs: Mapping[str, Any]) -> Knobs:
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
def _usual(overrides: tuple[str, ...]) -> Knobs:
    """The knobs where nothing else is said."""
    from daso.settings.compose import configuration

    return decisive(configuration(overrides))


def _short(key: str, among: Iterable[str]) -> str:
    """A knob without its group, where that is clear; class sizes as printed."""
    name = key.rpartition(".")[2]
    clear = sum(other.rpartition(".")[2] == name for other in among) == 1
    return {"imb.m1": "M1"}.get(key, name if clear else key)


def _saying(values: Sequence[Any]) -> Callable[[Any], str]:
    """How the values of a knob are written: in four digits where these tell them apart."""
    apart = len({written(_rounded(value)) for value in values}) == len({repr(value) for value in values})
    return (lambda value: written(_rounded(value))) if apart else str


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [*map(_rounded, value)]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def _sortable(values: Sequence[Any]) -> tuple[int, float, str]:
    """A key that puts what is left as it was, or up to each method, first, then numbers by their size, then words."""
    value = values[0]
    if value is None or len({*map(repr, values)}) > 1:
        return 0, 0.0, ""
    return (1, float(value), "") if isinstance(value, int | float) else (2, 0.0, str(value))


def _varying(knobs: Sequence[Mapping[str, Any]]) -> set[str]:
    keys = {key for some in knobs for key in some}
    return {key for key in keys if len({repr(some.get(key)) for some in knobs if some.get(key) is not UNREAD}) > 1}


def _knobs(run: Run, settings: bool) -> Knobs:
    """The knobs that decide a run's numbers, the seed aside: those of its setting, or those of its method. `UNREAD`
    where nothing reads them, so that they are unlike no other value.
    """
    values = {key: value for key, value in decisive(run.settings).items() if key.startswith(SETTINGS) == settings}
    found = {k: UNREAD if reader_of(run.settings, k) else value for k, value in values.items() if k != "seed"}
    return found | ({RECIPE: recipe_name(run.config)} if settings else {})


def _sizes(host: Column, runs: Sequence[Run]) -> tuple[Any, ...]:
    """A key that sorts data sets and imbalances: matched, then uniform, then reversed."""
    imb = min(runs, key=lambda run: not run.settings.reads_unlabeled).config["imb"]
    gamma_u, m1 = (imb[key] if isinstance(imb[key], int | float) else 0.0 for key in ("gamma_u", "m1"))
    return host.group, float(imb["n1"]), float(imb["gamma_l"]), -float(gamma_u), float(m1), host.label


def _method_order(method: str) -> tuple[int, int, str]:
    words = method.split("_")
    learners = list(LEARNERS)
    return learners.index(words[0]) if words[0] in learners else len(learners), len(words), method
