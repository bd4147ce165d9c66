"""Class weights and margins: when they begin and what they follow."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from daso.run.build.parts import class_of
from daso.slots.losses import cross_entropy
from daso.slots.reweighting import ClassBalanced, MarginBalanced, class_weights, margins
from tests import toy
from tests.compose import config_of

LATE = ("deferred",)


def logits(seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(toy.LABELED, toy.CLASSES, generator=g), torch.randint(toy.CLASSES, (toy.LABELED,), generator=g)


def make_margins(counts=toy.COUNTS, start=0, at_once=False):
    return MarginBalanced(counts, 0.999, start, 0.5, 30, at_once)


@pytest.mark.parametrize("option", ["cb", "ldam_drw"])
@pytest.mark.parametrize(
    ("overrides", "first"),
    [
        ([], 199_999),  # the 200,000th step, as in the reference
        (["train.steps=1000"], 799),
        (["supervised.defer=0"], 0),
        (["supervised.defer=1"], 249_999),
        (["protocol=crest"], 39_999),  # of each generation
    ],
)
def test_the_weights_begin_at_a_fraction_of_the_phase(option, overrides, first):
    config = config_of("algorithm=fixmatch", f"supervised={option}", *overrides)
    slot = class_of(config.supervised).of(config.supervised, toy.facts(config, toy.COUNTS))
    assert slot.flags(first) == LATE
    assert slot.flags(max(first - 1, 0)) == (LATE if first == 0 else ())


@settings(max_examples=100)
@given(st.lists(st.integers(1, 5000), min_size=2, max_size=20), st.sampled_from([0.0, 0.9, 0.999, 1.0]))
def test_class_weights_have_mean_one_and_never_favour_the_larger_class(counts, beta):
    weights = class_weights(torch.tensor(counts), beta)
    assert weights.mean().item() == pytest.approx(1)
    order = torch.tensor(counts).argsort()
    assert (weights[order].diff() <= 1e-12).all()


@settings(max_examples=100)
@given(st.lists(st.integers(1, 5000), min_size=2, max_size=20))
def test_the_rarest_class_has_the_largest_margin(counts):
    found = margins(torch.tensor(counts), 0.5)
    assert found.max() == found[torch.tensor(counts).argmin()] == 0.5


def test_weights_of_classes_alike_are_plain_cross_entropy():
    z, y = logits()
    assert torch.equal(ClassBalanced(toy.COUNTS, 0.0, 0).supervised(z, y, LATE), cross_entropy(z, y))


@pytest.mark.parametrize("make", [lambda n: ClassBalanced(n, 0.999, 0), make_margins])
def test_a_new_labeled_set_brings_its_own_weights(make):
    z, y = logits()
    slot, counts = make(toy.COUNTS), toy.COUNTS.flip(0)
    before = slot.supervised(z, y, LATE)
    slot.relabel(counts)
    assert torch.equal(slot.supervised(z, y, LATE), make(counts).supervised(z, y, LATE))
    assert slot.supervised(z, y, LATE) != before


def test_margins_can_come_before_the_weights():
    z, y = logits()
    assert make_margins().supervised(z, y, ()) == cross_entropy(z, y)
    assert make_margins(at_once=True).supervised(z, y, ()) != cross_entropy(z, y)
    assert torch.equal(make_margins(at_once=True).supervised(z, y, LATE), make_margins().supervised(z, y, LATE))
