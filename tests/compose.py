"""The configuration that a command line would give, without a process of its own."""

from collections.abc import Sequence
from pathlib import Path

from daso.schema import Config, Provenance
from daso.settings.compose import configuration
from daso.settings.identity import plain

CONF = str(Path(__file__).resolve().parents[1] / "conf")
NOWHERE = Provenance(overrides=[], choices={}, in_sweep=False, warnings=[])


def config_of(*overrides: str) -> Config:
    """What `python train.py <overrides>` would run; composed once for all values of a set of choices."""
    return configuration(overrides)


def readable(choices: Sequence[str], knobs: Sequence[str]) -> list[str]:
    """Those of the `knobs` (key=value) that exist under the options that `choices` make."""
    config = plain(config_of(*choices))
    places = [knob.partition("=")[0].split(".") for knob in knobs]
    return [knob for knob, (node, name) in zip(knobs, places) if name in config[node]]


def tiny(*overrides: str) -> Config:
    """A run of seconds: 60 steps on digits, tracked nowhere."""
    return config_of(
        "experiment=quickstart",
        "track=none",
        "train.steps=60",
        "train.eval_every=15",
        "train.log_every=5",
        "train.checkpoint_every=10",
        "daso.warmup_steps=25",
        "daso.update_every=10",
        *overrides,
    )
