"""`python -m daso.report`: tables, figures and an HTML page from finished runs, beside the published numbers.

  python -m daso.report table=1 [format=markdown|latex|csv|html] [runs=outputs,other]
                        [select=reported|median20|mean20|last|best] [la=true] [metric=top1|bacc] [baseline=fixmatch]
                        [min_seeds=3] [usb=true] [out=FILE] [mlflow=true]
  python -m daso.report table=mine ...            any runs: rows are methods, columns are imbalance settings
  python -m daso.report table=field dataset=cifar10 [n1=500] [m1=4000] [gamma_l=100] [gamma_u=1/100] [shape=middle]
                        [recipe=usb] ...          all that is published of a setting, each protocol apart
  python -m daso.report figure=3 [runs=...] [min_seeds=3] [own=true] [out=reports] [mlflow=true]
  python -m daso.report html=report.html [runs=...] [mlflow=true]

Where the runs to be counted differ from the paper's settings, say how, as on the command line of train.py:
  python -m daso.report table=1 train.steps=50000 train.precision=bf16
"""

import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from shutil import get_terminal_size
from tempfile import TemporaryDirectory
from typing import Any

from daso.errors import UserError
from daso.machine.streams import outlive_readers
from daso.published.cells import Overrides
from daso.report.collect import Run, collect
from daso.report.field import Where, field_tables
from daso.report.table import AS_REPORTED, Options, Table, check_options
from daso.schema import Config
from daso.settings.options import CONF

DEFAULTS: dict[str, Any] = {
    "table": "",
    "figure": "",
    "html": "",
    "runs": "outputs",
    "format": "markdown",
    "out": "",
    "select": AS_REPORTED,
    "la": False,
    "metric": "top1",
    "baseline": "",
    "min_seeds": 3,
    "usb": False,
    "own": False,
    "mlflow": False,
}
FIELD: dict[str, Any] = dict.fromkeys(Where._fields, "")  # keys of table=field alone
SUFFIXES = {"markdown": ".md", "latex": ".tex", "csv": ".csv", "html": ".html"}
NUMBERS = {"runs", "select", "la", "metric", "baseline", "min_seeds", "usb"}
PRODUCTS = ("table", "figure", "html")
USES = {
    "table=": NUMBERS | {"format", "out", "mlflow"},
    "table=field": {"runs", "select", "baseline", "min_seeds", "format", "out", "mlflow", *FIELD},
    "figure=": {"runs", "min_seeds", "own", "out", "mlflow"},
    "html=": NUMBERS | {"mlflow"},
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, or 2 for a mistake, which is one sentence on stderr."""
    outlive_readers()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if {"-h", "--help", "help"} & set(arguments):
        print(__doc__)
        return 0
    try:
        values, overrides = parse(arguments)
        _act(values, overrides)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def parse(arguments: Sequence[str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Values of the report's own keys, and overrides of `train.py`.

    Raises:
        UserError: a key that nobody has or that is without effect here, or a value of the wrong kind.
    """
    defaults = DEFAULTS | (FIELD if "table=field" in arguments else {})
    values, overrides = dict(defaults), []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals:
            raise UserError(f"{argument} is not possible: an argument has the form key=value, such as table=1.")
        if key in defaults:
            values[key] = _typed(key, value, type(defaults[key]))
        elif "." in key or (CONF / key).is_dir():
            overrides.append(argument)
        else:
            near = get_close_matches(key, defaults, 1)
            hint = f"did you mean {near[0]}" if near else f"the keys are {', '.join(defaults)}"
            raise UserError(f"{argument} is not possible: there is no {key}; {hint}.")
    products = [key for key in PRODUCTS if values[key]]
    if len(products) != 1:
        raise UserError("Say one of table=1, table=mine, table=field, figure=3 or html=report.html.")
    product = "table=field" if values["table"] == "field" else f"{products[0]}="
    for key, default in defaults.items():
        if values[key] != default and key not in USES[product] | {products[0]}:
            has = ", ".join(other for other in PRODUCTS if key in USES[f"{other}="])
            raise UserError(f"{key}= has no effect on {product}: it is for {has}=.")
    if product == "table=field" and not values["dataset"]:
        raise UserError("table=field is not possible without a data set: say, for example, dataset=cifar10 n1=500.")
    if overrides and (values["own"] or values["table"] == "mine"):
        raise UserError(f"{overrides[0]} has no effect here: runs of any settings are shown.")
    if values["format"] not in SUFFIXES:
        raise UserError(f"format={values['format']} is not possible: one of {', '.join(SUFFIXES)}.")
    return values, tuple(overrides)


def _typed(key: str, value: str, kind: type) -> Any:
    if kind is bool:
        if value.lower() not in ("true", "false"):
            raise UserError(f"{key}={value} is not possible: true or false.")
        return value.lower() == "true"
    if kind is int:
        if not value.isdecimal():
            raise UserError(f"{key}={value} is not possible: a whole number.")
        return int(value)
    return value


def _act(values: dict[str, Any], overrides: tuple[str, ...]) -> None:
    options = Options(**{key: values[key] for key in Options._fields[:-1]}, overrides=overrides)
    check_options(options)
    runs = collect(values["runs"].split(","), must_exist=values["runs"] != DEFAULTS["runs"])
    if values["figure"]:
        from daso.report.figures import draw

        folder = Path(values["out"] or "reports").expanduser()
        _upload(values, draw(values["figure"], runs, options, configure, folder, own=values["own"]))
        return
    if values["html"]:
        from daso.report.page import page

        _upload(values, [write(Path(values["html"]), page(runs, options, configure))])
        return
    if values["table"] == "field":
        tables = field_tables(Where(*(values[key] for key in FIELD)), runs, options, configure)
    else:
        tables = [make_table(values["table"], runs, options)]
    formatted = FORMATTERS[values["format"]]
    if values["out"]:
        _upload(values, [write(Path(values["out"]), formatted(tables, None))])
        return
    width = get_terminal_size().columns if sys.stdout.isatty() else None
    print(formatted(tables, width), end="")
    if values["mlflow"]:
        with TemporaryDirectory() as folder_name:
            path = Path(folder_name) / f"table_{values['table']}{SUFFIXES[values['format']]}"
            path.write_text(formatted(tables, None), encoding="utf-8")
            _upload(values, [path])


def _upload(values: dict[str, Any], files: Sequence[Path]) -> None:
    """Log what was made to MLflow, if that is asked for."""
    if not values["mlflow"]:
        return
    from daso.report.log import log_files

    product = next(key for key in PRODUCTS if values[key])
    print(log_files(files, "report" if product == "html" else f"{product} {values[product]}"))


def make_table(name: str, runs: Sequence[Run], options: Options) -> Table:
    """A table of the paper, or of own runs."""
    if name == "mine":
        from daso.report.mine import own_table

        return own_table(runs, options)
    from daso.report.paper import paper_table

    return paper_table(name, runs, options, configure)


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
        raise UserError(f"{path} cannot be written: {(error.strerror or str(error)).lower()}.") from error
    print(f"wrote {path}")
    return path


def _markdown(tables: Sequence[Table], width: int | None) -> str:
    from daso.report.render import markdown

    return "\n".join(markdown(table, width) for table in tables)


def _latex(tables: Sequence[Table], _: int | None) -> str:
    from daso.report.render import latex

    return "\n".join(latex(table) for table in tables)


def _csv(tables: Sequence[Table], _: int | None) -> str:
    from daso.report.render import as_csv

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
    sys.exit(main())
