"""What runs of one data set, or of one method, are told apart by: the knobs that vary among them, and their words."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import yaml

from daso.errors import UserError
from daso.outputs.naming import DIGITS, OWN_FILES, PAPER_RECIPE, recipe_name
from daso.report.collect import Run
from daso.schema import LONG_TAILED
from daso.settings.apart import FILES, called_files, decisive, written
from daso.settings.identity import plain
from daso.settings.options import CONF
from daso.settings.restored import flat
from daso.settings.unread import reader_of

UNREAD = "unread"
SETTINGS = ("dataset.", "imb.", "model.", "optim.", "train.")
OF_RECIPE = ("dataset.", "model.", "optim.", "train.")  # where a learner or a recipe may have values of its own
RECIPE = "recipe"
NAME = "dataset.name"  # which stands above
SIZES = ("imb.", "dataset.labels_per_class", "dataset.label_fraction")  # which the name of an imbalance has, mostly
EPOCHS, STEPS = "train.epochs", "train.steps"
DERIVED = ("train.epoch",)  # which other knobs decide
UNDECIDED = "auto"
SEVERAL = 4  # columns whose heads leave to a note what most of them have
STAND_IN = "fashion_mnist"  # no recipe knows a person's files, nor has this one values for it
Knobs = dict[str, Any]
Words = dict[str, str]
"""Knob -> how it is told, such as `lr=0.03`."""


class Part(NamedTuple):
    """Runs that are told apart from others."""

    runs: list[Run]
    words: Words
    unset: frozenset[str]  # the knobs among them that nobody has set to another value than the learner's or recipe's
    place: list[tuple[int, float, str]]  # a key that sorts parts by their values


def parts_of(
    places: Sequence[Sequence[Run]], settings: bool, within: bool = False
) -> tuple[list[list[Part]], dict[str, str]]:
    """Runs by what varies among them, place by place, in the order of its values: what is told of one is told of all.

    A learner's own schedule or batch is no other setting: where runs have the value of a knob that their learner has in
    their recipe, it is the same one. Recipes are settings by their name.

    Args:
        places: the runs of each imbalance of one data set, or of each column of one method.
        settings: whether they are told apart by their settings, or by their method's knobs.
        within: whether only what varies within some place tells runs apart.

    Returns:
        The parts of each place; and which words a note may say once for those that say nothing else.
    """
    every = list({run.key: run for runs in places for run in runs}.values())
    compared, order = _told_apart(every, settings)
    knobs = {run.key: some for run, some in zip(every, compared)}
    inside = set().union(*(_varying([knobs[run.key] for run in runs]) for runs in places))
    order = [key for key in order if key in inside or not (within or key.startswith(SIZES))]
    values = {run.key: _values(run, settings) for run in every}
    if FILES in order:
        files = called_files([run.settings for run in every])
        values = {key: some | ({FILES: files[some[FILES]]} if FILES in some else {}) for key, some in values.items()}
    said = {key: _saying([some[key] for some in values.values() if key in some]) for key in order}
    names = {key: _short(key, order) if settings else key for key in order}
    names |= {FILES: ""}  # which say themselves what they are

    def place(part: Sequence[Run]) -> list[tuple[int, float, str]]:
        return [_sortable([values[run.key].get(key) for run in part]) for key in order]

    def words(part: Sequence[Run], keys: Iterable[str]) -> Words:
        told = {key: _word(key, [values[run.key] for run in part], names, said) for key in keys}
        return {key: word for key, word in told.items() if word}

    def stated(run: Run, key: str) -> Any:
        """The knob as it is compared; as it was set where nothing reads it, so that the run stands somewhere."""
        value = knobs[run.key].get(key)
        return value if value is not UNREAD else _relative(run, {key: values[run.key].get(key)})[key]

    split: list[list[list[Run]]] = []
    for runs in places:
        alike: dict[str, list[Run]] = {}
        for run in runs:
            alike.setdefault(repr([stated(run, key) for key in order]), []).append(run)
        split.append(sorted(alike.values(), key=place))
    brief = [key for key in order if key not in DERIVED]
    short, whole = ([[words(part, keys) for part in parts] for parts in split] for keys in (brief, order))
    chosen = short if all(_lines(some) == _lines(all_) for some, all_ in zip(short, whole)) else whole
    found = [
        [Part(part, told, frozenset(_unset(part, told, knobs)), place(part)) for part, told in zip(parts, heads)]
        for parts, heads in zip(split, chosen)
    ]
    return found, _unsaid([told for heads in chosen for told in _distinct(heads)])


def line(words: Words) -> str:
    """Some words in one line."""
    return " ".join(words.values())


def _distinct(heads: Iterable[Words]) -> list[Words]:
    return list({line(words): words for words in heads}.values())


def _lines(heads: Sequence[Words]) -> int:
    return len({*map(line, heads)})


def _unset(part: Sequence[Run], words: Words, knobs: Mapping[str, Knobs]) -> list[str]:
    return [key for key in words if all(knobs[run.key].get(key) in (None, UNREAD, PAPER_RECIPE) for run in part)]


def _unsaid(heads: Sequence[Words]) -> Words:
    """The knobs that a note says once, as all heads would have them: where most of several have them alike, or where
    nobody has decided.
    """
    found: Words = {}
    for key in dict.fromkeys(key for words in heads for key in words):
        if not all(key in words or (key == STEPS and EPOCHS in words) for words in heads):
            continue
        (word, count), *_ = Counter(words.get(key, "") for words in heads).most_common()
        undecided = [words[key] for words in heads if words.get(key, "").endswith(f"={UNDECIDED}")]
        if undecided:
            found[key] = undecided[0]
        elif word and len(heads) >= SEVERAL and 2 * count > len(heads):
            found[key] = word
    return found


def _word(key: str, values: Sequence[Knobs], names: Mapping[str, str], said: Mapping[str, Callable[[Any], str]]) -> str:
    """A knob and its value in a part, such as `lr=0.03`; nothing where it is left as it was before there was it."""
    there = [some[key] for some in values if key in some]
    if len({repr(value) for value in there}) > 1 or 0 < len(there) < len(values):
        return f"{names[key]} by method"
    followed = key == STEPS and EPOCHS in names and any(some.get(EPOCHS) for some in values)
    name = f"{names[key]}=" if names[key] else ""
    return f"{name}{said[key](there[0])}" if there and not followed else ""


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


def _relative(run: Run, knobs: Knobs) -> Knobs:
    """The knobs with `None` for those that have the value of the run's learner and recipe, or data set."""
    config = run.config
    name, reader = (str(config["dataset"].get(key, "")) for key in ("name", "reader"))
    own = reader in OWN_FILES
    choices = (
        f"dataset={STAND_IN if own else reader or name}",
        f"recipe={recipe_name(config)}",
        f"algorithm={config['algorithm']['name']}",
    )
    sizes = tuple(f"imb.{key}={value}" for key, value in config["imb"].items() if value not in ([], LONG_TAILED))
    try:
        usual = _usual((*choices, *sizes))
    except UserError:  # sizes that its images leave no room for
        usual = _usual(choices)
    usual = usual | _of_files(reader) if own else usual
    return {k: None if k.startswith(OF_RECIPE) and value == usual.get(k) else value for k, value in knobs.items()}


