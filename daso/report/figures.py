"""The paper's figures from own runs, with the published curves and bars; or the same pictures of any runs."""

import re
import sys
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

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
from daso.report import draw as pictures
from daso.report import openset
from daso.report.alone import one_alone
from daso.report.canvas import SPREAD, Canvas, Form, Series, has_spread, signs
from daso.report.classes import groups as head_to_tail
from daso.report.collect import Run, known, passed_over
from daso.report.finish import choose as choose_rows
from daso.report.finish import no_row
from daso.report.group import group
from daso.report.match import Configure, match
from daso.report.mine import row_names
from daso.report.names import paper_name, paper_setting
from daso.report.sample import choose
from daso.report.specs import CLASSES, NEEDS, SPECS, Spec, alike
from daso.report.stats import counted, listed, spans
from daso.report.table import ASIDES, Options
from daso.report.where import ANYWHERE, Where

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Place = tuple[str, str]  # data set and imbalance
LONGEST = 80  # characters of a setting in a file's name


class _Wanted(NamedTuple):
    dataset: str
    setting: Setting
    learner: str
    overrides: Overrides


class _Picture(NamedTuple):
    """What is to be drawn."""

    spec: Spec
    series: Sequence[Series]
    classes: int
    told: Sequence[str]  # its title, and what there is to say against it
    path: Path  # without suffix


def draw(
    name: str,
    runs: Sequence[Run],
    options: Options,
    configure: Configure,
    form: Form,
    own: bool = False,
    where: Where = ANYWHERE,
) -> list[Path]:
    """Draw a figure, and say of each file where it is when it is there.

    Args:
        name: the paper's number.
        form: which files it becomes.
        own: draw the same picture of all finished runs, one figure a setting, instead of the paper's setting.
        where: the settings to draw.

    Raises:
        UserError: the paper has no such figure, it has no such row or setting, or there is nothing to draw.
    """
    if name not in SPECS:
        raise UserError(f"figure={name} is not possible: one of {', '.join(SPECS)}.")
    notes: dict[str, None] = {}
    if own:
        pictures_of = _own_pictures(name, runs, options, form, where, notes)
    else:
        pictures_of = _paper_pictures(name, runs, options, configure, form, where, notes)
    made: list[Path] = []
    failures: list[UserError] = []  # such as a run without its checkpoint, which others have
    canvas = Canvas(form.paper)
    for picture in pictures_of:
        try:
            drawn = _drawn(picture, canvas, form)
        except UserError as failure:
            failures.append(failure)
            continue
        if drawn is not None:
            files = canvas.save(drawn[0], picture.path, drawn[1])
            print("\n".join(f"wrote {file}" for file in files), flush=True)
            made += files
    if failures and not made:
        raise failures[0]
    if not made:
        needed = f", as it shows {NEEDS[kind]}" if (kind := SPECS[name][0].kind) in NEEDS else ""
        nothing = f"figure={name} has nothing to draw: no finished run fits it{needed}; finish some, or name runs=."
        raise UserError(" ".join([nothing, *(note for note in notes if note.startswith(ASIDES))]))
    for line in (*notes, *(f"Left out: {failure}" for failure in failures), *passed_over(runs)):
        print(line)
    return made


def _own_pictures(
    name: str, runs: Sequence[Run], options: Options, form: Form, where: Where, notes: dict[str, None]
) -> list[_Picture]:
    """A picture of each setting that has something to show; `notes` gets what there is to say of them."""
    spec = SPECS[name][0]

    def shown(found: dict[Place, list[Series]]) -> dict[Place, list[Series]]:
        return {place: series for place, series in found.items() if _has(spec.kind, series)}

    every = own_series(runs, options, where)
    settings = shown(every)
    several = len(settings) > 1
    if settings and len(settings) < len(every):
        left = counted(len(every) - len(settings), "setting")
        notes[f"Left out: {left} without {NEEDS[spec.kind]}."] = None
    found = []
    for (dataset, setting), series in settings.items():
        title = f"Figure {name} of own runs: {dataset} {_setting(setting, form)}"
        path = form.path(f"figure{name}", file_part(f"{dataset}_{setting}"), several)
        found.append(_Picture(spec, series, _classes(series), [title], path))
    if form.stem and several:
        choices = one_alone(settings, where, lambda asked: len(shown(own_series(runs, options, asked))) == 1)
        told = f"There is a figure for each of {len(settings)} settings; for one alone, named {form.stem}, add one of"
        notes["\n  ".join([f"{told}:", *choices])] = None
    if len(same := alike(name)) > 1:
        notes[f"Figures {listed(same)} of own runs are one picture: only the paper's settings and methods differ."] = (
            None
        )
    return found


