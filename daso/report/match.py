"""Which runs are whose cell: a run belongs to a cell exactly if the cell's configuration has the run's key.

The key is a hash over everything that decides a run's numbers, so nothing that differs is ever averaged silently.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from daso.errors import UserError
from daso.outputs.naming import dataset_name, imbalance_name, method_name
from daso.published.cells import Overrides, Setting
from daso.report.collect import Run, known, unfinished
from daso.report.stats import counted, listed
from daso.schema import ALGORITHMS, LONG_TAILED, Config, parse_gamma_u
from daso.settings.apart import decisive
from daso.settings.identity import plain, run_key
from daso.settings.restored import flat

Configure = Callable[[Overrides], Config]
"""A command line of `train.py` -> its configuration."""

SHOWN = "table=mine shows them"
FIXED = ("dataset", "imbalance", "imb", "algorithm", "seed")


class Wanted(Protocol):
    """What `match` asks of a cell."""

    @property
    def dataset(self) -> str:
        """An option of the group dataset."""

    @property
    def setting(self) -> Setting:
        """Class sizes and imbalance."""

    @property
    def learner(self) -> str:
        """An option of the group algorithm."""

    @property
    def overrides(self) -> Overrides:
        """The configuration."""


class Matched(NamedTuple):
    """The runs of a table."""

    runs: dict[Overrides, list[Run]]  # finished ones, by configuration
    goals: dict[Overrides, int]  # steps that the table asks for
    unfinished: list[Run]
    left_out: Counter[str]  # how finished runs of the table's settings differ from its cells -> number of runs
    foreign: int  # finished runs of the table's settings on files that are not those that the data's makers published
    others: list[Run]  # finished runs of other settings or methods

    def uncounted(self, elsewhere: str = SHOWN) -> list[str]:
        """Sentences on runs that enter no cell, and why; on those of other settings where there is nothing else to say.

        Args:
            elsewhere: what shows runs of any settings.
        """
        found = unfinished(self.unfinished)
        if self.foreign:
            found.append(
                f"Not counted: {counted(self.foreign, 'finished run')} on files that are not as published "
                f"(dataset.verify=false): they stand beside no published number; {elsewhere}."
            )
        if self.left_out:
            (first, count), *others = self.left_out.most_common(5)
            more = "".join(f"; {number} more ({difference})" for difference, number in others)
            found.append(
                f"Not counted: {counted(count, 'finished run')} of these settings that no cell describes "
                f"({first}){more}. "
                "A difference that is wanted is said on the command line of the report, as it was on that of the runs."
            )
        if self.others and not self.runs and not found:
            settings = dict.fromkeys(
                f"{dataset_name(run.config['dataset'])} {imbalance_name(run.config['imb'])}" for run in self.others
            )
            shown = listed([*settings][:3] + ["others"] * (len(settings) > 3))
            found.append(
                f"Not counted: {counted(len(self.others), 'finished run')} of other settings or methods ({shown}): "
                f"{elsewhere}."
            )
        return found


def match(cells: Iterable[Wanted], runs: Iterable[Run], extra: Overrides, configure: Configure) -> Matched:
    """Give each run to its cell.

    Args:
        cells: the table.
        runs: any runs.
        extra: overrides that the runs share and the paper does not have, such as `train.steps=50000`.
        configure: composes a configuration, which is slow; asked about no more cells than needed.

    Raises:
        UserError: an override of `extra` is not possible.
    """
    splits = "".join(item.partition("=")[2] for item in extra if item.startswith("dataset.splits="))
    extra = tuple(item for item in extra if not item.startswith("dataset.splits="))  # its files need not be here
    for override in extra:
        key = override.partition("=")[0]
        if key.partition(".")[0] in FIXED and key != "dataset.num_valid":
            raise UserError(
                f"{override} is not possible: a table or figure of the paper sets data, imbalance, algorithm, seeds; "
                "table=mine or own=true shows any runs."
            )
    wanted: dict[Any, dict[Overrides, None]] = {}
    for cell in cells:
        wanted.setdefault(_place(cell.dataset, cell.setting, cell.learner), {})[cell.overrides] = None
    found = Matched({}, {}, [], Counter(), 0, [])
    configs: dict[Overrides, Config] = {}
    if extra:  # a mistake in it is one without any run as well
        for overrides in [overrides for options in wanted.values() for overrides in options][:1]:
            configs[overrides] = configure((*overrides, *extra))
    for run in known(runs):
        if run.config["dataset"].get("files_checksum"):
            inside = _place_of(run) in wanted
            found = found._replace(foreign=found.foreign + (run.done and inside))
            found.others.extend([run] * (run.done and not inside))
            continue
        tried: list[Config] = []
        fitting: list[Overrides] = []
        for overrides in sorted(wanted.get(_place_of(run), ()), key=lambda options: _unlike(options, run)):
            if overrides not in configs:
                configs[overrides] = configure((*overrides, *extra))
            config = configs[overrides]
            theirs = run.settings.dataset
            dataset = replace(config.dataset, splits=splits, splits_checksum=theirs.splits_checksum)
            train = replace(config.train, steps=run.steps)
            tried.append(replace(config, dataset=dataset, seed=run.seed, train=train))
            if splits == theirs.splits and run_key(tried[-1]) in (run.key, run.identity):
                found.goals[overrides] = config.train.steps
                fitting.append(overrides)
                if config.reads_unlabeled:  # else the run stands in the columns of all unlabeled sets
                    break
        if fitting and not run.done:
            found.unfinished.append(run)
        elif fitting:
            for overrides in fitting:
                found.runs.setdefault(overrides, []).append(run)
        else:
            near = min((_difference(config, run) for config in tried), key=len, default="")
            if run.done and near and ".name=" not in near:  # another method is none of this table's business
                found.left_out[near] += 1
            elif run.done:
                found.others.append(run)
    return found


def _unlike(overrides: Overrides, run: Run) -> int:
    """How unlike a run's method a configuration is by name: the likely ones are composed first."""
    (option,) = [item for item in overrides if item.startswith("algorithm=")]
    words = option.partition("=")[2].split("_")
    return len(set(words) ^ set(method_name(run.config).split("_")))


