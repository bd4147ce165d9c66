"""Own runs of any methods beside everything that the field has published of the same setting, protocol by protocol."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from daso.errors import UserError
from daso.outputs.naming import PAPER_RECIPE, method_name, recipe_name
from daso.published.cells import TITLES, Overrides, Setting
from daso.published.field import PROTOCOLS, RULES, Protocol, Reported, datasets, reported
from daso.report.collect import Run, known, passed_over
from daso.report.match import Configure, match
from daso.report.sample import sample_of
from daso.report.stats import SELECTIONS, counted, listed, metric_name
from daso.report.tables.external import External
from daso.report.tables.finish import finish
from daso.report.tables.group import group
from daso.report.tables.heads import SETTINGS
from daso.report.tables.paper import remark_on_runs, setting_label
from daso.report.tables.table import (
    AS_REPORTED,
    Column,
    Entry,
    Number,
    Options,
    Table,
    with_baseline,
)
from daso.report.where import Place, Where, setting_of_run
from daso.schema import LONG_TAILED, SHAPES, parse_gamma_u
from daso.settings.apart import decisive
from daso.settings.options import CONF

FACTS = ("venue", "rule", "source")
OWN = "own runs"  # the source of a row that nobody has published
UNVERIFIED = "unverified"  # the protocol of a result that says none
UNPUBLISHED = Protocol("nobody has published in it", "median20", 1)
FREE = ("seed", "train.steps")  # what runs of one recipe may differ in: fewer steps are marked


@dataclass
class Row:
    """One method as one source reports it, over the settings."""

    method: str
    algorithm: str
    venue: str
    rule: str
    source: str
    tables: list[str] = field(default_factory=list)
    cells: dict[Setting, Reported] = field(default_factory=dict)

    def takes(self, number: Reported) -> bool:
        """Take a number that belongs here, unless its place holds another value; whether it was taken."""
        mine = (self.method, self.venue, self.rule, self.source)
        there = self.cells.get(number.setting, number)
        if mine != (number.method, number.venue, number.rule, number.source) or there.printed != number.printed:
            return False
        notes = tuple(dict.fromkeys((*there.notes, *number.notes)))
        self.cells[number.setting] = there._replace(notes=notes)
        self.algorithm = self.algorithm or number.algorithm
        self.tables += [number.table] * (number.table not in ("", *self.tables))
        return True

    @property
    def facts(self) -> tuple[str, ...]:
        """What stands beside the method: venue, rule, source."""
        tables = f", Table{'s' * (len(self.tables) > 1)} {', '.join(self.tables)}" if self.tables else ""
        return self.venue, self.rule, self.source + tables


class Cell(NamedTuple):
    """The configuration of a published number."""

    dataset: str
    setting: Setting
    learner: str
    overrides: Overrides


def field_tables(where: Where, runs: Sequence[Run], options: Options, configure: Configure) -> list[Table]:
    """One table a protocol: rows are methods, columns are settings. A run counts in the protocol of its recipe.

    Raises:
        UserError: nobody has published a number of such a setting and no run of it is finished, or no table has the
            baseline.
    """
    where = where.plain
    numbers = [n for n in reported() if where.has(n.dataset, n.setting, n.protocol)]
    others, runs = passed_over(runs), known(runs)
    ours = [run for run in runs if where.has_run(run)]
    if options.overrides:  # a mistake in them is one without any run as well
        configure(tuple(item for item in options.overrides if not item.startswith("dataset.splits=")))
    inside = [
        run for run in ours if run.done and where.has(where.dataset, setting_of_run(run), recipe_name(run.config))
    ]
    found = {recipe_name(run.config) for run in inside} | {number.protocol for number in numbers}
    external: dict[str, list[External]] = {}
    for one in options.external:
        protocol = one.protocol or UNVERIFIED
        if where.has(one.place.dataset, one.place.setting, protocol):
            external.setdefault(protocol, []).append(one)
    found |= external.keys()
    if not found:
        raise UserError(_nothing(where))
    makers = []
    for name in [*PROTOCOLS, *sorted(found - PROTOCOLS.keys())]:
        if name in found:
            theirs = [number for number in numbers if number.protocol == name]
            of_name = [run for run in ours if recipe_name(run.config) == name]
            makers.append(partial(_table, name, where, theirs, of_name, configure, external.get(name, [])))
    tables = with_baseline(makers, options)
    tables[0].notes += others
    left = len(options.external) - sum(map(len, external.values()))
    tables[0].notes += [f"Not shown: {counted(left, 'external result')}, of other settings."] * bool(left)
    return tables


def field_label(setting: Setting, stated: bool = True) -> str:
    """A setting as a column's head.

    Args:
        setting: class sizes and imbalance.
        stated: whether a data set of this kind has class sizes to state.
    """
    if setting.gamma_u == "natural":
        return "natural"
    label = setting_label(setting)
    if not setting.n1:
        label = label.partition(" N1")[0] + " N1 not stated" * stated
    return label if setting.shape == LONG_TAILED else " ".join([label, *setting.shape.split("_")])


def _table(
    protocol: str,
    where: Where,
    numbers: Sequence[Reported],
    runs: Sequence[Run],
    configure: Configure,
    external: Sequence[External],
    options: Options,
) -> Table:
    options = options._replace(external=tuple(external))
    about = PROTOCOLS.get(protocol, UNPUBLISHED)
    dataset, group = where.dataset, TITLES.get(where.dataset, where.dataset)
    done = [run for run in runs if run.done and where.has(dataset, setting_of_run(run), protocol)]
    settings = {number.setting for number in numbers} | {setting_of_run(run) for run in done}
    columns = {s: Column(group, field_label(s, dataset in TITLES)) for s in sorted(settings, key=_order)}
    table = Table(
        title=f"{group}, protocol {protocol}: {about.title}; {RULES[about.rule]}",
        rows=[],
        columns=list(columns.values()),
        entries={},
        options=options,
        decimals=about.decimals,
        fact_names=FACTS,
        rule="what each row's rule says",
    )
    found = match(_likely(numbers, runs), runs, options.overrides, configure)
    of_cells = {run.key for members in found.runs.values() for run in members}
    found.left_out.clear()  # what no published number describes has rows of its own
    rest = [run for run in done if run.key not in of_cells and not run.config["dataset"].get("files_checksum")]
    own, differing = _unpublished(rest, protocol, options, configure)
    found.left_out.update(differing)
    shorter: list[Run] = []
    names: dict[str, tuple[str, ...]] = {}
    footnotes: dict[tuple[str, Column], tuple[str, ...]] = {}
    for row in _rows(numbers):
        key = _add(table, row.method, row.facts)
        names[key] = (*row.algorithm.split()[:1], row.method)
        for setting, number in row.cells.items():
            overrides = cell.overrides if (cell := _cell(number)) else ()
            entry = _entry(protocol, row.facts, number.metric, number.rule, options)
            entry.published = Number(float(number.mean), float(number.std) if number.std else None, number.printed)
            entry.configuration = " ".join(overrides)
            members, goal = found.runs.get(overrides, []), found.goals.get(overrides)
            entry.sample, left = sample_of(members, entry.metric, goal)
            shorter += left
            table.place(key, columns[setting], entry)
            footnotes[key, columns[setting]] = number.notes
    metric = "bacc" if protocol == "cdmad" else "top1"
    for method, places in own.items():
        key = _add(table, method, ("", about.rule, OWN))
        names[key] = (method,)
        for setting, (members, goal) in places.items():
            entry = _entry(protocol, table.facts[key], metric, about.rule, options)
            entry.sample, left = sample_of(members, entry.metric, goal)
            shorter += left
            table.place(key, columns[setting], entry)
    trained = sorted(names, key=lambda key: not any(e.sample for (row, _), e in table.entries.items() if row == key))
    heads = {column: Place(dataset, setting) for setting, column in columns.items()}
    called = {key: (*others, table.label(key).partition(", ")[0]) for key, others in names.items()}
    finish(table, heads, called, {key: names[key] for key in trained}, footnotes, head=field_label)
    remark_on_runs(table, found, shorter, whose=f"the recipe {protocol}")
    return table


def _rows(numbers: Iterable[Reported]) -> list[Row]:
    """The numbers by method and source; where a source prints two values of one cell, by table as well."""
    rows: list[Row] = []
    for number in numbers:
        if not any(row.takes(number) for row in rows):
            rows.append(Row(number.method, number.algorithm, number.venue, number.rule, number.source))
            rows[-1].takes(number)
    return rows


def _add(table: Table, label: str, facts: tuple[str, ...]) -> str:
    """A new row of the table; returns its key, for the same method has a row a source."""
    key = " | ".join([label, *facts])
    table.rows.append(key)
    table.labels[key], table.facts[key] = label, facts
    return key


def _entry(protocol: str, facts: tuple[str, ...], metric: str, rule: str, options: Options) -> Entry:
    venue, _, source = facts
    select = rule if options.select == AS_REPORTED else options.select
    name = metric.removesuffix("_la")
    own = metric_name(name, select, name != metric) if select in SELECTIONS else ""
    return Entry(metric=own, source=source, protocol=protocol, venue=venue, rule=rule)


def _likely(numbers: Iterable[Reported], runs: Sequence[Run]) -> list[Cell]:
    """The configurations of published numbers that some run may have, by the name of its method; composing is slow."""
    methods = [{*method_name(run.config).split("_")} for run in runs]
    cells = [(number.algorithm.split()[0].split("_"), cell) for number in numbers if (cell := _cell(number))]
    return [cell for words, cell in cells if any(method.issuperset(words) for method in methods)]


def _cell(number: Reported) -> Cell | None:
    """The configuration that gives a published number, if there is one."""
    imb, option = number.setting, number.algorithm.partition(" ")[0]
    known = number.recipe and number.dataset in TITLES and imb.n1
    if not known or not (CONF / "algorithm" / f"{option}.yaml").is_file():
        return None
    sizes = {"n1": imb.n1, "m1": imb.m1, "gamma_l": imb.gamma_l, "gamma_u": imb.gamma_u, "unlabeled_shape": imb.shape}
    overrides = _overrides(number.dataset, sizes, number.algorithm, number.recipe)
    return Cell(number.dataset, imb, option.partition("_")[0], overrides)


def _overrides(dataset: str, imb: Mapping[str, Any], algorithm: str, recipe: str) -> Overrides:
    option, *knobs = algorithm.split()
    sizes = [f"imb.{key}={value}" for key, value in imb.items() if value not in ([], LONG_TAILED)]
    recipes = [f"recipe={recipe}"] * (recipe != PAPER_RECIPE)
    return (f"dataset={dataset}", *sizes, f"algorithm={option}", *knobs, *recipes)


def _unpublished(
    runs: Iterable[Run], recipe: str, options: Options, configure: Configure
) -> tuple[dict[str, dict[Setting, tuple[list[Run], int]]], Counter[str]]:
    """Finished runs that no published number describes, where they are trained as the recipe says.

    Returns:
        Method -> setting -> runs, and the steps of the recipe; and how many of the others differ from it, and how.
    """
    rows: list[tuple[str, Run, int]] = []
    nameless: list[tuple[Run, int]] = []
    differing: Counter[str] = Counter()
    extra = tuple(override for override in options.overrides if not override.startswith("dataset.splits="))
    for run in runs:
        method, learner = method_name(run.config), run.config["algorithm"]["name"]
        named = (CONF / "algorithm" / f"{method}.yaml").is_file()
        config, preset = run.config, method if named else learner
        overrides = _overrides(config["dataset"]["name"], config["imb"], preset, recipe)
        try:
            usual = configure((*overrides, *extra))
        except UserError:
            differing["class sizes that the recipe leaves no room for"] += 1
            continue
        unlike = _unlike(decisive(run.settings), decisive(usual))
        texts = [text for key, text in unlike.items() if key.startswith(SETTINGS) and text not in options.overrides]
        if texts:
            differing[" ".join(texts)] += 1
        elif named:
            rows.append((", ".join([method, *unlike.values()]), run, usual.train.steps))
        else:
            nameless.append((run, usual.train.steps))
    goals = {run.key: steps for run, steps in nameless}
    by_row = group(run for run, _ in nameless).cells.items()
    rows += [(row, run, goals[run.key]) for (row, _), members in by_row for run in members]
    found: dict[str, dict[Setting, tuple[list[Run], int]]] = {}
    for row, run, steps in rows:
        found.setdefault(row, {}).setdefault(setting_of_run(run), ([], steps))[0].append(run)
    return found, differing


def _unlike(have: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, str]:
    """The knobs that decide a run's numbers and are not the usual ones, as on a command line."""
    keys = [key for key in {**have, **usual} if key not in FREE and have.get(key) != usual.get(key)]
    return {key: f"{key}={have.get(key)}" for key in keys}


