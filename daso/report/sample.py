"""Which runs stand for one cell, bar or curve, and the sample that they make: one place for tables and figures."""

from collections.abc import Iterable
from typing import NamedTuple

from daso.report.collect import Run
from daso.report.stats import End, Sample, mixture, troubles

MADE_WITH = ("device", "precision", "compile", "code")  # no part of the run key


class Chosen(NamedTuple):
    """The runs that stand for one method in one setting: all of the same number of steps, one a seed."""

    runs: list[Run]  # by seed
    goal: int  # the steps that were asked for
    left: list[Run]  # those that do not enter

    @property
    def steps(self) -> int:
        """How long the runs were trained; 0 without runs."""
        return self.runs[0].steps if self.runs else 0


def choose(runs: Iterable[Run], goal: int | None = None) -> Chosen:
    """The runs of the longest training, or of the steps asked for where there are such; each seed once.

    Args:
        runs: finished runs that differ in their seed, and perhaps in their steps.
        goal: the steps that are asked for; those of the runs if None.
    """
    known = list(runs)
    if not known:
        return Chosen([], goal or 0, [])
    steps = max(run.steps for run in known)
    if goal is not None and any(run.steps == goal for run in known):
        steps = goal
    taken = {run.seed: run for run in known if run.steps == steps}
    chosen = [taken[seed] for seed in sorted(taken)]
    return Chosen(chosen, goal or steps, [run for run in known if run not in chosen])


def sample_of(runs: Iterable[Run], metric: str, goal: int | None = None) -> tuple[Sample | None, list[Run]]:
    """The numbers of the chosen runs that have the metric.

    Args:
        runs, goal: as for `choose`.
        metric: a key of summary.json.

    Returns:
        The sample, or None without runs; and the runs that did not enter it.
    """
    chosen = choose((run for run in runs if run.number(metric) is not None), goal)
    if not chosen.runs:
        return None, []
    after_la = "_la" in metric
    values = {run.seed: run.number(metric) or 0.0 for run in chosen.runs}
    found = troubles(values, {run.seed: end for run in chosen.runs if (end := _end(run, after_la)) is not None})
    made = {run.seed: {key: str(run.summary[key]) for key in MADE_WITH if key in run.summary} for run in chosen.runs}
    evaluations = min(run.settings.train.evaluations for run in chosen.runs)
    return Sample(values, chosen.steps, chosen.goal, tuple(found), mixture(made), evaluations), chosen.left


def _end(run: Run, after_la: bool) -> End | None:
    """How a run ended, by the answers that the sample is of: as they are, or after logit adjustment."""
    suffix = "_la" * after_la
    balanced, recalls = run.number(f"test/bacc{suffix}"), run.per_class(f"test/class{suffix}")
    warned = bool(run.summary.get("warnings")) and not after_la
    return None if balanced is None else End(balanced, len(recalls), recalls.count(0.0), warned)
