"""Confidence thresholds per class."""

import pytest
import torch

from daso.errors import UserError
from daso.schema import BossConfidence
from daso.slots.boss import Boss
from daso.slots.losses import labels
from daso.slots.slots import Slots
from daso.slots.supervised import CrossEntropy
from daso.types import Labels, Target
from tests import toy


def target(p):
    label, conf = labels(p)
    return Target(p, label, conf, Labels(label, conf))


def chosen(boss, label, conf):
    given = Target(conf[:, None], label, conf, Labels(label, conf))
    return boss.confident(given, torch.arange(len(label)), 0.95, toy.clock(0)).weight


def test_a_rare_pseudo_label_needs_less_confidence_in_proportion_to_its_count():
    label = torch.tensor([0, 0, 0, 0, 1, 1, 2])  # thresholds 0.95, 0.825, 0.7625 at delta 0.25
    conf = torch.tensor([0.95, 0.94, 0.99, 0.1, 0.83, 0.82, 0.763])
    kept = chosen(Boss(4, 0.25), label, conf)
    assert kept.tolist() == [True, False, True, False, True, False, True]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_delta_zero_is_the_plain_threshold(dtype):
    conf = torch.tensor([0.95, 0.9499999, 0.2, 1.0], dtype=dtype)
    p = torch.stack([conf, 1 - conf], 1)
    boss = Slots(CrossEntropy(), Boss(2, 0.0))
    ours, plain = (s.chosen(target(p), torch.arange(4), 0.95, toy.clock(0)) for s in (boss, Slots(CrossEntropy())))
    assert torch.equal(ours.weight, plain.weight)
    assert torch.equal(ours.label, plain.label)


def test_pseudo_labels_below_every_threshold_are_counted_too():
    label, conf = torch.tensor([0, 0, 1]), torch.tensor([0.2, 0.2, 0.85])
    assert chosen(Boss(2, 0.25), label, conf).tolist() == [False, False, True]


@pytest.mark.parametrize("delta", [-0.1, 1.1])
def test_an_impossible_delta_is_refused(delta):
    with pytest.raises(UserError, match=r"confidence\.delta="):
        BossConfidence(delta=delta)
