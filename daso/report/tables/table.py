"""What a table is made of, before it is written in any format."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

from daso.errors import UserError
from daso.published.field import RULES
from daso.report.names import paper_name, paper_setting
from daso.report.stats import (
    ACCURACIES,
    FEW_SEEDS,
    FEW_STEPS,
    MORE_STEPS,
    SELECTIONS,
    Sample,
    listed,
    metric_name,
    paired_p,
    ranks,
    short_of,
    shortcomings,
    spoken,
    wanting,
)
from daso.schema import WINDOW

if TYPE_CHECKING:
    from daso.report.tables.external import External

SIGNIFICANT = 0.05
SINGLE = 4  # up to so many columns of several data sets stand in one piece
TROUBLED, DIFFERS, EXTERNAL = "!", "*", "¶"
UNCOUNTED = ("Not counted", "Unfinished", "Passed over")  # so begin notes on runs that a table does not show
ASIDES = (*UNCOUNTED, "Left out", "Not shown")  # and on what no reader of a paper asks for
COLUMNS = OWN, PUBLISHED, BOTH = "own", "published", "both"
USB, DIFFERENCE = "USB", "difference"
NAMES = ("plain", "paper")
PAPER_NAMES = NAMES[1]
AS_REPORTED, PAPER_RULE = "reported", "median20"


class Options(NamedTuple):
    """How runs become numbers."""

    select: str = AS_REPORTED  # a key of `SELECTIONS`, or as the published number beside it was made
    la: bool = False
    metric: str = "top1"
    baseline: str = ""
    min_seeds: int = 3
    usb: bool = False
    columns: str = BOTH  # one of `COLUMNS`
    names: str = NAMES[0]  # `paper`: as papers print them
    bold: bool = True  # whether the best of a column are marked
    rows: tuple[str, ...] = ()  # which, in their order; all by default
    external: "tuple[External, ...]" = ()  # results of other code
    overrides: tuple[str, ...] = ()  # of train.py: where the runs to be counted differ from the paper's settings


class Column(NamedTuple):
    """One setting; `group` is its data set."""

    group: str
    label: str

    @property
    def head(self) -> str:
        """Both, as tables print them."""
        return f"{self.group} {self.label}"


class Number(NamedTuple):
    """A published mean and, where one is printed, its deviation."""

    mean: float
    std: float | None
    printed: str = ""  # as the source prints it, where that is not to be rounded


@dataclass
class Entry:
    """One cell: own sample and published number."""

    metric: str = ""
    configuration: str = ""
    published: Number | None = None
    usb: Number | None = None
    external: Number | None = None  # of other code, read from a file of the user's
    external_n: int | None = None  # its seeds
    source: str = ""
    protocol: str = ""  # how it was made, where a table has several sources
    venue: str = ""
    rule: str = PAPER_RULE
    footnotes: list[int] = field(default_factory=list)
    comparable: bool = True  # whether own and published number mean the same
    sample: Sample | None = None
    rank: int = 0
    p: float | None = None  # against the baseline
    pairs: int = 0  # common seeds behind p

    @property
    def difference(self) -> float | None:
        """Own minus published mean, in points."""
        if self.sample is None or self.published is None or not self.comparable:
            return None
        return self.sample.mean - self.published.mean

    @property
    def told(self) -> bool:
        """Whether any number stands in it."""
        return any(number is not None for number in (self.sample, self.published, self.usb, self.external))

    @property
    def short(self) -> str:
        """`median of 4` where the own number's rule is about more evaluations than its runs have; else nothing."""
        return short_of(self.metric, self.sample.evaluations) if self.sample else ""

    def marks(self, min_seeds: int) -> str:
        """What a reader must know about the own number, one sign each."""
        if self.sample is None:
            return ""
        short = shortcomings(self.sample.n, self.sample.steps, self.sample.goal, min_seeds)
        signs = {
            TROUBLED: bool(self.sample.troubles),
            DIFFERS: self.p is not None and self.p < SIGNIFICANT and self.pairs >= min_seeds,
        }
        return short + "".join(sign for sign, applies in signs.items() if applies)

    def complete(self, min_seeds: int) -> bool:
        """Whether the own number has the seeds and steps to be compared with others."""
        return self.sample is not None and not set(self.marks(min_seeds)) & {FEW_SEEDS, FEW_STEPS, MORE_STEPS}