def _has(kind: str, series: Sequence[Series]) -> bool:
    """Whether some run has what such a picture shows."""
    runs = [run for one in series for run in one.runs]
    if kind == "entropies":
        return openset.measured(runs) is not None
    return kind != "clouds" or any(run.settings.reads_unlabeled for run in runs)


def _setting(setting: str, form: Form) -> str:
    return paper_setting(setting) if form.printed else setting


def file_part(setting: str) -> str:
    """A setting as a part of a file's name: its words, or as many of them as there is room for and a checksum."""
    name = re.sub(r"[^\w]+", "_", setting)
    return name if len(name) <= LONGEST else f"{name[:LONGEST]}_{zlib.crc32(setting.encode()):08x}"


def own_series(runs: Sequence[Run], options: Options, where: Where = ANYWHERE) -> dict[tuple[str, str], list[Series]]:
    """The finished runs of each setting (data set, imbalance), one series a method.

    Raises:
        UserError: there are runs, but none of these settings, or none of a row that is asked for.
    """
    asked = {run.key for run in where.among(known(runs))}
    cells, all_rows, columns, *_ = group((run for run in known(runs) if run.done), asked)
    rows = _rows({row: (*row_names(row), paper_name(row)) for row in all_rows}, options)
    found = {
        (column.group, column.label): [
            Series(row, choose(cells[row, column]).runs, min_seeds=options.min_seeds)
            for row in rows
            if (row, column) in cells
        ]
        for column in columns
    }
    return {place: series for place, series in found.items() if series}


def _rows(names: Mapping[str, Sequence[str]], options: Options) -> list[str]:
    """The methods that are asked for among those that have these names; all of them where there is none."""
    rows, unknown = choose_rows(list(names), options.rows if names else (), names.__getitem__)
    for name in unknown:
        raise no_row(name, [known[0] for known in names.values()])
    return rows


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


def _paper_pictures(
    name: str,
    runs: Sequence[Run],
    options: Options,
    configure: Configure,
    form: Form,
    where: Where,
    notes: dict[str, None],
) -> list[_Picture]:
    specs = _of_settings(name, where)
    return [
        _paper_picture(
            name, spec, runs, options, configure, form, form.path(f"figure{name}", spec.panel, len(specs) > 1), notes
        )
        for spec in specs
    ]


def _paper_picture(
    name: str,
    spec: Spec,
    runs: Sequence[Run],
    options: Options,
    configure: Configure,
    form: Form,
    path: Path,
    notes: dict[str, None],
) -> _Picture:
    """A picture of the paper's; `notes` gets what there is to say of the own runs."""
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
    for label in _rows(called_too, options):
        number, place = numbers[label], wanted[label]
        known = {} if spec.kind == "clouds" else published(name, spec.panel, number.learner, number.rebalancer)
        chosen = choose(found.runs.get(place.overrides, []), found.goals.get(place.overrides))
        series.append(Series(label, chosen.runs, known, chosen.goal, options.min_seeds))
    data = spec.setting[0].partition(":")[2] or _setting(column_label(setting), form)
    title = f"Figure {name}{spec.panel}: {TITLES[dataset]} {data}"
    told = [title, *[f"({spec.remark})"] * bool(spec.remark)]
    return _Picture(spec, series, CLASSES[spec.setting[0]], told, path)


