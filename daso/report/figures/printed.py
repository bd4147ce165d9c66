"""The pictures of the paper's own settings: the printed values, and the own runs that belong to them."""

from typing import NamedTuple

from daso.errors import UserError
from daso.outputs.naming import PAPER_RECIPE
from daso.published.cells import (
    DATASETS,
    TITLES,
    Overrides,
    Setting,
    algorithm_of,
    column_label,
    overrides_of,
    row_label,
    setting_of,
)
from daso.published.numbers import Published, points
from daso.report.figures.asked import Asked, Notes, Picture, chosen_rows
from daso.report.figures.canvas import Series
from daso.report.figures.specs import CLASSES, SPECS, Spec
from daso.report.match import match
from daso.report.names import paper_name
from daso.report.sample import choose
from daso.report.stats import listed
from daso.report.where import Where


class _Wanted(NamedTuple):
    """The place of a method in a figure, as `match` asks for it."""

    dataset: str
    setting: Setting
    learner: str
    overrides: Overrides


def paper_pictures(asked: Asked, notes: Notes) -> list[Picture]:
    """The pictures of the settings that are asked for; `notes` gets what there is to say of the own runs.

    Raises:
        UserError: the figure has none of these settings, or not a row that is asked for.
    """
    specs = _of_settings(asked.name, asked.where)
    return [_picture(spec, asked, len(specs) > 1, notes) for spec in specs]


def _of_settings(name: str, where: Where) -> list[Spec]:
    """The panels of a figure of the paper that show the settings that are asked for."""
    places = [
        (spec, DATASETS[spec.setting[0]], setting_of(_number(name, spec, *spec.methods[0]))) for spec in SPECS[name]
    ]
    found = [spec for spec, dataset, setting in places if where.plain.has(dataset, setting, PAPER_RECIPE)]
    if not found:
        has = listed([f"dataset={dataset} {column_label(setting)}" for _, dataset, setting in places])
        raise UserError(f"{where} is not possible: Figure {name} has {has}; own=true draws runs of any settings.")
    return found


def _number(name: str, spec: Spec, learner: str, rebalancer: str) -> Published:
    return Published(f"fig{name}", "", *spec.setting, learner, rebalancer, "", 0.0, None, "")


def _picture(spec: Spec, asked: Asked, several: bool, notes: Notes) -> Picture:
    name, runs, options, configure, form, _ = asked
    numbers = {row_label(*method): _number(name, spec, *method) for method in spec.methods}
    setting = setting_of(next(iter(numbers.values())))
    dataset = DATASETS[spec.setting[0]]
    wanted = {
        label: _Wanted(dataset, setting, number.learner, overrides_of(number)) for label, number in numbers.items()
    }
    found = match(wanted.values(), runs, options.overrides, configure)
    series = []
    if not found.runs:
        notes[f"No own run is in Figure {name}{spec.panel}: it shows {dataset} {column_label(setting)}."] = None
    notes |= dict.fromkeys(found.uncounted(f"figure={name} own=true draws them"))
    called_too = {label: (label, algorithm_of(place.overrides), paper_name(label)) for label, place in wanted.items()}
    for label in chosen_rows(called_too, options):
        number, place = numbers[label], wanted[label]
        known = {} if spec.kind == "clouds" else published(name, spec.panel, number.learner, number.rebalancer)
        chosen = choose(found.runs.get(place.overrides, []), found.goals.get(place.overrides))
        series.append(Series(label, chosen.runs, known, chosen.goal, options.min_seeds))
    data = spec.setting[0].partition(":")[2] or asked.setting(column_label(setting))
    title = f"Figure {name}{spec.panel}: {TITLES[dataset]} {data}"
    path = form.path(f"figure{name}", spec.panel, several)
    told = [title, *[f"({spec.remark})"] * bool(spec.remark)]
    return Picture(spec, series, CLASSES[spec.setting[0]], told, path)


def published(name: str, panel: str, learner: str, rebalancer: str) -> dict[tuple[str, str], dict[str, float]]:
    """The printed values of a method in a figure: (quantity, part) -> x -> y; part as in `draw.parts`, or empty."""
    method = learner if rebalancer == "none" else f"{learner}+{rebalancer}"
    found: dict[tuple[str, str], dict[str, float]] = {}
    for point in points():
        series, _, part = point.series.partition(":")
        if point.figure == f"fig{name}" and series == method and panel in ("", point.panel):
            found.setdefault((point.quantity, part), {})[point.x] = point.y
    return found
