"""Every preset, stopped again and again, ends with the rows and the state of a run that never was."""

import itertools
import signal
from dataclasses import replace

import pytest
import torch

from daso.errors import Interrupted
from daso.machine.signals import StopRequest
from daso.outputs.rundir import RunDir
from daso.run.start import run
from daso.schema import Config
from daso.settings.options import groups
from daso.track.jsonl import TIME, read
from tests.compose import NOWHERE, config_of, readable
from tests.graph.presets import EVERY

STEPS = 20
# Steps after which a run stops, counted over its stages: in the first generation and every warm-up, at a border between
# generations, right after one, in the last; then at the same steps of a second stage, where there is one. The last
# step of a stage does not ask, so that a second one begins at 20.
STOPS = (3, 8, 13, 18, 22, 27, 32, 37)


def short(preset: str, out_root: object, recipe: str = "daso") -> Config:
    """The preset on digits, every period of its slots within a few steps."""
    foreign = [f"recipe={recipe}"] if recipe != "daso" else []
    choices = "experiment=quickstart", f"algorithm={preset}", *foreign, "track=none"  # only values follow
    return config_of(
        *choices,
        f"out_root={out_root}",
        f"train.steps={STEPS}",
        "train.batch_size=4",
        "train.eval_every=10",
        "train.log_every=5",
        "train.checkpoint_every=100",
        "daso.warmup_steps=3",
        "daso.update_every=2",
        "daso.queue_size=8",
        "align.window=3",
        *readable(
            choices,
            ["debias.every=4", "debias.start=0.2", "debias.warm=1", "balance.every=4", "confidence.every=4"],
        ),
    )


def rows(config: Config) -> list[dict[str, object]]:
    found = read(RunDir(config.out_root, config.run_key).metrics)
    return [{k: v for k, v in row.items() if not k.startswith((TIME, "time/", "memory/"))} for row in found]


def state(config: Config) -> dict[str, object]:
    """Everything of the last checkpoint, flat, but what depends on the clock on the wall, as times of rows do."""
    saved = torch.load(RunDir(config.out_root, config.run_key).checkpoint, weights_only=True)

    def leaves(node, path):
        if not isinstance(node, dict):
            return {path: node}
        return {k: v for name, child in node.items() for k, v in leaves(child, f"{path}/{name}").items()}

    clock = ("/seconds", "/journal/bytes", "/journal/digest")
    return {name: value for name, value in leaves(saved, "").items() if name not in clock}


def same(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return one == other or (one != one and other != other)  # a metric without data is nan in both


@pytest.mark.parametrize("preset", EVERY)
def test_a_preset_resumes_exactly(preset, tmp_path, monkeypatch):
    resumes_exactly(short(preset, tmp_path / "whole"), tmp_path, monkeypatch)


@pytest.mark.parametrize("recipe", [recipe for recipe in groups()["recipe"] if recipe != "daso"])
def test_a_preset_resumes_exactly_in_a_foreign_recipe(recipe, tmp_path, monkeypatch):
    resumes_exactly(short("fixmatch_la_crest_plus", tmp_path / "whole", recipe), tmp_path, monkeypatch)


def resumes_exactly(whole, tmp_path, monkeypatch):
    """A run of `whole` that is stopped again and again has the rows and the state of one that never was."""
    stopped = replace(whole, out_root=str(tmp_path / "stopped"))
    run(whole, NOWHERE)

    finished = itertools.count(1)  # the loop asks once after each step but the last of a stage
    monkeypatch.setattr(StopRequest, "__call__", lambda self: signal.SIGTERM if next(finished) in STOPS else None)
    stops = 0
    while not RunDir(stopped.out_root, stopped.run_key).done.exists():
        try:
            run(stopped, NOWHERE)
        except Interrupted:
            stops += 1

    assert stops >= 4
    assert rows(stopped) == rows(whole)
    ours, theirs = state(stopped), state(whole)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not same(ours[name], theirs[name])] == []
