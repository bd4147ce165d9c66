"""What to add to a command that shows several settings, to have one of them alone."""

from collections.abc import Callable, Mapping, Sequence
from shlex import quote

from daso.errors import UserError
from daso.outputs.naming import dataset_name, recipe_name
from daso.report.collect import Run
from daso.report.figures.canvas import Series
from daso.report.where import Where, setting_of_run

ORDER = ("dataset", "n1", "gamma_l", "gamma_u", "m1", "shape", "recipe")  # what people tell settings apart by


def one_alone(
    settings: Mapping[tuple[str, str], Sequence[Series]], where: Where, alone: Callable[[Where], bool]
) -> list[str]:
    """What to add for each of these settings, such as `dataset=photos n1=20`, or `keys=` where knobs tell it
    apart, with its name as a comment.

    Args:
        settings: the runs of each.
        where: what was asked for.
        alone: whether one setting is left of what is asked for.
    """
    places = {place: _place([run for one in series for run in one.runs]) for place, series in settings.items()}
    found = []
    for place, series in settings.items():
        rest, keys = [places[other] for other in places if other != place], {}
        for key in ORDER:
            value = places[place][key]
            if any(other[key] != value for other in rest):
                keys[key] = value
                rest = [other for other in rest if other[key] == value]
        if rest or not _possible(alone, where._replace(**keys)):
            of_runs = dict.fromkeys(run.key for one in series for run in one.runs)
            found.append(f"keys={','.join(of_runs)}  # {' '.join(place)}")
        else:
            found.append(" ".join(quote(f"{key}={value}") for key, value in keys.items()))
    return found


def _place(runs: Sequence[Run]) -> dict[str, str]:
    """What the keys of a setting are of these runs; those of labels alone have no unlabeled set."""
    run = next((run for run in runs if run.settings.reads_unlabeled), runs[0])
    names = {"dataset": dataset_name(run.config["dataset"]), "recipe": recipe_name(run.config)}
    return names | setting_of_run(run)._asdict()


def _possible(alone: Callable[[Where], bool], asked: Where) -> bool:
    try:
        return alone(asked)
    except UserError:
        return False
