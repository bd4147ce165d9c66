"""A run is named by its science."""

from dataclasses import dataclass, field, replace
from functools import cache

import pytest

from daso.schema import NOT_SCIENCE
from daso.settings.identity import run_key, science
from tests.compose import config_of as composed

RECORDED = {  # never changes: a new knob comes with the neutral value that leaves these as they are
    ("experiment=quickstart",): "2898b2461f74",
    ("dataset=cifar10", "imbalance=cifar10_n500_m4000_g100", "algorithm=fixmatch_daso"): "d3db1d1a7c3a",
    ("dataset=cifar100", "algorithm=fixmatch", "seed=3"): "8d2d4a75b8cd",
    ("dataset=stl10", "imbalance=stl10_n150_g20", "algorithm=fixmatch_la_daso", "seed=1"): "034e6f45e443",
    ("dataset=cifar10", "algorithm=supervised_la", "imb.gamma_u=1/100"): "80969647c25f",
}
config_of = cache(composed)
BASE = ("dataset=cifar10", "algorithm=fixmatch")


@pytest.mark.parametrize("overrides", RECORDED)
def test_recorded_configurations_keep_their_keys(overrides):
    assert config_of(*overrides).run_key == RECORDED[overrides]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("algorithm=fixmatch_daso",), ("algorithm=fixmatch", "daso=paper")),
        (("imb.gamma_u=0.01",), ("imb.gamma_u=1/100",)),
        (("imb.gamma_l=100",), ("imb.gamma_l=100.0", "imb.gamma_u=100")),
        (("imbalance=cifar10_default",), ("imbalance=cifar10_n1500_m3000_g100",)),
        (("model=wrn28_8",), ("model=wrn28_2", "model.width=8")),
        (BASE, (*BASE, "daso.warmup_steps=200", "align.window=3")),  # inert at none
        (BASE, (*BASE, "device=cpu", "dataset.root=/elsewhere", "out_root=elsewhere", "track=none", "force=true")),
        (BASE, (*BASE, "dataset.verify=false", "dataset.root=/nowhere")),  # what is downloaded is as published
        (BASE, (*BASE, "train.log_every=7", "train.checkpoint_every=9", "eval_only=true", "resume_across=true")),
    ],
)
def test_what_does_not_change_a_run_does_not_change_its_key(one, other):
    assert config_of(*one).run_key == config_of(*other).run_key


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "imb.n1=400",
        "imb.gamma_u=1",
        "imb.gamma_u=1/100",
        "algorithm.threshold=0.9",
        "supervised=la",
        "align=da",
        "daso=paper",
        "model=wrn28_8",
        "optim.lr=0.1",
        "train.steps=1000",
        "train.eval_every=100",
        "train.mu=1",
        "train.precision=bf16",
        "train.threads=2",
        "dataset.num_valid=0",
    ],
)
def test_what_changes_a_run_changes_its_key(override):
    assert config_of(*BASE).run_key != config_of(*BASE, override).run_key


def test_a_key_is_twelve_hex_digits():
    assert len(run_key(config_of(*BASE))) == 12
    int(run_key(config_of(*BASE)), 16)


def test_the_key_does_not_depend_on_itself():
    config = config_of(*BASE)
    assert run_key(replace(config, run_key="")) == config.run_key


@dataclass
class Slot:
    absent = "none"
    name: str = "none"
    strength: float = 1.0


@dataclass
class Before:
    lr: float
    slot: Slot = field(default_factory=Slot)


@dataclass
class After:
    slot: Slot = field(default_factory=Slot)
    momentum: float = field(default=0.9, metadata={"neutral": 0.0})
    lr: float = 0.1
    log_every: int = field(default=5, metadata=NOT_SCIENCE)


def test_a_knob_at_its_neutral_value_is_as_if_it_were_not_there():
    assert science(After(momentum=0.0)) == science(Before(lr=0.1)) == {"lr": 0.1}
    assert science(After()) == {"lr": 0.1, "momentum": 0.9}


def test_a_filled_slot_enters_with_all_its_values():
    assert science(Before(lr=0.1, slot=Slot("on"))) == {"lr": 0.1, "slot": {"name": "on", "strength": 1.0}}
