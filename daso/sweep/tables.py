"""What a person sees of a sweep that is over: how its jobs ended, and what came out over the seeds."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from rich.table import Table
from rich.text import Text

from daso.outputs.naming import method_name, recipe_named
from daso.schema import RULES, Config, of_evaluations
from daso.settings.identity import plain
from daso.sweep.graph import Job, numbers_of
from daso.sweep.grid import labels
from daso.sweep.session import FINISHED, STOPPED, End
from daso.track.console import counted
from daso.track.terminal import print_table

WIDE = 80  # columns of a reason that stands in the table
VALID, TEST = "on the validation set", "on the test set"
BALANCED = (
    "test bacc: balanced accuracy on the test set, last evaluation; python -m daso.report table=mine metric=bacc "
    "select=last has it too"
)


def print_ends(ends: Sequence[End], jobs: Sequence[Job] = ()) -> None:
    """Print how the jobs of a sweep ended, of which `jobs` are known."""
    keys = {end.key for end in ends if end.state == FINISHED}
    print_table(ends_table(ends, [job.config for job in jobs if job.config is not None and job.key in keys]))


def result_of(configs: Sequence[Config]) -> str:
    """What the column of results holds, as far as these finished runs tell."""
    found = {VALID if "valid/top1_median20" in (numbers_of(config) or {}) else TEST for config in configs}
    where = found.pop() if len(found) == 1 else f"{VALID} where there is one, else {TEST}"
    rules = {of_evaluations(RULES["median20"], config.train.evaluations) for config in configs}
    rule = rules.pop() if len(rules) == 1 else f"{RULES['median20']}, or of all where there are fewer"
    return f"result: top1_median20 in percent {where}, {rule}"


def ends_table(ends: Sequence[End], configs: Sequence[Config] = ()) -> Table:
    """The jobs of a sweep, one a row, without overrides that all share; a long reason stands below, once for all.

    Args:
        ends: how they ended.
        configs: of those that finished, as far as they are known.
    """
    done = sum(end.state == FINISHED for end in ends)
    title = f"{done} of {counted(len(ends), 'job')} finished"
    long = dict.fromkeys(end.reason for end in ends if len(end.reason) > WIDE)
    notes = {reason: number for number, reason in enumerate(long, 1)}
    below = [result_of(configs)] * bool(done) + [f"{number}. {reason}" for reason, number in notes.items()]
    grid = Table(title=title, caption="\n".join(below) or None, caption_justify="left")
    for column in ("run", "setting", "state", "result", "reason"):
        grid.add_column(column, overflow="fold")
    for end, varying in zip(ends, labels([end.overrides for end in ends])):
        result = "" if end.result is None or end.result != end.result else f"{end.result:.2f}"
        style = "" if end.state == FINISHED else "yellow" if end.state == STOPPED else "red"
        reason = f"see {notes[end.reason]}" if end.reason in notes else end.reason
        grid.add_row(end.key, Text(end.label or varying), Text(end.state, style), result, Text(reason))
    return grid


def print_means(jobs: Sequence[Job], ends: Sequence[End]) -> None:
    """Print mean and deviation over the seeds of each method and setting, where one of them has several; a setting of
    which nothing finished has a dash.

    Args:
        jobs: what was asked for, some of which is possible.
        ends: how the jobs ended.
    """
    results = {end.key: end.result for end in ends if end.state == FINISHED and end.result is not None}
    grid = Table(title="Mean ± standard deviation over the seeds", caption=BALANCED, caption_justify="left")
    for column in ("setting", "seeds", "result", "test bacc"):
        grid.add_column(column, justify="left" if column == "setting" else "right", overflow="fold")
    groups = by_setting(jobs)
    for name, members in groups.items():
        done = [job for job in members if job.key in results]
        balanced = [(numbers_of(job.config) or {}).get("test/bacc") for job in done if job.config is not None]
        row = [_over_seeds([results[job.key] for job in done]), _over_seeds(balanced)] if done else ["-", "-"]
        seeds = f"{len(done)} of {len(members)}" if len(done) < len(members) else str(len(done))
        grid.add_row(Text(name), seeds, *row)
    if any(len(members) > 1 for members in groups.values()):
        print_table(grid)


def by_setting(jobs: Sequence[Job]) -> dict[str, list[Job]]:
    """Jobs that differ in their seed alone, together, by what they have and not all others."""
    without = [[item for item in job.overrides if not item.startswith("seed=")] for job in jobs]
    shared = len({tuple(overrides) for overrides in without}) == 1
    known = next((job.config for job in jobs if job.config is not None), None)
    whole = " ".join([method_name(plain(known)), *recipe_named(plain(known))]) if known is not None else ""
    names = [whole] * len(jobs) if shared and whole else labels(without)
    groups: dict[str, list[Job]] = {}
    for job, name in zip(jobs, names):
        groups.setdefault(name, []).append(job)
    return groups


def _over_seeds(values: Sequence[float | None]) -> str:
    """`91.24 ± 0.31`, with the sample's deviation (divided by n - 1); nothing where a value is missing."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known or len(known) < len(values):
        return ""
    return f"{fmean(known):.2f}" + (f" ± {stdev(known):.2f}" if len(known) > 1 else "")
