"""`python -m daso.report`: tables, figures and an HTML page from finished runs, beside the published numbers.

  python -m daso.report table=1 [format=markdown|latex|csv|html] [out=FILE] [runs=outputs,other] [keys=3fa2,91bc]
                        [select=reported|median20|mean20|last|best] [la=true] [metric=top1|bacc] [baseline=fixmatch]
                        [min_seeds=3] [usb=true] [mlflow=true]
                        [columns=own|published|both] [rows=fixmatch,fixmatch_daso] [names=paper] [bold=false]
                        [external=results.csv] [dataset=cifar10] [n1=500] [m1=4000] [gamma_l=100] [gamma_u=1/100]
  python -m daso.report table=mine ...            any runs: rows are methods, columns are imbalance settings
  python -m daso.report table=field dataset=cifar10 [shape=middle] [recipe=usb] ...
                                                  all that is published of a setting, each protocol apart
  python -m daso.report figure=3 [runs=...] [rows=...] [min_seeds=3] [own=true] [out=reports] [mlflow=true]
                        [dataset=cifar10] [n1=500] [m1=4000] [gamma_l=100] [gamma_u=1/100]
  python -m daso.report figure=3 out=figure3.pdf [format=pdf|svg|png] [width=column|text|INCHES] [names=paper]
  python -m daso.report html=report.html [runs=...] [keys=...] [rows=...] [columns=own] [names=paper] [bold=false]
                        [external=results.csv] [select=...] [la=true] [metric=bacc] [baseline=fixmatch] [min_seeds=3]
                        [usb=true] [mlflow=true] [dataset=cifar10] [n1=500] [m1=4000] [gamma_l=100] [gamma_u=1/100]

Where the runs to be counted differ from the paper's settings, say how, as on the command line of train.py:
  python -m daso.report table=1 train.steps=50000 train.precision=bf16
With table=mine or own=true a knob chooses runs:
  python -m daso.report table=mine optim.lr=0.1
"""

import sys
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from shutil import get_terminal_size
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from daso.errors import UserError
from daso.machine.streams import heard, outlive_readers
from daso.outputs.endings import either
from daso.outputs.files import why
from daso.published.cells import TABLES as NUMBERED
from daso.published.cells import Overrides, cells
from daso.published.field import datasets
from daso.report.arguments import DEFAULTS, PICTURES, TABLES, Request, inches, parse
from daso.report.chosen import of_keys, of_knobs, without_trials
from daso.report.collect import Run, collect, nothing_in
from daso.report.tables.external import read_external
from daso.report.tables.field import field_tables
from daso.report.tables.finish import with_rows
from daso.report.tables.mine import own_heads, own_table
from daso.report.tables.paper import paper_table
from daso.report.tables.table import PAPER_NAMES, PUBLISHED, UNCOUNTED, Options, Table, check_options
from daso.report.where import ANYWHERE, Heads, Where
from daso.schema import Config

