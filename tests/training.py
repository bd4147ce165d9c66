"""Whole trainings of a few steps on digits, in memory."""

from contextlib import suppress
from functools import cache

import torch

from daso.errors import Interrupted
from daso.run.build import build, data_of
from daso.schema import Config
from daso.train.loop import State, train
from tests.compose import config_of

CPU = torch.device("cpu")


@cache
def composed(*overrides: str) -> Config:
    """Twelve steps on digits, looked at every third."""
    return config_of(
        "experiment=quickstart",
        "track=none",
        "train.steps=12",
        "train.batch_size=4",
        "train.eval_every=3",
        "train.log_every=3",
        "train.checkpoint_every=100",
        *overrides,
    )


class Rows:
    """A reporter that keeps the training and evaluation rows, without wall times and memory."""

    def __init__(self):
        self.kept = []

    def row(self, event, step, values):
        kept = {k: v for k, v in values.items() if not k.startswith(("time/", "memory/", "crest/")) and v == v}
        self.kept.append((event, step, kept))

    def progress(self, step): ...
    def warn(self, step, text): ...
    def sync(self): ...


def trained(config, folder, stop_after=None):
    """Parts and rows of a training, or of its first steps; a checkpoint goes to `folder`."""
    parts = build(config, CPU, *data_of(config))
    report, state, left = Rows(), State(), iter(range(stop_after or config.train.steps)[::-1])
    with suppress(Interrupted):
        train(parts, state, report, folder / "checkpoint.pt", {}, lambda: None if next(left) else 15)
    return parts, report.kept
