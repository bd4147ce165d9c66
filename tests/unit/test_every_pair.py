"""Every learner with every option of every slot: it runs, or the configuration is refused in a sentence."""

from dataclasses import replace
from functools import cache

import pytest
import torch

from daso.errors import UserError
from daso.run.build.parts import build_method
from daso.schema import ALGORITHMS, Config
from daso.settings.checks import check
from daso.settings.options import groups
from daso.types import Sizes
from tests import toy
from tests.compose import config_of
from tests.training import CPU

SLOTS = ("supervised", "align", "darp", "confidence", "abc", "daso", "debias", "balance")
OPTIONS = [(group, option) for group in SLOTS for option in groups()[group]]
LIKE_FIXMATCH = ("debiaspl", "simpro", "acr", "scssl", "ccl", "cossl")  # which FixMatch alone has places for
DEBIASED = {("debias", name) for name in LIKE_FIXMATCH}
REFUSED = {  # learner -> slots that it has no place for
    "supervised": {(slot, "*") for slot in SLOTS} - {("supervised", "*")},
    "usadtm": {(slot, "*") for slot in SLOTS} - {("supervised", "*")},
    "pseudolabel": {("abc", "*"), ("daso", "paper"), *DEBIASED},
    "meanteacher": {("confidence", "*"), ("abc", "*"), ("daso", "paper"), ("debias", "*"), ("balance", "*")},
    "mixmatch": {
        ("supervised", "*"),
        ("confidence", "*"),
        ("abc", "*"),
        ("daso", "paper"),
        ("balance", "*"),
        *DEBIASED,
    },
    "remixmatch": {("supervised", "*"), ("confidence", "*"), ("abc", "*"), *DEBIASED},
    "fixmatch": set(),
    "cpe": ({*((slot, "*") for slot in SLOTS), *OPTIONS} - {("confidence", "*"), ("confidence", "boss")}),
}
EMPTY = {"ce", "none"}
COUNTS, UNLABELED = torch.tensor([12, 9, 7, 6, 5, 4, 3, 3, 2, 2]), 2 * toy.LABELED
STEPS = 7

SIZES = Sizes(toy.LABELED, UNLABELED)


@cache
def option(group: str, name: str) -> object:
    beside = ["darp=paper"] if group == "align" else []  # which some of the group's options ask for
    return getattr(config_of("algorithm=fixmatch", *beside, f"{group}={name}"), group)


@cache
def base(learner: str) -> Config:
    """A short run in which everything happens."""
    short = ["experiment=quickstart", "imb.gamma_u=${imb.gamma_l}", f"train.steps={STEPS}", f"train.eval_every={STEPS}"]
    return config_of(*short, f"algorithm={learner}", "align=none")


def hurried(config: Config) -> Config:
    daso = replace(config.daso, warmup_steps=2, update_every=2)
    darp = replace(config.darp, warmup=0.2, every=2)
    soon = {
        name: value
        for name, value in {"every": 2, "start": 0.2, "labeled_weight": 1.0}.items()
        if hasattr(config.debias, name)
    }
    balance, confidence = (
        replace(node, every=2) if hasattr(node, "every") else node for node in (config.balance, config.confidence)
    )
    late = {"defer": 0.4} if hasattr(config.supervised, "defer") else {}
    supervised, debias = replace(config.supervised, **late), replace(config.debias, **soon)
    return replace(
        config, daso=daso, darp=darp, supervised=supervised, debias=debias, balance=balance, confidence=confidence
    )


def place(learner: str, group: str, name: str) -> bool:
    return name in EMPTY or not {(group, name), (group, "*")} & REFUSED[learner]


def test_every_learner_is_paired():
    assert set(REFUSED) == set(ALGORITHMS)


@pytest.mark.parametrize("pair", OPTIONS, ids="=".join)
@pytest.mark.parametrize("learner", ALGORITHMS)
def test_a_learner_with_a_slot_runs_or_is_refused(learner, pair):
    group, name = pair
    config = hurried(replace(base(learner), **{group: option(group, name)}))
    if group == "align" and name not in EMPTY:
        config = replace(config, align=replace(config.align, goal="labeled"))
    if not place(learner, group, name):
        with pytest.raises(UserError, match=rf"^{group}[.=].*algorithm="):
            check(config)
        return
    check(config)
    facts = toy.facts(config, COUNTS, UNLABELED + 10)._replace(threshold=0.1, channels=3, sizes=SIZES)
    method = build_method(config, facts, CPU, torch.float32)
    outcomes, nets = toy.train(
        method.learner, method.slots, STEPS, classes=10, unlabeled=UNLABELED, encoder=toy.OneBlock()
    )
    losses = torch.stack([torch.stack(list(o.losses.values())).sum() for o in outcomes])
    assert losses.isfinite().all()
    assert all(p.isfinite().all() for p in nets.student.parameters())
    makes = learner != "supervised"
    assert all((o.target is not None) is makes for o in outcomes)
    for o in outcomes if makes else []:
        assert torch.equal(o.target.label, o.target.p.argmax(1))
        assert not o.target.p.requires_grad
