"""A run is named by its science."""

from dataclasses import dataclass, field, replace
from functools import cache

import pytest

from daso.schema import NOT_SCIENCE
from daso.settings.compose import configuration
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
LABELS = ("dataset=cifar10", "algorithm=supervised")
SMALL = ("experiment=quickstart", "algorithm=supervised_la")
FIXED_BLEND = ("algorithm=fixmatch_daso", "daso.blend=0.5")
BIRDS = ("dataset=semi_aves", "dataset.resolution=32")
CREST = ("algorithm=fixmatch", "protocol=crt", "protocol.first=crest")
RANDOM = ("algorithm=supervised_crt", "protocol.sampler=random")


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
        (("dataset=semi_aves",), ("dataset=semi_aves", "dataset.cutout=112")),
        (BIRDS, (*BIRDS, "dataset.cutout=16")),
        (BASE, (*BASE, "daso.warmup_steps=200", "align.window=3")),  # inert at none
        (BASE, (*BASE, "device=cpu", "dataset.root=/elsewhere", "out_root=elsewhere", "track=none", "force=true")),
        # what nothing reads
        (BASE, (*BASE, "optim.gamma=0.5", "optim.milestones=[0.5]", "optim.cosine_ratio=2")),
        (LABELS, (*LABELS, "train.mu=3", "optim.ema_decay=0.9", "optim.cosine_ratio=2", "dataset.cutout=8")),
        (LABELS, (*LABELS, "imb.gamma_u=1/100")),
        (LABELS, (*LABELS, "imb.gamma_u=1", "imb.m1=200")),
        (LABELS, (*LABELS, "imbalance=cifar10_n1500_m3000_g100_reversed")),
        (LABELS, (*LABELS, "imb.unlabeled_shape=middle")),
        (LABELS, (*LABELS, "imb.unlabeled_counts=[9,9,9,9,9,9,9,9,9,8]")),
        (SMALL, (*SMALL, "imb.gamma_u=10", "train.mu=2", "optim.ema_decay=0.999")),
        (FIXED_BLEND, (*FIXED_BLEND, "daso.t_dist=2", "daso.update_every=50")),
        (("algorithm=fixmatch_abc",), ("algorithm=fixmatch_abc", "abc.blend=false")),
        (("algorithm=supervised_crt",), ("algorithm=supervised_crt", "protocol.generations=3", "protocol.t_min=0.1")),
        (("algorithm=supervised_crt",), ("algorithm=supervised_crt", "protocol.alpha=2", "imb.gamma_u=1")),
        (CREST, (*CREST, "protocol.t_min=0.1")),
        ((*CREST, "protocol.generations=1"), (*CREST, "protocol.generations=1", "protocol.alpha=2")),
        ((*RANDOM, "protocol.beta=0.9"), RANDOM),
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


@pytest.mark.parametrize(
    ("base", "override"),
    [
        (LABELS, "optim.gamma=0.5"),
        (LABELS, "imb.n1=400"),
        ((*BASE, "optim.schedule=cosine"), "optim.cosine_ratio=2"),
        (("algorithm=fixmatch_daso",), "daso.t_dist=2"),
        (("algorithm=fixmatch_daso",), "daso.update_every=50"),
        (("algorithm=fixmatch_abc_daso",), "abc.blend=false"),
        (CREST, "protocol.generations=3"),
        (CREST, "protocol.alpha=2"),
        (("algorithm=fixmatch_crest_plus",), "protocol.t_min=0.1"),
        (("algorithm=supervised_crt",), "protocol.beta=0.9"),
        (BASE, "dataset.cutout=8"),
        (("algorithm=supervised", "protocol=estimate", "dataset.num_valid=50"), "imb.gamma_u=1"),
    ],
)
def test_what_only_some_read_changes_the_key_of_those(base, override):
    assert config_of(*base).run_key != config_of(*base, override).run_key


@pytest.mark.parametrize("algorithm", ["supervised_la", "supervised_crt", "fixmatch_abc"])
@pytest.mark.parametrize("place", ["cifar10", "cifar100", "stl10", "digits", "fashion_mnist", "quickstart", "small"])
def test_what_nobody_sets_is_hashed_as_it_is_so_that_finished_runs_keep_their_keys(algorithm, place):
    where = {"quickstart": "experiment=quickstart", "small": "experiment=fashion_mnist_lt"}.get(
        place, f"dataset={place}"
    )
    config = configuration((where, f"algorithm={algorithm}"))
    assert science(config) == science(config, as_set=True)


@pytest.mark.parametrize("imbalance", ["cifar10_n500_m4000_g150", "cifar100_n50_m400_g20", "stl10_n150_g20"])
def test_the_sizes_of_every_labeled_setting_are_those_of_its_option_file(imbalance):
    config = configuration((f"dataset={imbalance.partition('_')[0]}", f"imbalance={imbalance}", "algorithm=supervised"))
    assert science(config) == science(config, as_set=True)


@pytest.mark.parametrize("blend", ["0", "0.5", "1"])
def test_the_paper_s_ablation_of_the_blend_keeps_its_keys(blend):
    for imbalance in ("cifar10_n500_m4000_g100", "cifar10_n1500_m3000_g100_uniform"):
        config = configuration((f"imbalance={imbalance}", "algorithm=fixmatch_daso", f"daso.blend={blend}"))
        assert science(config) == science(config, as_set=True)


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
