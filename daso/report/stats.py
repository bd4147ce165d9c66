"""From the numbers of single seeds to a cell: mean, deviation, rank, significance."""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median, stdev
from typing import NamedTuple

from daso.published.field import RULES
from daso.schema import WINDOW, of_evaluations

SELECTIONS = {"median20": "_median20", "mean20": "_mean20", "last": "", "best": "_best"}
"""How one number is made of a run's evaluations -> the suffix of its name in the summary."""

OR_FEWER = "or of all where there are fewer"
ACCURACIES = {"top1": "test accuracy", "bacc": "balanced test accuracy"}

FAR_BELOW = 10.0  # points under the median of its cell at which a seed is named
AT_CHANCE = 1.2  # times chance
SILENT = 0.2  # of the classes
FEW_SEEDS, FEW_STEPS, MORE_STEPS = "†", "‡", "§"


class Sample(NamedTuple):
    """The seeds of one cell that were trained alike."""

    values: dict[int, float]  # seed -> percent
    steps: int  # how long they were trained
    goal: int  # how long the table asks for
    troubles: tuple[str, ...] = ()  # sentences about single seeds
    mixed: str = ""  # in which respects the seeds were made differently
    evaluations: int = WINDOW  # of each run

    @property
    def n(self) -> int:
        """Number of seeds."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """Mean over seeds, percent."""
        return fmean(self.values.values())

    @property
    def std(self) -> float | None:
        """Sample standard deviation over seeds (divided by n - 1); None for one seed."""
        return stdev(self.values.values()) if self.n > 1 else None

    @property
    def remarks(self) -> list[str]:
        """What must be said of the sample: seeds in trouble, seeds made differently; one line each."""
        lines = ("; ".join(self.troubles), self.mixed and f"the average mixes {self.mixed}")
        return [line for line in lines if line]


def metric_name(metric: str, select: str, after_la: bool) -> str:
    """The key of summary.json, such as `test/top1_la_median20`."""
    return f"test/{metric}{'_la' if after_la else ''}{SELECTIONS[select]}"


def rule_of(metric: str) -> str:
    """The key of `RULES` in a key of summary.json: `median20` of `test/bacc_median20`."""
    last = metric.rpartition("_")[2]
    return last if last in RULES else "last"


def short_of(metric: str, evaluations: int) -> str:
    """`median of 4` where a run has 4 evaluations and the rule of its number is about the last 20; else nothing."""
    rule = rule_of(metric)
    changed = of_evaluations(RULES[rule], evaluations) != RULES[rule]
    return f"{rule.rstrip('0123456789')} of {evaluations}" if changed else ""


def spoken(metric: str, evaluations: Iterable[int] = ()) -> str:
    """A key of summary.json in words: `test/bacc_median20` is the balanced accuracy, the median of 20.

    Args:
        metric: the key.
        evaluations: how many the runs have whose numbers are meant.
    """
    quantity, *rest = metric.removeprefix("test/").split("_")
    after_la = " after logit adjustment" * ("la" in rest)
    rule, counts = RULES[rule_of(metric)], {min(count, WINDOW) for count in evaluations} or {WINDOW}
    told = {of_evaluations(rule, count) for count in counts}
    how = told.pop() if len(told) == 1 else f"{rule}, {OR_FEWER}"
    return f"{ACCURACIES[quantity]}{after_la}, {how}"


def ranks(means: Mapping[str, float], decimals: int) -> dict[str, int]:
    """Rank 1 for the best and 2 for the second best; equal at the printed precision is an equal rank."""
    printed = {name: round(mean, decimals) for name, mean in means.items()}
    order = sorted(set(printed.values()), reverse=True)[:2]
    return {name: order.index(value) + 1 for name, value in printed.items() if value in order}


def paired_p(ours: Mapping[int, float], base: Mapping[int, float]) -> float | None:
    """Two-sided p of a paired t-test over the common seeds.

    None where it is not defined: fewer than two common seeds, or differences that are all the same.
    """
    common = sorted(ours.keys() & base.keys())
    differences = [ours[seed] - base[seed] for seed in common]
    if len(common) < 2 or max(differences) - min(differences) < 1e-9:
        return None
    from scipy.stats import ttest_rel

    p = float(ttest_rel([ours[seed] for seed in common], [base[seed] for seed in common]).pvalue)
    return None if math.isnan(p) else p


def shortcomings(seeds: int, steps: int, goal: int, min_seeds: int) -> str:
    """The signs of a sample that cannot be compared with others: too few seeds, too few steps or too many."""
    return FEW_SEEDS * (seeds < min_seeds) + FEW_STEPS * (steps < goal) + MORE_STEPS * (steps > goal)


def wanting(signs: Iterable[str], min_seeds: int) -> list[str]:
    """What the signs of `shortcomings` among `signs` mean."""
    meanings = {
        FEW_SEEDS: f"fewer than {min_seeds} seeds",
        FEW_STEPS: "trained for fewer steps than are asked for",
        MORE_STEPS: "trained for more steps than are asked for",
    }
    return [f"{sign} {meaning}" for sign, meaning in meanings.items() if sign in signs]


class End(NamedTuple):
    """How a seed ended, on the test set."""

    balanced: float  # balanced accuracy, percent
    classes: int
    silent: int  # classes of which no image is recognised
    warned: bool = False  # whether the run itself said that it collapses


def troubles(values: Mapping[int, float], ends: Mapping[int, End]) -> list[str]:
    """Sentences about seeds that have collapsed, or fallen far behind the others of their cell: one for those alike.

    Args:
        values: seed -> percent, as they enter the cell.
        ends: how the seeds ended, where known.
    """
    found: dict[int, tuple[str, str]] = {}  # the verb of several seeds, and the rest
    for seed, end in ends.items():
        if end.balanced <= AT_CHANCE * 100 / end.classes:
            found[seed] = "ended", f"at chance ({end.balanced:.1f} % balanced accuracy)"
        elif end.silent >= max(SILENT * end.classes * (not end.warned), 1):
            found[seed] = "recognise", f"no image of {end.silent} of {end.classes} classes"
    middle = median(values.values()) if len(values) > 2 else -math.inf
    for seed, value in values.items():
        if seed not in found and middle - value > FAR_BELOW:
            found[seed] = "are", f"{middle - value:.1f} points below the median of their cell"
    alike: dict[tuple[str, str], list[int]] = {}
    for seed in sorted(found):
        alike.setdefault(found[seed], []).append(seed)
    return [_sentence(verb, rest, seeds) for (verb, rest), seeds in alike.items()]


def _sentence(verb: str, rest: str, seeds: Sequence[int]) -> str:
    """What seeds do, in the singular where it is one."""
    if len(seeds) == 1:
        verb, rest = {"recognise": "recognises", "are": "is"}.get(verb, verb), rest.replace("their", "its")
    return f"{spans(seeds)} {verb} {rest}"


def mixture(made: Mapping[int, Mapping[str, str]]) -> str:
    """In which respects the seeds of a cell were made differently, e.g. `device cpu (seed 0) and H100 (seeds 1-2)`.

    Args:
        made: seed -> what it was made with, by name, where known.
    """
    found = []
    for name in dict.fromkeys(name for facts in made.values() for name in facts):
        seeds: dict[str, list[int]] = {}
        for seed, facts in made.items():
            if name in facts:
                seeds.setdefault(facts[name], []).append(seed)
        if len(seeds) > 1:
            found.append(f"{name} {listed([f'{value} ({spans(members)})' for value, members in seeds.items()])}")
    return "; ".join(found)


def listed(items: Sequence[object]) -> str:
    """`a, b and c`."""
    words = [str(item) for item in items]
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def counted(number: int, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number} {noun}{'s' * (number != 1)}"


def spans(seeds: Iterable[int]) -> str:
    """`seed 0`, `seeds 0-2`, `seeds 0, 2-4`."""
    runs: list[list[int]] = []
    for seed in sorted(seeds):
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    words = [f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs]
    return f"seed{'s' * (len(runs) > 1 or len(runs[0]) > 1)} {', '.join(words)}"
