"""What a person sees of a run: its setting, one line of progress, a table at the end."""

import math
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import IO, Any

from rich.console import Console as Terminal
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column, Table
from rich.text import Text

from daso.credentials import mask
from daso.schema import NO_WINDOW, RULES, WINDOW, of_evaluations
from daso.track.terminal import print_table, terminal

REFRESH = 0.5  # seconds between two looks of the progress line
TOP = 5  # classes that top5 looks at
SHOWN_CLASSES = 20  # more classes than that are summed up
SPLITS = ("valid", "test")
LOSS = "train/loss_"
TABLE = (
    ("top1_median20", f"the paper's number: {RULES['median20']}"),
    ("top1_mean20", RULES["mean20"]),
    ("top1_best", "best of all evaluations"),
    ("top1", "last evaluation, as all below"),
    ("top5", ""),
    ("top1_la", "after subtracting the log prior"),
    ("top1_la_median20", f"the same, {RULES['median20']}"),
    ("bacc", "mean of the class recalls"),
    ("gm", "geometric mean of the class recalls"),
    ("many", "third of the classes with most labels"),
    ("medium", ""),
    ("few", "third with fewest labels"),
)


class Console:
    """Writes a run's story: a live line on a terminal, plain lines elsewhere, which nothing breaks; a log has them too.

    Where the stream says that it is `followed`, somebody else shows how far the run is: no evaluation is a line.

    Args:
        file: where to; standard output by default.
        width: columns; the terminal's by default.
        live: whether to draw a live line; found out by default.
    """

    def __init__(self, file: IO[str] | None = None, width: int | None = None, live: bool | None = None) -> None:
        self._out = terminal(file, width, live)
        self._followed = getattr(file or sys.stdout, "followed", False)
        self._log: Terminal | None = None
        self._bar: Progress | None = None
        self._start = self._step = self._total = 0
        self._began = self._drawn = 0.0
        self._latest: dict[str, float] = {}
        self._terms: set[str] = set()  # of the loss, so far
        self._warned: set[str] = set()

    @contextmanager
    def kept_in(self, file: IO[str]) -> Iterator[None]:
        """Write to `file` as well while the block runs, evaluations in any case."""
        self._log = terminal(file, live=False)
        try:
            yield
        finally:
            self._log = None

    def remember(self, text: str) -> None:
        """A line for the log alone."""
        if self._log is not None:
            self._log.print(Text(mask(text)), soft_wrap=True)

    def note(self, text: str) -> None:
        """A plain sentence."""
        self._print(Text(mask(text)))

    def warn(self, text: str, aside: bool = False) -> None:
        """A sentence that should not be missed; `aside`: for the log alone, as somebody else has said it."""
        self._warned.add(_timeless(text))
        if aside:
            self.remember(f"Warning: {text}")
            return
        self._print(Text.assemble(("Warning: ", "bold yellow"), mask(text)))

    def header(self, facts: Mapping[str, Any]) -> None:
        """The setting of a run.

        Args:
            facts: name, run_key, labeled (counts per class), unlabeled (counts per class, or one number),
                unlabeled_known (how many of these are known to be of a class), held_out ({split: images}), parameters,
                steps, start (the step a resumed run goes on from); whatever else there is comes in one line.
        """
        rest = dict(facts)
        take = rest.pop
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        self._print(Text(mask(str(take("name"))), style="bold"))
        grid.add_row("run", str(take("run_key")))
        grid.add_row("labeled", sizes(take("labeled")))
        grid.add_row("unlabeled", sizes(take("unlabeled"), take("unlabeled_known")))
        grid.add_row("held out", ", ".join(f"{split} {count:,}" for split, count in take("held_out").items()))
        grid.add_row("network", f"{take('parameters'):,} parameters")
        steps, start = take("steps"), take("start")
        grid.add_row("steps", f"{steps:,}" + (f", going on from {start:,}" if start else ""))
        grid.add_row("on", ", ".join(f"{name} {value}" for name, value in rest.items()))
        self._print(grid)

    @contextmanager
    def progress(self, start: int, total: int) -> Iterator[None]:
        """Show progress from step `start` to step `total` while the block runs."""
        self._start = self._step = start
        self._total, self._latest = total, {}
        self._began = self._drawn = time.monotonic()
        if not self._out.is_terminal:
            yield
            return
        line = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis"))
        with Progress(BarColumn(bar_width=None), line, console=self._out, auto_refresh=False, expand=True) as self._bar:
            self._bar.add_task(self._line(), total=total, completed=start)
            try:
                yield
            finally:
                self._draw()
                self._bar = None

    def advance(self, step: int) -> None:
        """A step is done; cheap enough to be called after each."""
        self._step = step
        if self._bar is not None and time.monotonic() - self._drawn >= REFRESH:
            self._draw()

    def row(self, event: str, step: int, values: Mapping[str, float]) -> None:
        """New measurements; an evaluation is a line of its own where there is no terminal."""
        self._step = step
        self._latest |= values
        terms = {name.removeprefix(LOSS) for name in values if name.startswith(LOSS)} - {"total"}
        if self._terms and (new := sorted(terms - self._terms)):
            say = self.remember if self._followed else self.note
            say(f"By step {step} {' and '.join(new)} has joined the loss, which is larger for it.")
        self._terms |= terms
        if self._bar is not None:
            self._draw()
        if event == "eval":
            line = Text(self._line())
            for out in (None if self._bar or self._followed else self._out, self._log):
                if out is not None:
                    out.print(line, soft_wrap=True)

    def summary(self, summary: Mapping[str, Any], names: Sequence[str] = (), evaluations: int = WINDOW) -> None:
        """The table of a run's final numbers, and its warnings as far as they were not told before; metrics that it has
        not are left out.

        Args:
            summary: the numbers by name.
            names: what people call the classes, if they have names.
            evaluations: how many they are made of.
        """
        splits = [split for split in SPLITS if f"{split}/top1" in summary]
        table = Table("metric (%)", *splits, "", box=None, header_style="bold", pad_edge=False)
        paper_number, _ = TABLE[0]
        classes = max((len(_per_class(summary, f"{split}/class/")) for split in splits), default=0)
        rows, reported = dict(TABLE), summary.get("reports", paper_number)
        if reported != paper_number:
            rule = RULES[reported.rpartition("_")[2]]
            own = {reported: f"what recipe {summary['recipe']} reports: {rule}"}
            rows = own | rows | own  # in front of the others
        said = False
        for name, meaning in rows.items():
            values = [summary.get(f"{split}/{name}") for split in splits]
            if name == "top5" and classes <= TOP:  # which are all of them
                continue
            if any(value is not None for value in values):
                style = "bold" if name == reported else ""
                told = of_evaluations(meaning, evaluations)
                what = told.replace(NO_WINDOW, "") if said else told  # once is enough
                said = said or NO_WINDOW in told
                table.add_row(name, *map(_number, values), Text(what, style="dim"), style=style)
        self._print(table)
        if len(splits) > 1:
            self.note("runs are compared and chosen by valid; test only tells")
        for split in splits:
            self.note(_recall_line(split, _per_class(summary, f"{split}/class/"), names))
        labels = [f"{name} {_number(summary.get(f'pl/final/{name}'))}" for name in ("recall", "precision", "coverage")]
        if any(f"pl/final/{name}" in summary for name in ("recall", "coverage")):
            self.note(f"pseudo-labels of the last period (fractions): {', '.join(labels)}")
        if "openset/auroc" in summary:
            entropies = " and ".join(_number(summary[f"openset/entropy/{kind}"]) for kind in ("in", "out"))
            told = f"AUROC {_number(summary['openset/auroc'])}"
            self.note(f"mean entropy of unlabeled images of the classes and of none: {entropies} nats, {told}")
        for sentence in summary.get("warnings", ()):
            if _timeless(sentence) not in self._warned:
                self.warn(sentence)
        self.note(f"run {summary['run_key']}: {summary['steps']:,} steps in {duration(summary['seconds'])}")

    def _print(self, what: Text | Table) -> None:
        for out in filter(None, (self._out, self._log)):
            if isinstance(what, Table):
                print_table(what, out)
            else:
                out.print(what, soft_wrap=True)

    def _draw(self) -> None:
        assert self._bar is not None
        self._drawn = time.monotonic()
        task = self._bar.task_ids[0]
        self._bar.update(task, completed=self._step, description=self._line(), refresh=True)

    def _line(self) -> str:
        seconds = time.monotonic() - self._began
        mean = (self._step - self._start) / seconds if seconds > 0 else 0.0
        rate = self._latest.get("time/steps_per_second", mean)
        left = duration((self._total - self._step) / mean) if mean > 0 else "?"
        parts = [f"step {self._step}/{self._total}", f"{left} left", f"{rate:.3g}/s"]
        if "time/wait_share" in self._latest:
            parts.append(f"data {100 * self._latest['time/wait_share']:.0f} %")
        losses = [name for name in ("train/loss_total", "train/loss_cls") if name in self._latest]
        if losses:
            parts.append(f"loss {self._latest[losses[0]]:.3f}")
        for split in SPLITS:
            if f"{split}/top1" in self._latest:
                parts.append(
                    f"{split} top1 {self._latest[f'{split}/top1']:.1f} bacc {self._latest[f'{split}/bacc']:.1f}"
                )
        return "  ".join(parts)