@dataclass
class Table:
    """Rows are methods, columns are settings."""

    title: str
    rows: list[str]
    columns: list[Column]
    entries: dict[tuple[str, Column], Entry]
    options: Options
    decimals: int = 1
    labels: dict[str, str] = field(default_factory=dict)  # row -> what to print, where a method has several rows
    fact_names: tuple[str, ...] = ()  # heads of the columns that stand behind the method
    facts: dict[str, tuple[str, ...]] = field(default_factory=dict)  # row -> what stands in them
    rule: str = "medians of the last 20 evaluations"  # what the published numbers are
    footnotes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    all_rows: list[str] = field(default_factory=list)  # what `rows=` may say
    unknown_rows: set[str] = field(default_factory=set)  # what it says and this table has not

    def shown(self, columns: Iterable[Column]) -> tuple[str, ...]:
        """The numbers that stand beside each other in a cell of some columns: own, published, USB, difference."""
        among = set(columns)
        usb = (USB,) * self.options.usb
        if self.options.columns == PUBLISHED:
            return (PUBLISHED, *usb)
        if any(entry.published for (_, column), entry in self.entries.items() if column in among):
            return (OWN, PUBLISHED, *usb, DIFFERENCE)
        return (OWN,)

    @property
    def groups(self) -> dict[str, list[Column]]:
        """The columns of each data set."""
        found: dict[str, list[Column]] = {}
        for column in self.columns:
            found.setdefault(column.group, []).append(column)
        return found

    @property
    def pieces(self) -> list[tuple[str, list[Column]]]:
        """Heading and columns: the table in one piece, or one piece a data set where it would be too wide."""
        groups = self.groups
        if len(groups) == 1 or len(self.columns) > SINGLE:
            return list(groups.items())
        return [("", self.columns)]

    def rows_of(self, columns: Iterable[Column]) -> list[str]:
        """The rows of a piece: without those that have no number in any of its columns and some in another one's."""
        entries = [
            (row, entry) for column in columns for row in self.rows if (entry := self.entries.get((row, column)))
        ]
        told = {row for row, entry in entries if entry.told}
        elsewhere = {row for (row, _), entry in self.entries.items() if entry.told}
        return [row for row in self.rows if row in told or row not in elsewhere]

    def label(self, row: str) -> str:
        """What a row is called."""
        label = self.labels.get(row, row)
        printed = self.options.names == PAPER_NAMES and not label.endswith(EXTERNAL)
        return paper_name(label) if printed else label

    def head(self, column: Column, group: bool = False) -> str:
        """What a column is called; with its data set if `group`."""
        text = column.head if group else column.label
        return paper_setting(text) if self.options.names == PAPER_NAMES else text

    def number_footnotes(self, texts: Mapping[tuple[str, Column], Iterable[str]]) -> None:
        """Give the cells their footnotes, numbered as one reads.

        Args:
            texts: (row, column) -> footnotes of the cell.
        """
        for _, columns in self.pieces:
            for place in ((row, column) for row in self.rows for column in columns):
                for text in texts.get(place, ()):
                    if text not in self.footnotes:
                        self.footnotes.append(text)
                    self.entries[place].footnotes.append(self.footnotes.index(text) + 1)

    def place(self, row: str, column: Column, entry: Entry) -> None:
        """Put an entry into its cell."""
        self.entries[row, column] = entry

    @property
    def has_published(self) -> bool:
        """Whether published numbers stand in it."""
        return any(entry.published for entry in self.entries.values())

    @property
    def own(self) -> int:
        """How many cells have own runs."""
        return sum(entry.sample is not None for entry in self.entries.values())

    @property
    def _one_metric(self) -> bool:
        """Whether a note can say of all numbers what they are."""
        return not self.has_published and len({e.metric for e in self.entries.values() if e.sample}) == 1

    @property
    def names_evaluations(self) -> bool:
        """Whether a cell says itself that it is of fewer evaluations than its rule asks for, as a note does not."""
        return not self._one_metric or len({entry.short for entry in self.entries.values() if entry.sample}) > 1

    def judge(self, baseline: str | None) -> None:
        """Rank the complete cells of each column, compare with the baseline row, warn of what must be said of seeds,
        and say what the signs mean.
        """
        for (row, column), entry in self.entries.items():
            where = f"{self.label(row)} on {self.head(column, group=True)}"
            self.warnings += [f"{where}: {text}." for text in (entry.sample.remarks if entry.sample else ())]
        for column in self.columns:
            ours = {row: e for row in self.rows if (e := self.entries.get((row, column))) and e.sample is not None}
            whole = {row: e.sample.mean for row, e in ours.items() if e.sample and e.complete(self.options.min_seeds)}
            for row, rank in ranks(whole, self.decimals).items():
                ours[row].rank = rank if len(whole) > 1 and self.options.bold else 0
            base = ours.get(baseline) if baseline else None
            for row, entry in ours.items():
                if base is not None and base.sample and entry.sample and row != baseline:
                    alike = entry.sample.steps == base.sample.steps
                    entry.p = paired_p(entry.sample.values, base.sample.values) if alike else None
                    entry.pairs = len(entry.sample.values.keys() & base.sample.values.keys())
        self._explain(baseline)

    def _explain(self, baseline: str | None) -> None:
        options = self.options
        signs = {sign for entry in self.entries.values() for sign in entry.marks(options.min_seeds)}
        places = [(row, column) for _, columns in self.pieces for column in columns for row in self.rows_of(columns)]
        shown = [entry for place in places if (entry := self.entries.get(place))]
        ours = [entry for entry in shown if entry.external is None]
        missing = sum(entry.sample is None for entry in ours)
        if missing and options.columns != PUBLISHED:
            self.notes.append(f"{missing} of {len(ours)} cells have no finished run (—).")
        if self.own:
            best = "; best of a column bold, second underlined, equal at the printed precision ranks equal"
            metrics = {entry.metric for entry in ours if entry.sample}
            counts = [entry.sample.evaluations for entry in ours if entry.sample]
            what = "".join(f"{spoken(metric, counts)}; " for metric in metrics if self._one_metric)
            self.notes.append(
                f"Own numbers: {what}mean ± sample standard deviation (n - 1) over seeds, number of seeds in brackets"
                f"{best * options.bold}."
            )
        if len(ours) < len(shown):
            self.notes.append(
                f"{EXTERNAL} external results: neither trained nor ranked here; each footnote has source and protocol."
            )
        self.notes += [f"{sentence}: not ranked." for sentence in wanting(signs, options.min_seeds)]
        if self.names_evaluations and (short := sorted({entry.short for entry in ours} - {""})):
            self.notes.append(f"In brackets, {listed(short)}: of all evaluations of a run, there are no {WINDOW}.")
        if TROUBLED in signs:
            self.notes.append(f"{TROUBLED} holds a seed that has collapsed or fallen far behind: see the warnings.")
        if baseline:
            self.notes.append(
                f"{DIFFERS} differs from {self.label(baseline)} at p < {SIGNIFICANT} "
                f"(two-sided paired t-test over common seeds, at least {max(options.min_seeds, 2)} of them; "
                "not corrected for the number of comparisons)."
            )
        if options.columns == PUBLISHED:
            return
        if options.select == "best":
            self.notes.append("TEST-SELECTED: the best evaluation was chosen on the test set; not a fair estimate.")
        elif options.select not in (AS_REPORTED, PAPER_RULE) and self.has_published:
            self.notes.append(f"Own numbers: {RULES[options.select]}; published ones: {self.rule}.")
        if options.metric != "top1" and self.has_published:
            self.notes.append(f"Own numbers: {ACCURACIES[options.metric]}; published ones: test accuracy.")