@cache
def _usual(overrides: tuple[str, ...]) -> Knobs:
    """The knobs where nothing else is said."""
    from daso.settings.compose import configuration

    return decisive(configuration(overrides))


@cache
def _of_files(reader: str) -> Knobs:
    """The knobs of a person's own images where nothing else is said, without a look at any."""
    return flat({"dataset": yaml.safe_load((CONF / "dataset" / f"{reader}.yaml").read_text(encoding="utf-8"))})


def _short(key: str, among: Collection[str]) -> str:
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


def _varying(knobs: Sequence[Knobs]) -> set[str]:
    keys = {key for some in knobs for key in some}
    return {key for key in keys if len({repr(some.get(key)) for some in knobs if some.get(key) is not UNREAD}) > 1}


def _knobs(run: Run, settings: bool) -> Knobs:
    """The knobs that decide a run's numbers, the seed aside: those of its setting, or those of its method. `UNREAD`
    where nothing reads them, so that they are unlike no other value.
    """
    values = {key: value for key, value in decisive(run.settings).items() if key.startswith(SETTINGS) == settings}
    found = {k: UNREAD if reader_of(run.settings, k) else value for k, value in values.items()}
    found = {k: value for k, value in found.items() if k not in ("seed", NAME)}
    return found | ({RECIPE: recipe_name(run.config)} if settings else {})