def _order(setting: Setting) -> tuple[Any, ...]:
    """Small sets first; within sizes: matched, uniform, reversed, then the other shapes."""
    n1, m1, gamma_l, gamma_u, shape = setting
    ratios = [parse_gamma_u(g) if g not in ("", "natural", "unknown") else 0.0 for g in (gamma_l, gamma_u)]
    sizes = [int(size) if size.isdecimal() else 0 for size in (n1, m1)]
    return *sizes, ratios[0], SHAPES.index(shape) if shape in SHAPES else len(SHAPES), -float(ratios[1])


def _nothing(where: Where) -> str:
    """Why there is neither a number nor a run."""
    numbers = [number for number in reported() if number.dataset == where.dataset]
    if not numbers:
        return (
            f"dataset={where.dataset} is not possible: no run of it is finished, and numbers are published on "
            f"{listed(datasets())}."
        )
    for key in Where._fields[1:]:
        value = getattr(where, key)
        have = {str(n.protocol if key == "recipe" else getattr(n.setting, key)) for n in numbers} - {""}
        if value and value not in have:
            words: list[str] = sorted(sorted(have), key=len)
            known = f"{where.dataset} is published with {key} {listed(words)}"
            return f"{key}={value} is not possible: no run has it, and {known}."
    return f"{where} is not possible: no run of this setting is finished, and nobody has published a number of it."