def own_metric(options: Options, after_la: bool = False) -> str:
    """The key of summary.json that the options ask for."""
    select = PAPER_RULE if options.select == AS_REPORTED else options.select
    return metric_name(options.metric, select, after_la or options.la)


def with_baseline(makers: Sequence[Callable[..., Table]], options: Options) -> list[Table]:
    """Tables, each compared with the baseline if it has it.

    Args:
        makers: take `options`.
        options: with the baseline.

    Raises:
        UserError: none has it.
    """
    tables, refusals = [], []
    for make in makers:
        try:
            tables.append(make(options=options))
        except UserError as refusal:
            refusals.append(refusal)
            tables.append(make(options=options._replace(baseline="")))
    if len(refusals) == len(makers):
        raise refusals[0]
    return tables


def baseline_row(wanted: str, names: Mapping[str, Sequence[str]]) -> str | None:
    """The row that `baseline=` means.

    Args:
        wanted: what was typed; empty for none.
        names: row label -> other names of it.

    Raises:
        UserError: no row is called so.
    """
    if not wanted:
        return None
    for row, others in names.items():
        if wanted.lower() in (row.lower(), *(name.lower() for name in others)):
            return row
    raise no_row("baseline", wanted, (others[0] if others else row for row, others in names.items()))


def no_row(key: str, name: str, known: Iterable[str], several: str = "") -> UserError:
    """What to say of the name of a row that none of the known ones has.

    Args:
        key: what was typed, `rows` or `baseline`.
        name: the name.
        known: the rows.
        several: what to say of names that hold commas.
    """
    labels = list(dict.fromkeys(known))
    close = get_close_matches(name, labels, 1)
    nearest = f"nearest is {close[0]}; " if close else ""
    there = f"{'; '.join(labels)}{several}" if any("," in label for label in labels) else listed(labels)
    return UserError(f"{key}={name} is not possible: {nearest}there are {there}.")


def check_options(options: Options) -> None:
    """Refuse values without meaning.

    Raises:
        UserError: one is not possible.
    """
    known = (*SELECTIONS, AS_REPORTED)
    if options.select not in known:
        raise UserError(f"select={options.select} is not possible: one of {', '.join(known)}.")
    if options.metric not in ("top1", "bacc"):
        raise UserError(f"metric={options.metric} is not possible: one of top1, bacc.")
    if options.min_seeds < 1:
        raise UserError(f"min_seeds={options.min_seeds} is not possible: 1 or more.")