def _place(dataset: str, setting: Setting, learner: str) -> tuple[Any, ...]:
    m1 = setting.m1 if setting.m1 == "unknown" else int(setting.m1)
    unlabeled = m1, parse_gamma_u(setting.gamma_u), (setting.shape, ())
    return dataset, int(setting.n1), float(setting.gamma_l), learner, _read(unlabeled, learner)


def _place_of(run: Run) -> tuple[Any, ...]:
    imb, learner = run.config["imb"], run.config["algorithm"]["name"]
    shape = imb.get("unlabeled_shape", LONG_TAILED), tuple(imb.get("unlabeled_counts", ()))
    unlabeled = imb["m1"], parse_gamma_u(imb["gamma_u"]), shape
    return run.config["dataset"]["name"], imb["n1"], imb["gamma_l"], learner, _read(unlabeled, learner)


def _read(unlabeled: tuple[Any, ...], learner: str) -> tuple[Any, ...]:
    """The unlabeled set of a place, for learners that read one."""
    return unlabeled if ALGORITHMS[learner].reads_unlabeled else ()


def _difference(config: Config, run: Run) -> str:
    """What a run has that the configuration has not, e.g. `train.precision=bf16 model.width=8`."""
    ours, have = flat(plain(config)), flat(run.config)
    deciding = decisive(config).keys() | decisive(run.settings).keys()
    differing = [k for k in have if (k in deciding or k.endswith(".name")) and have[k] != ours.get(k, have[k])]
    return " ".join(f"{key}={have[key]}" for key in differing) or "settings of an older version"