def sizes(counts: Sequence[int] | int, known: int = 0) -> str:
    """How many images, and how they spread over the classes; of one number, how many are `known` to be of a class."""
    if isinstance(counts, int):
        return f"{counts:,}, {f'{known:,} of known class' if known else 'of unknown class'}" if counts else "none"
    total = f"{sum(counts):,}"
    if len(counts) <= SHOWN_CLASSES:
        return f"{total} = {' + '.join(map(str, counts))}"
    return f"{total} in {len(counts)} classes, from {counts[0]:,} (class 0) to {counts[-1]:,} (class {len(counts) - 1})"


def counted(number: int, noun: str) -> str:
    """A number of things: `1 run`, `2 runs`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def duration(seconds: float) -> str:
    """A time span as people write it: 42s, 3m05s, 2h07m, 3d04h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"


def _timeless(warning: str) -> str:
    """A warning without the step that it is of."""
    return re.sub(r"^Step \d+: ", "", warning)


def _per_class(summary: Mapping[str, Any], prefix: str) -> list[float]:
    values: list[float] = []
    while (name := f"{prefix}{len(values)}") in summary:
        values.append(math.nan if summary[name] is None else summary[name])
    return values


def _recall_line(split: str, recall: list[float], names: Sequence[str]) -> str:
    """Class recalls from class 0 on, one by one or as means of ten groups of neighbours."""
    if len(names) == len(recall) <= SHOWN_CLASSES:
        named = (f"{name} {'-' if math.isnan(value) else f'{value:.0f}'}" for name, value in zip(names, recall))
        return f"{split} recall of each class: {', '.join(named)}"
    values, of = recall, "each class"
    if len(recall) > SHOWN_CLASSES:
        edges = [round(k * len(recall) / 10) for k in range(11)]
        values, of = [sum(recall[a:b]) / (b - a) for a, b in pairwise(edges)], "ten groups of classes"
    text = " ".join("-" if math.isnan(value) else f"{value:.0f}" for value in values)
    return f"{split} recall of {of}, from class 0: {text}"


def _number(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.2f}"
