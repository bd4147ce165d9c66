"""The auxiliary balanced classifier: its masks, its schedule, its loss."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from daso.learners.fixmatch import FixMatch
from daso.nn.net import CLASSIFIER
from daso.run.build import build, data_of
from daso.schema import AbcConfig, DasoConfig
from daso.slots.abc import Abc
from daso.slots.daso import Daso
from daso.slots.slots import Slots
from daso.slots.supervised import CrossEntropy
from daso.train.loop import predictor
from daso.types import Clock, Feats, Head
from tests import toy
from tests.compose import tiny

OFF, ON = (), ("semantic",)


def make(threshold=0.3, **settings):
    return Abc(toy.COUNTS, threshold, AbcConfig("abc", **settings))


def loss(slots, nets, step=0, noise=None, flags=OFF, clock=None):
    batch = toy.batch(step)
    labeled, weak, strong = (nets.student.encode(x) for x in (batch.x, *batch.u))
    feats = Feats(labeled, weak, (strong,))
    noise = noise or {"abc/labeled": torch.rand(toy.LABELED), "abc/unlabeled": torch.rand(toy.UNLABELED)}
    return slots.aux(nets, feats, batch, None, noise, clock or toy.clock(step), flags), feats, batch, noise


@pytest.fixture
def nets():
    return toy.nets(heads=CLASSIFIER | {"abc": Head()})


def test_labeled_images_are_kept_in_inverse_proportion_to_their_class():
    labeled, _ = make().keep(toy.clock(0))
    assert labeled.tolist() == [2 / 12, 2 / 6, 2 / 3, 1.0]


def test_the_rarest_class_is_kept_wherever_it_stands():
    labeled, _ = Abc(torch.tensor([3, 2, 9]), 0.95, AbcConfig("abc")).keep(toy.clock(0))
    assert labeled.tolist() == [2 / 3, 1.0, 2 / 9]


@pytest.mark.parametrize(
    ("step", "progress"), [(0, 0.0), (499, 0.0), (500, 0.002), (999, 0.002), (125000, 0.5), (249999, 0.998)]
)
def test_unlabeled_images_are_balanced_in_stairs_over_the_phase(step, progress):
    clock = Clock(torch.tensor(step), torch.tensor(step / 250000, dtype=torch.float64))
    labeled, unlabeled = make().keep(clock)
    torch.testing.assert_close(unlabeled, 1 - progress * (1 - labeled))


def test_stairs_of_another_length_reach_as_far():
    clock = Clock(torch.tensor(19), torch.tensor(0.95, dtype=torch.float64))
    labeled, unlabeled = make(every=2).keep(clock)
    torch.testing.assert_close(unlabeled, 1 - 0.9 * (1 - labeled))


def test_a_new_labeled_set_changes_the_balance():
    abc = make()
    abc.relabel(torch.tensor([4, 4, 4, 4]))
    assert abc.keep(toy.clock(0))[0].tolist() == [1.0] * 4
    assert toy.COUNTS.tolist() == [12, 6, 3, 2]


def test_loss_of_the_head_by_hand(nets):
    slots = Slots(CrossEntropy(), make(every=1))
    losses, feats, batch, noise = loss(slots, nets, step=5)
    labeled, unlabeled = slots.extras[0].keep(toy.clock(5))
    z_l, z_w, z_s = (nets.student.classify(f, "abc") for f in (feats.l, feats.w, *feats.s))
    conf, label = z_w.softmax(1).max(1)
    kept_l = noise["abc/labeled"] < labeled[batch.y]
    kept_u = (conf >= 0.3) & (noise["abc/unlabeled"] < unlabeled[label])
    assert 0 < kept_l.sum() < toy.LABELED
    assert 0 < kept_u.sum() < toy.UNLABELED
    expected = cross_entropy(z_l[kept_l], batch.y[kept_l], reduction="sum") / toy.LABELED
    expected += cross_entropy(z_s[kept_u], z_w[kept_u].softmax(1).detach(), reduction="sum") / toy.UNLABELED
    torch.testing.assert_close(losses["abc"], expected)


def test_loss_is_proportional_to_its_weight(nets):
    one, _, _, noise = loss(Slots(CrossEntropy(), make()), nets)
    half, *_ = loss(Slots(CrossEntropy(), make(weight=0.5)), nets, noise=noise)
    torch.testing.assert_close(half["abc"], 0.5 * one["abc"])


def test_both_views_of_a_kept_image_but_only_the_strong_one_get_a_gradient(nets):
    slots = Slots(CrossEntropy(), make(threshold=0.0))
    batch = toy.batch(0)
    labeled, weak, strong = (nets.student.encode(x).detach().requires_grad_() for x in (batch.x, *batch.u))
    feats = Feats(labeled, weak, (strong,))
    noise = {"abc/labeled": torch.zeros(toy.LABELED), "abc/unlabeled": torch.zeros(toy.UNLABELED)}
    slots.aux(nets, feats, batch, None, noise, toy.clock(0), OFF)["abc"].backward()
    assert feats.w.grad is None
    assert feats.l.grad.abs().sum() > 0
    assert feats.s[0].grad.abs().sum() > 0


@pytest.mark.parametrize("blend", [True, False])
def test_a_second_opinion_changes_the_head_s_labels_where_it_may(nets, blend):
    daso = Daso(toy.CLASSES, toy.DIM, DasoConfig("daso", queue_size=3, warmup_steps=2, update_every=2, align_weight=0))
    daso.prototypes.push(torch.randn(4, toy.DIM), torch.arange(4))
    daso.hist.fill_(1)
    plain, _, _, noise = loss(Slots(CrossEntropy(), make(0.0)), nets)
    both, *_ = loss(Slots(CrossEntropy(), daso, make(0.0, blend=blend)), nets, noise=noise, flags=ON)
    assert torch.equal(plain["abc"], both["abc"]) is not blend


def test_the_auxiliary_head_answers_at_test_time():
    assert Slots(CrossEntropy(), make()).answers == "abc"
    assert Slots(CrossEntropy(), make(weight=0.0)).answers == "cls"  # nothing would train the other one
    assert Slots(CrossEntropy()).answers == "cls"


def test_both_heads_train_the_encoder():
    outcomes, trained = toy.train(FixMatch(0.3), Slots(CrossEntropy(), make()), 2)
    plain, without = toy.train(FixMatch(0.3), Slots(CrossEntropy()), 2)
    assert torch.equal(outcomes[0].losses["cls"], plain[0].losses["cls"])
    assert outcomes[1].losses["cls"] != plain[1].losses["cls"]
    assert not torch.equal(trained.student.encoder.stem.weight, without.student.encoder.stem.weight)


def test_evaluation_asks_the_auxiliary_head():
    config = tiny("algorithm=fixmatch_abc")
    parts = build(config, torch.device("cpu"), *data_of(config))
    net, images = parts.nets.teacher, parts.splits["test"][0][:5]
    features = net.encode(parts.views.normalise(images, torch.float32), running_stats=True)
    answers = predictor(parts, net)(images)
    assert torch.equal(answers, net.classify(features, "abc"))
    assert not torch.equal(answers, net.classify(features))