def published(name: str, panel: str, learner: str, rebalancer: str) -> dict[tuple[str, str], dict[str, float]]:
    """The printed values of a method in a figure: (quantity, part) -> x -> y; part as in `draw.parts`, or empty."""
    method = learner if rebalancer == "none" else f"{learner}+{rebalancer}"
    found: dict[tuple[str, str], dict[str, float]] = {}
    for point in points():
        series, _, part = point.series.partition(":")
        if point.figure == f"fig{name}" and series == method and panel in ("", point.panel):
            found.setdefault((point.quantity, part), {})[point.x] = point.y
    return found


def _drawn(picture: _Picture, canvas: Canvas, form: Form) -> "tuple[Figure, list[str]] | None":
    """A picture and the text beside it; None where no run has what it shows.

    Raises:
        UserError: a run lacks its checkpoint or its data.
    """
    spec, series, classes, told, _ = picture
    if form.printed:
        series = [one._replace(label=paper_name(one.label)) for one in series]
    title, notes, called = "\n".join(told), [one.told for one in series], class_names(series)
    with canvas.style():
        if spec.kind == "bars":
            figure = pictures.bars(series, head_to_tail(classes), title, canvas, called)
            notes.append(pictures.BALANCED)
        elif spec.kind == "curves":
            figure = pictures.curves(series, classes, title, spec.shown, canvas)
            notes += [f"{part}: {pictures.PARTS[part]}" for part in spec.shown]
            notes.append(pictures.BALANCED)
        elif spec.kind == "scatter":
            figure = pictures.scatter(series, classes, title, canvas, called)
        elif spec.kind == "matrices":
            rows = _confusions(series, classes)
            if not rows:
                return None
            title = f"{title}, {_seeds(series)}" if "own" in rows else title
            figure = pictures.matrices(rows, title, canvas, called)
            notes = [pictures.MATRICES]
        elif spec.kind == "entropies":
            found = openset.entropies(series, title, canvas)
            if found is None:
                return None
            figure = found
        else:
            from daso.report.features import embed

            chosen = {one.label: _first(one.runs) for one in series if one.runs}
            embedded = {}
            for label, run in chosen.items():
                print(f"{told[0]}: t-SNE of the features of {label}", file=sys.stderr, flush=True)
                if (points := embed(run)) is not None:
                    embedded[label] = points
            if not embedded:
                return None
            title += f", {_seeds(series)}\n(t-SNE of features of unlabeled images, coloured by true class)"
            figure = pictures.clouds(embedded, title, canvas, called)
            notes = []
    if spec.kind in ("bars", "curves") and has_spread(series):
        notes.append(SPREAD)
    return figure, [canvas.told, *notes, *signs(series)]


def class_names(series: Sequence[Series]) -> list[str]:
    """What people call the classes of the runs; nothing where they have numbers alone."""
    return next((run.folder.class_names() for one in series for run in one.runs), [])


def _confusions(series: Sequence[Series], classes: int) -> dict[str, dict[str, np.ndarray]]:
    """Own matrices of the smallest seed, and the printed ones, by origin and method."""
    rows: dict[str, dict[str, np.ndarray]] = {"own": {}, "published": {}}
    for one in series:
        if one.runs:
            from daso.report.features import confusion

            rows["own"][one.label] = confusion(_first(one.runs))
        if known := one.published.get(("confusion_row_norm", "")):
            matrix = np.zeros((classes, classes))
            for cell, value in known.items():
                true, predicted = map(int, re.findall(r"C(\d+)", cell))
                matrix[true, predicted] = value
            rows["published"][one.label] = matrix
    return {origin: row for origin, row in rows.items() if row}


def _seeds(series: Sequence[Series]) -> str:
    """Which seeds a picture of one run a method shows, and which runs are too short."""
    short = [f"{one.label} {one.length}" for one in series if one.length]
    return "; ".join([spans({_first(one.runs).seed for one in series if one.runs}), *short])


def _first(runs: Sequence[Run]) -> Run:
    return min(runs, key=lambda run: run.seed)


def _classes(series: Sequence[Series]) -> int:
    return int(series[0].runs[0].config["dataset"]["num_classes"])
