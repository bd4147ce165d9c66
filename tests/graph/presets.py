"""The option files of algorithms: all of them, a few in which everything occurs, and a short whole run of each."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from daso.run.stages import own, prerequisites
from daso.run.start import run
from daso.schema import Config
from daso.settings.options import groups
from tests.compose import CONF, NOWHERE, config_of, readable

PRESETS = groups()["algorithm"]
LATE = ["debias.warm=0.1", "debias.every=3", "debias.start=0.3", "balance.every=3", "confidence.every=3"]


def fillings(preset: str) -> dict[str, str]:
    """What an option file chooses, by group: its learner, and what fills a place of the step or the run."""
    chosen = {}
    for item in yaml.safe_load(Path(CONF, "algorithm", f"{preset}.yaml").read_text())["defaults"]:
        if isinstance(item, dict):
            ((group, option),) = item.items()
            chosen[group.removeprefix("override ").partition("@")[0]] = option
        elif item != "_self_":
            chosen |= fillings(item)
    return {group: option for group, option in chosen.items() if option != "none"}


def claims(preset: str) -> set[tuple[str, str]]:
    """What a preset is to show of: each of its choices, and its learner beside each place that is filled."""
    chosen = fillings(preset)
    learner = chosen["/schema/algorithm"]
    return set(chosen.items()) | {(learner, group) for group in chosen}


def cover(presets: list[str], claims: Callable[[str], set[tuple[str, str]]] = claims) -> list[str]:
    """Few of `presets` with the claims of all: a new learner, slot or protocol joins by itself."""
    left = {preset: claims(preset) for preset in presets}
    found = []
    while most := max(map(len, left.values())):
        found.append(next(preset for preset in presets if len(left[preset]) == most))
        covered = left[found[-1]]
        left = {preset: others - covered for preset, others in left.items()}
    return sorted(found)


CORE = cover(PRESETS)
EVERY = [preset if preset in CORE else pytest.param(preset, marks=pytest.mark.slow) for preset in PRESETS]


def brief(preset: str, out_root: object, *overrides: str) -> Config:
    """A run of 12 steps on digits, in which everything that a preset ever does happens; `preset` may bring overrides.

    What it is built on is made first.
    """
    algorithm, *more = preset.split()
    choices = (  # composed once: what follows is values
        "experiment=quickstart",
        f"algorithm={algorithm}",
        *more,
        "track=none",
    )
    config = config_of(
        *choices,
        f"out_root={out_root}",
        "imb.gamma_u=10",
        "train.steps=12",
        "train.batch_size=4",
        "train.eval_every=6",
        "train.log_every=3",
        "train.checkpoint_every=100",
        "daso.warmup_steps=4",
        "daso.update_every=2",
        "darp.every=2",
        "darp.goal=labeled",
        *readable(choices, ["protocol.generations=2", "protocol.retrain=1", "supervised.defer=0.5", *LATE]),
        *overrides,
    )
    for stage in prerequisites(config):
        run(stage, NOWHERE)
    return own(config)
