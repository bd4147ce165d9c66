"""Pictures of any runs: one of each setting, in the form of a figure of the paper."""

import re
import zlib
from collections.abc import Sequence

from daso.report.collect import Run, known
from daso.report.figures import openset
from daso.report.figures.alone import one_alone
from daso.report.figures.asked import Asked, Notes, Picture, chosen_rows
from daso.report.figures.canvas import Series
from daso.report.figures.specs import NEEDS, SPECS, alike
from daso.report.names import paper_name
from daso.report.sample import choose
from daso.report.stats import counted, listed
from daso.report.tables.group import group
from daso.report.tables.mine import row_names
from daso.report.tables.table import Options
from daso.report.where import ANYWHERE, Where

Place = tuple[str, str]  # data set and imbalance
LONGEST = 80  # characters of a setting in a file's name


def own_pictures(asked: Asked, notes: Notes) -> list[Picture]:
    """A picture of each setting that has something to show; `notes` gets what there is to say of them.

    Raises:
        UserError: there are runs, but none of the settings or of a row that is asked for.
    """
    name, runs, options, _, form, where = asked
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
        title = f"Figure {name} of own runs: {dataset} {asked.setting(setting)}"
        path = form.path(f"figure{name}", file_part(f"{dataset}_{setting}"), several)
        found.append(Picture(spec, series, _classes(series), [title], path))
    if form.stem and several:
        choices = one_alone(settings, where, lambda some: len(shown(own_series(runs, options, some))) == 1)
        told = f"There is a figure for each of {len(settings)} settings; for one alone, named {form.stem}, add one of"
        notes["\n  ".join([f"{told}:", *choices])] = None
    if len(same := alike(name)) > 1:
        notes[f"Figures {listed(same)} of own runs are one picture: only the paper's settings and methods differ."] = (
            None
        )
    return found


def own_series(runs: Sequence[Run], options: Options, where: Where = ANYWHERE) -> dict[Place, list[Series]]:
    """The finished runs of each setting (data set, imbalance), one series a method.

    Raises:
        UserError: there are runs, but none of these settings, or none of a row that is asked for.
    """
    asked = {run.key for run in where.among(known(runs))}
    cells, all_rows, columns, *_ = group((run for run in known(runs) if run.done), asked)
    rows = chosen_rows({row: (*row_names(row), paper_name(row)) for row in all_rows}, options)
    found = {
        (column.group, column.label): [
            Series(row, choose(cells[row, column]).runs, min_seeds=options.min_seeds)
            for row in rows
            if (row, column) in cells
        ]
        for column in columns
    }
    return {place: series for place, series in found.items() if series}


def _has(kind: str, series: Sequence[Series]) -> bool:
    """Whether some run has what such a picture shows."""
    runs = [run for one in series for run in one.runs]
    if kind == "entropies":
        return openset.measured(runs) is not None
    return kind != "clouds" or any(run.settings.reads_unlabeled for run in runs)


def file_part(setting: str) -> str:
    """A setting as a part of a file's name: its words, or as many of them as there is room for and a checksum."""
    name = re.sub(r"[^\w]+", "_", setting)
    return name if len(name) <= LONGEST else f"{name[:LONGEST]}_{zlib.crc32(setting.encode()):08x}"


def _classes(series: Sequence[Series]) -> int:
    return int(series[0].runs[0].config["dataset"]["num_classes"])
