"""Tables, curves and per-class pictures of a sweep in one HTML file that needs no network."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from daso.errors import UserError
from daso.outputs.naming import PAPER_RECIPE, run_name
from daso.published.cells import TABLES
from daso.report.collect import Run, known, passed_over
from daso.report.figures import draw as pictures
from daso.report.figures.canvas import Series
from daso.report.figures.classes import groups as head_to_tail
from daso.report.figures.figure import class_names
from daso.report.figures.own import own_series
from daso.report.figures.sheet import Drawing, Sheet
from daso.report.match import Configure
from daso.report.names import paper_name, paper_setting
from daso.report.stats import counted, spoken
from daso.report.tables import render
from daso.report.tables.mine import own_table
from daso.report.tables.paper import has_settings, paper_table
from daso.report.tables.table import PAPER_NAMES, Options, Table, own_metric, with_baseline
from daso.report.where import ANYWHERE, Where
from daso.settings.apart import differing
from daso.track.console import duration

MOST_BARS = 20  # classes that a bar each can be told apart of


def page(runs: Sequence[Run], options: Options, configure: Configure, where: Where = ANYWHERE) -> str:
    """The whole report: the table of own runs, every table of the paper that has some, and their pictures.

    Args:
        where: the settings to show.

    Raises:
        UserError: no run is finished, or of these settings, or no table has the baseline.
    """
    asked = where.among(known(runs))
    done = [run for run in asked if run.done]
    if not done:
        told = f" of {where}" * (where != ANYWHERE)
        raise UserError(f"html= has nothing to show: no run{told} is finished; finish some, or name runs=.")
    others = [run for run in runs if run.foreign]
    told = spoken(own_metric(options), [run.settings.train.evaluations for run in done])
    settings = own_series(runs, options, where)
    if len(settings) > 1:
        print(f"Drawing {len(settings)} settings.", file=sys.stderr, flush=True)
    return _fill(
        title="Report of runs",
        facts=[
            *[f"Of {where} alone."] * (where != ANYWHERE),
            f"{len(done)} of {counted(len(asked) + len(others), 'run')} finished; own numbers: {told}.",
            f"In pictures, {pictures.BALANCED}.",
            *passed_over(others),
        ],
        tables=_tables(runs, [*asked, *others], options, configure, where),
        sections=[
            (f"{dataset}: {_named(paper_setting, setting, options)}", _drawings(series, options))
            for (dataset, setting), series in settings.items()
        ],
        runs=_lines([*asked, *others]),
    )


def _tables(
    runs: Sequence[Run], asked: Sequence[Run], options: Options, configure: Configure, where: Where
) -> list[Table]:
    """The tables with own numbers, each compared with the baseline if it has it; `asked` are the runs of `where`."""
    numbered = [name for name in TABLES if has_settings(name, where)] if where.recipe in ("", PAPER_RECIPE) else []
    papers = where._replace(recipe="")
    makers = [
        partial(own_table, runs, where=where),
        *(partial(paper_table, name, asked, configure=configure, where=papers) for name in numbered),
    ]
    return [table for table in with_baseline(makers, options) if table.own]


def table_page(*tables: Table) -> str:
    """Tables as an HTML page, called like the first."""
    return _fill(title=tables[0].title, facts=[], tables=tables, sections=[], runs=[])


def _fill(**content: Any) -> str:
    environment = Environment(
        loader=PackageLoader("daso.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    helpers: tuple[Callable[..., str], ...] = (
        *(render.own_text, render.number_text, render.difference_text, render.count_text),
        *(render.external_text, render.external_place),
    )
    environment.globals.update({helper.__name__: helper for helper in helpers})
    return environment.get_template("report.html.j2").render(content)


def _named(printed: Callable[[str], str], name: str, options: Options) -> str:
    """A method or a setting, as papers print it where that is asked for."""
    return printed(name) if options.names == PAPER_NAMES else name


def _drawings(series: Sequence[Series], options: Options) -> list[Drawing]:
    series = [one._replace(label=_named(paper_name, one.label, options)) for one in series]
    classes, called = int(series[0].runs[0].config["dataset"]["num_classes"]), class_names(series)
    each, thirds = [[k] for k in range(classes)], head_to_tail(classes)

    def curves(sheet: Sheet) -> object:
        return pictures.curves(series, classes, "Over training", ("overall", "minority"), sheet)

    def every_class(sheet: Sheet) -> object:
        if classes > MOST_BARS:
            return pictures.scatter(series, classes, "Each class at the end", sheet, called)
        return pictures.bars(series, each, "Each class at the end", sheet, called)

    def groups(sheet: Sheet) -> object:
        return pictures.bars(series, thirds, "Head, middle and tail classes at the end", sheet, called)

    apart = [groups] * any(len(third) > 1 for third in thirds)  # of three classes or two they are the classes
    return [Sheet().drawing(draw) for draw in (curves, every_class, *apart)]


def _lines(runs: Sequence[Run]) -> list[list[str]]:
    """A line a run, by name; with the knobs that tell those of one name apart."""
    apart = differing([None if run.foreign else run.config for run in runs])
    return sorted((_line(run, words) for run, words in zip(runs, apart)), key=lambda line: (line[2], line[0]))


def _line(run: Run, apart: Sequence[str]) -> list[str]:
    if run.foreign:
        return [run.key, run.folder.state().value, f"not known here: {run.foreign}", *[""] * 4]
    seconds = run.summary.get("seconds")
    return [
        run.key,
        run.folder.state().value,
        " ".join([run_name(run.config), *apart]),
        f"{run.reached} of {run.steps}",
        "" if seconds is None else duration(seconds),
        str(run.summary.get("device", "")),
        str(run.summary.get("code", "")),
    ]
