"""The paper's figures from own runs, with the published curves and bars; or the same pictures of any runs."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from daso.errors import UserError
from daso.report.collect import Run, passed_over
from daso.report.figures import draw as pictures
from daso.report.figures import openset
from daso.report.figures.asked import Asked, Notes, Picture
from daso.report.figures.canvas import SPREAD, Canvas, Form, Series, has_spread, signs
from daso.report.figures.classes import groups as head_to_tail
from daso.report.figures.own import own_pictures
from daso.report.figures.printed import paper_pictures
from daso.report.figures.specs import NEEDS, SPECS
from daso.report.match import Configure
from daso.report.names import paper_name
from daso.report.stats import spans
from daso.report.tables.table import ASIDES, Options
from daso.report.where import ANYWHERE, Where

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
    notes: Notes = {}
    asked = Asked(name, runs, options, configure, form, where)
    made: list[Path] = []
    failures: list[UserError] = []  # such as a run without its checkpoint, which others have
    canvas = Canvas(form.paper)
    for picture in own_pictures(asked, notes) if own else paper_pictures(asked, notes):
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


def _drawn(picture: Picture, canvas: Canvas, form: Form) -> "tuple[Figure, list[str]] | None":
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
            from daso.report.figures.features import embed

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
            from daso.report.figures.features import confusion

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
