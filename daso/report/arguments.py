"""The report's command line: which keys there are, what each is for, and a sentence for what is none."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from daso.errors import UserError
from daso.outputs.endings import either, ending
from daso.published.cells import TABLES as NUMBERED
from daso.published.cells import Overrides
from daso.report.tables.table import AS_REPORTED, BOTH, COLUMNS, NAMES, PUBLISHED
from daso.report.where import Where
from daso.settings.options import CONF, refuse_flags
from daso.settings.words import SURE, meant

DEFAULTS: dict[str, Any] = {
    "table": "",
    "figure": "",
    "html": "",
    "runs": "outputs",
    "keys": "",
    "format": "",
    "out": "",
    "select": AS_REPORTED,
    "la": False,
    "metric": "top1",
    "baseline": "",
    "min_seeds": 3,
    "usb": False,
    "columns": BOTH,
    "rows": "",
    "names": NAMES[0],
    "bold": True,
    "external": "",
    "own": False,
    "width": "column",
    "mlflow": False,
}
IN_HEADS = {"N1": "n1", "M1": "m1", "gl": "gamma_l", "gu": "gamma_u"}  # what heads of tables call them
SETTING: dict[str, Any] = dict.fromkeys(Where._fields, "")  # which settings to show
NUMBERS = {"runs", "keys", "select", "la", "metric", "baseline", "min_seeds", "usb"}
LOOKS = {"columns", "rows", "names", "bold", "external", "format", "out", "mlflow"}
PRODUCTS = ("table", "figure", "html")
USES = {
    "table=": NUMBERS | LOOKS | SETTING.keys() - {"recipe"},
    "table=mine": NUMBERS | LOOKS | SETTING.keys(),
    "table=field": (NUMBERS | LOOKS | SETTING.keys()) - {"la", "metric", "usb"},
    "figure=": SETTING.keys()
    | {"runs", "keys", "rows", "min_seeds", "own", "names", "format", "width", "out", "mlflow"},
    "html=": NUMBERS | SETTING.keys() | {"columns", "rows", "names", "bold", "external", "mlflow"},
}
OTHERS = ("table=mine", "table=field")  # beside those of the paper
TABLES = {"markdown": ".md", "latex": ".tex", "csv": ".csv", "html": ".html"}
PICTURES = {"pdf": ".pdf", "svg": ".svg", "png": ".png"}
FREE = ("", ".txt")  # suffixes that say nothing of a table's format, which format= then says
WIDTHS = {"column": 3.25, "text": 6.875}  # inches: of the two-column pages of the field's conferences
LARGEST = 20.0  # inches


class Request(NamedTuple):
    """What a command line asks for."""

    values: dict[str, Any]  # of the report's own keys
    overrides: Overrides  # of `train.py`: what runs of the paper's settings differ in, or runs of any have

    @property
    def product(self) -> str:
        """What is made: table, figure or html."""
        return next(key for key in PRODUCTS if self.values[key])

    @property
    def any_runs(self) -> bool:
        """Whether runs of any settings are shown, of which overrides choose some."""
        return bool(self.values["own"] or self.values["table"] == "mine")


def parse(arguments: Sequence[str]) -> Request:
    """Values of the report's own keys, and overrides of `train.py`.

    Raises:
        UserError: a key that nobody has or that is without effect here, or a value of the wrong kind.
    """
    refuse_flags(arguments, DEFAULTS | SETTING)
    kind = _kind(arguments)
    defaults = DEFAULTS | {key: "" for key in SETTING if key in USES[kind]}
    values, overrides = DEFAULTS | SETTING, []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals:
            raise UserError(f"{argument} is not possible: an argument has the form key=value, such as table=1.")
        if key in defaults:
            values[key] = _typed(key, value, type(defaults[key]))
        elif "." in key or (CONF / key).is_dir():
            overrides.append(argument)
        elif key in SETTING:
            raise _without_effect(key, kind)
        else:
            raise UserError(f"{argument} is not possible: there is no {key}; {_meant(key, defaults)}")
    request = Request(values, tuple(overrides))
    if sum(bool(values[key]) for key in PRODUCTS) != 1:
        raise UserError("Say one of table=1, table=mine, table=field, figure=3 or html=report.html.")
    for key, default in (DEFAULTS | SETTING).items():
        if values[key] != default and key not in USES[kind] | {request.product}:
            raise _without_effect(key, kind)
    _judge(request)
    values["format"] = _format(request)
    return request


def _meant(key: str, known: Iterable[str]) -> str:
    """What a person means by a key that there is not: as heads have it, or train.py; or which there are."""
    if key in IN_HEADS:
        return f"did you mean {IN_HEADS[key]}?"
    if near := get_close_matches(key, known, 1, SURE) or [one for one in meant(key) if "." in one]:
        return f"did you mean {near[0]}?"
    near = get_close_matches(key, known, 1)
    there = f"the keys are {', '.join(known)}, and those of train.py, such as optim.lr, which choose runs."
    return f"did you mean {near[0]}?" if near else there


def _without_effect(key: str, kind: str) -> UserError:
    has = [product for product in PRODUCTS if any(key in USES[other] for other in USES if other.startswith(product))]
    return UserError(f"{key}= has no effect on {kind}: it is for {', '.join(has)}=.")


def _kind(arguments: Sequence[str]) -> str:
    """What is asked for, as a key of `USES`."""
    found = [f"{key}=" for key in PRODUCTS if any(argument.startswith(f"{key}=") for argument in arguments)]
    named = [kind for kind in OTHERS if kind in arguments]
    return [*named, *found, "table="][0]


def _judge(request: Request) -> None:
    """Refuse values that do not go together.

    Raises:
        UserError: some do not.
    """
    values = request.values
    if values["table"] == "field" and not values["dataset"]:
        raise UserError("table=field is not possible without a data set: say, for example, dataset=cifar10 n1=500.")
    tables = (*NUMBERED, *(kind.partition("=")[2] for kind in OTHERS))
    for key, known in (("table", tables), ("columns", COLUMNS), ("names", NAMES)):
        if values[key] not in known and (key != "table" or values["table"]):
            raise UserError(f"{key}={values[key]} is not possible: one of {', '.join(known)}.")
    if values["columns"] == PUBLISHED and (values["table"] == "mine" or values["html"]):
        raise UserError(
            "columns=published is not possible here: own runs are shown; table=field has what is published."
        )
    if values["html"]:
        ending("html", values["html"], "a page", [TABLES["html"]])


def _format(request: Request) -> str:
    """The format that is asked for, in words or by the suffix of `out=`; of a figure, empty for pictures to look at in
    a folder.

    Raises:
        UserError: there is no such format, or the suffix speaks of another.
    """
    values, product = request.values, request.product
    if product == "html":
        return "html"
    known, noun = (PICTURES, "a figure") if product == "figure" else (TABLES, "a table")
    named = {end.removeprefix("."): name for name, end in known.items()}  # by their suffixes too
    wanted, out = named.get(values["format"], values["format"]), values["out"]
    if wanted and wanted not in known:
        raise UserError(f"format={wanted} is not possible: {noun} has one of {', '.join(known)}.")
    suffix = Path(out).suffix.lower()
    said = next((name for name, end in known.items() if end == suffix), "")
    if said and wanted and said != wanted:
        right = f"name it {Path(out).with_suffix(known[wanted])}, or leave format= away"
        raise UserError(f"out={out} is not possible with format={wanted}: {right}.")
    if out and not (wanted and product == "table" and suffix in FREE):
        ending("out", out, noun, list(known.values()), folder=product == "figure")
    chosen = str(wanted or said)
    if product == "figure":
        if not chosen and values["width"] != DEFAULTS["width"]:
            raise UserError(f"width={values['width']} has no effect without a format of papers: add format=pdf.")
        inches(values["width"])
        return chosen
    return chosen or "markdown"


def inches(width: str) -> float:
    """The width of a figure: that of a `column`, of the `text`, or a number of inches.

    Raises:
        UserError: it is none of these.
    """
    if width in WIDTHS:
        return WIDTHS[width]
    try:
        number = float(width)
    except ValueError:
        number = 0.0
    if not 1.0 <= number <= LARGEST:
        raise UserError(f"width={width} is not possible: {either([*WIDTHS])}, or inches from 1 to {LARGEST:g}.")
    return number


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
