"""Tables, curves and per-class pictures of a sweep in one HTML file that needs no network."""

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from daso.errors import UserError
from daso.report import draw as pictures
from daso.report import render
from daso.report.cells import TABLES
from daso.report.collect import Run
from daso.report.draw import Series
from daso.report.figures import own_series
from daso.report.match import Configure
from daso.report.mine import own_table
from daso.report.paper import paper_table
from daso.report.table import Options, Table
from daso.rundir import run_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Picture(NamedTuple):
    """An image inside the page."""

    alt: str
    data: str  # a data: address


def page(runs: Sequence[Run], options: Options, configure: Configure) -> str:
    """The whole report: the table of own runs, every table of the paper that has some, and their pictures.

    Raises:
        UserError: no run is finished.
    """
    done = [run for run in runs if run.done]
    if not done:
        raise UserError("html= has nothing to show: no run is finished; finish some, or name runs=.")
    tables = [own_table(runs, options._replace(baseline=""))]
    filled = (paper_table(name, runs, options._replace(baseline=""), configure) for name in TABLES)
    tables += [table for table in filled if table.own]
    return _fill(
        title="Report of a sweep",
        facts=[f"{len(done)} of {len(runs)} runs finished; own numbers are {options.select} of test {options.metric}."],
        tables=tables,
        sections=[
            (f"{dataset}: {setting}", _pictures(series)) for (dataset, setting), series in own_series(runs).items()
        ],
        runs=[_line(run) for run in runs],
    )


def table_page(table: Table) -> str:
    """One table as an HTML page."""
    return _fill(title=table.title, facts=[], tables=[table], sections=[], runs=[])


def _fill(**content: Any) -> str:
    environment = Environment(
        loader=PackageLoader("daso.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    helpers = (render.own_text, render.number_text, render.difference_text, render.count_text)
    environment.globals.update({helper.__name__: helper for helper in helpers})
    return environment.get_template("report.html.j2").render(content)


def _pictures(series: Sequence[Series]) -> list[Picture]:
    classes = int(series[0].runs[0].config["dataset"]["num_classes"])
    curves = pictures.curves(series, classes, "Over training", ("overall", "minority"))
    final = pictures.scatter(series, classes, "Each class at the end")
    bars = pictures.bars(series, classes, "Head, middle and tail classes at the end")
    names = ("curves of pseudo-label recall and test accuracy", "recall, precision and accuracy of each class", "bars")
    return [_picture(figure, alt) for figure, alt in zip((curves, final, bars), names)]


def _picture(figure: "Figure", alt: str) -> Picture:
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    return Picture(alt, "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode())


def _line(run: Run) -> list[str]:
    seconds = run.summary.get("seconds")
    return [
        run.key,
        run.folder.state().value,
        run_name(run.config),
        str(run.steps),
        "" if seconds is None else f"{seconds / 3600:.2f}",
        str(run.summary.get("device", "")),
        str(run.summary.get("code", "")),
    ]