if TYPE_CHECKING:
    from daso.report.figures.canvas import Form


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, or 2 for a mistake, which is one sentence on stderr."""
    outlive_readers()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if {"-h", "--help", "help"} & set(arguments):
        print(__doc__)
        return 0
    try:
        _act(parse(arguments))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _act(request: Request) -> None:
    values = request.values
    runs = _chosen(request)
    where = Where(*(values[key] for key in Where._fields))
    options = options_of(request, cache(partial(own_heads, runs, where)))
    check_options(options)
    why_none = "" if runs else nothing_in(values["runs"].split(",")).removesuffix("?")
    if why_none and (values["own"] or request.product == "html"):
        product = "html=" if request.product == "html" else f"figure={values['figure']}"
        raise UserError(f"{product} has nothing to show: {why_none}; train some, or name runs=.")
    if request.product == "figure":
        from daso.report.figures.figure import draw

        form = form_of(request)
        _upload(request, draw(values["figure"], runs, options, configure, form, own=values["own"], where=where))
        return
    if request.product == "html":
        from daso.report.page import page

        _upload(request, [write(Path(values["html"]), page(runs, options, configure, where))])
        return
    tables = make_tables(values["table"], runs, options, where)
    if not any(table.rows for table in tables):
        raise _empty(values, where, tables, why_none)
    if why_none and values["columns"] != PUBLISHED:
        print(f"No own number is shown: {why_none}; runs= names the folders of yours.", file=sys.stderr)
    formatted = FORMATTERS[values["format"]]
    if values["out"]:
        _upload(request, [write(Path(values["out"]), formatted(tables, None))])
        return
    width = get_terminal_size().columns if sys.stdout.isatty() else None
    print(formatted(tables, width), end="")
    if values["mlflow"]:
        with TemporaryDirectory() as folder_name:
            path = Path(folder_name) / f"table_{values['table']}{TABLES[values['format']]}"
            path.write_text(formatted(tables, None), encoding="utf-8")
            _upload(request, [path])


def _chosen(request: Request) -> list[Run]:
    """The runs that are asked for."""
    values, own = request.values, request.any_runs
    runs = collect(values["runs"].split(","), must_exist=values["runs"] != DEFAULTS["runs"])
    if values["keys"]:
        runs = of_keys(runs, values["keys"].split(","))
    elif own or request.product == "html":
        runs, note = without_trials(runs)
        if note:
            print(note, file=sys.stderr)
    return of_knobs(runs, request.overrides) if own else runs


def _empty(values: dict[str, Any], where: Where, tables: Sequence[Table], why_none: str) -> UserError:
    """What to say of a table without a number: which command would make some, and which runs it does not count.

    Args:
        values: of the report's own keys.
        where: the settings that are asked for.
        tables: without a number.
        why_none: why there is no run, if there is none.
    """
    name, dataset = values["table"], where.dataset
    nothing = f"table={name} has nothing to show"
    if name == "field" and dataset not in datasets():
        none = f"nothing is published on {dataset}, and no finished run is trained as a recipe says"
        return UserError(f"{nothing}: {none}; table=mine dataset={dataset} shows any runs.")
    if name == "mine" and why_none:
        return UserError(f"{nothing}: {why_none}; train some, or name runs=.")
    started = "finish some"
    if name in NUMBERED:
        named = dict.fromkeys(cell.dataset for cell in cells(name) if dataset in ("", cell.dataset))
        started = f"train some with python train.py -m {either([f'experiment=table{name}_{data}' for data in named])}"
    why_not = [note for table in tables for note in table.notes if note.startswith(UNCOUNTED)]
    none = f"no finished run under runs={values['runs']} is of it; {started}, or name runs=."
    return UserError(" ".join([f"{nothing}: {none}", *dict.fromkeys(why_not)]))


def options_of(request: Request, heads: Heads) -> Options:
    """How runs become numbers, and what of them is shown.

    Args:
        request: what is asked for.
        heads: of the columns of own runs.

    Raises:
        UserError: a row of `external=` is not possible.
    """
    values = request.values
    plain = {key: values[key] for key in Options._fields if key in values}
    own = request.product == "html" or values["table"] == "mine"  # others have the columns of what is published
    heads = heads if own else tuple
    external = read_external(Path(values["external"]), heads) if values["external"] else ()
    rows = tuple(name for name in values["rows"].split(";" if ";" in values["rows"] else ",") if name.strip())
    overrides = () if request.any_runs else request.overrides
    return Options(**plain | {"external": external, "rows": rows, "overrides": overrides})


def form_of(request: Request) -> "Form":
    """Which pictures a figure is, and where they go."""
    from daso.report.figures.canvas import Form, Paper

    values = request.values
    names, kind = values["names"] == PAPER_NAMES, values["format"]
    place = Path(values["out"] or "reports").expanduser()
    if not kind:
        return Form(folder=place, printed=names)
    is_file = place.suffix.lower() == PICTURES[kind]
    return Form(
        folder=place.parent if is_file else place,
        stem=place.stem if is_file else "",
        printed=names,
        paper=Paper(kind, inches(values["width"])),
    )


def _upload(request: Request, files: Sequence[Path]) -> None:
    """Log what was made to MLflow, if that is asked for."""
    if not request.values["mlflow"]:
        return
    from daso.report.log import log_files

    product = request.product
    print(log_files(files, "report" if product == "html" else f"{product} {request.values[product]}"))


def make_tables(name: str, runs: Sequence[Run], options: Options, where: Where = ANYWHERE) -> list[Table]:
    """A table of the paper, of own runs, or of the field, of the settings that are asked for.

    Raises:
        UserError: there is nothing of what was asked for.
    """
    if name == "field":
        tables = field_tables(where, runs, options, configure)
    elif name == "mine":
        tables = [own_table(runs, options, where)]
    else:
        tables = [paper_table(name, runs, options, configure, where)]
    return with_rows(tables, options.rows)


def make_table(name: str, runs: Sequence[Run], options: Options) -> Table:
    """The one table of the paper, or of own runs."""
    (table,) = make_tables(name, runs, options)
    return table


@cache
def configure(overrides: Overrides) -> Config:
    """The configuration of a command line of `train.py`; Hydra is imported when there is one."""
    from daso.settings.compose import configuration

    return configuration(overrides)


def write(path: Path, text: str) -> Path:
    """Write a report, say where, and return it.

    Raises:
        UserError: the place cannot be written.
    """
    path = path.expanduser()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {why(error)}.") from error
    print(f"wrote {path}")
    return path


def _markdown(tables: Sequence[Table], width: int | None) -> str:
    from daso.report.tables.render import markdown

    return "\n".join(markdown(table, width) for table in tables)


def _latex(tables: Sequence[Table], _: int | None) -> str:
    from daso.report.tables.render import latex

    return latex(*tables)


def _csv(tables: Sequence[Table], _: int | None) -> str:
    from daso.report.tables.render import as_csv

    return as_csv(*tables)


def _html(tables: Sequence[Table], _: int | None) -> str:
    from daso.report.page import table_page

    return table_page(*tables)


FORMATTERS: dict[str, Callable[[Sequence[Table], int | None], str]] = {
    "markdown": _markdown,  # the only one that minds the width of a terminal
    "latex": _latex,
    "csv": _csv,
    "html": _html,
}

if __name__ == "__main__":
    with heard():
        sys.exit(main())
