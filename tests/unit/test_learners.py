import numpy as np
import pytest
import torch

from daso.learners.fixmatch import FixMatch
from daso.learners.supervised import Supervised
from daso.schema import DasoConfig
from daso.slots.align import DistributionAlignment
from daso.slots.daso import Daso
from daso.slots.slots import Slots
from daso.slots.supervised import CrossEntropy, LogitAdjusted
from tests import toy


def train(learner, slots, steps=6):
    """Losses of every step on the toy batches."""
    return [outcome.losses for outcome in toy.train(learner, slots, steps)[0]]


def make_daso(**settings):
    config = DasoConfig(name="daso", queue_size=3, warmup_steps=2, update_every=2, **settings)
    return Daso(toy.CLASSES, toy.DIM, config)


def forward(learner, slots, nets, step=0, dtype=torch.float32):
    return learner(nets, toy.batch(step, dtype=dtype), slots, {}, toy.clock(step), slots.flags(step))


def test_daso_of_full_strength_changes_the_run_after_its_warmup():
    plain, with_slots = (
        train(FixMatch(0.3), Slots(CrossEntropy())),
        train(FixMatch(0.3), Slots(CrossEntropy(), make_daso())),
    )
    assert all(torch.equal(with_slots[t]["cons"], plain[t]["cons"]) for t in range(2))
    assert "align" not in with_slots[1]
    assert with_slots[2]["align"] > 0
    assert with_slots[5]["cons"] != plain[5]["cons"]


def test_consistency_averages_over_all_unlabeled_images_confident_or_not():
    nets, batch = toy.nets(torch.float64), toy.batch(0, dtype=torch.float64)
    outcome = FixMatch(0.3)(nets, batch, Slots(CrossEntropy()), {}, toy.clock(0), ())
    z = toy.nets(torch.float64).student.predict(torch.cat([batch.x, *batch.u])).detach().numpy()
    weak, strong = z[toy.LABELED :].reshape(2, toy.UNLABELED, toy.CLASSES)
    p = np.exp(weak) / np.exp(weak).sum(1, keepdims=True)
    log_q = strong - np.log(np.exp(strong).sum(1, keepdims=True))
    confident = p.max(1) >= 0.3
    assert 0 < confident.sum() < toy.UNLABELED
    expected = -(confident * log_q[np.arange(toy.UNLABELED), p.argmax(1)]).sum() / toy.UNLABELED
    assert outcome.losses["cons"].item() == pytest.approx(expected, rel=1e-12)


def test_no_confident_pseudo_label_means_no_consistency_loss():
    outcome = forward(FixMatch(1.0), Slots(CrossEntropy()), toy.nets())
    assert outcome.losses["cons"] == 0


def test_the_consistency_loss_has_no_gradient_through_the_weak_view():
    nets, batch = toy.nets(), toy.batch(0)
    nets.student.eval()  # images do not meet in batch statistics
    weak, strong = (u.requires_grad_() for u in batch.u)
    outcome = FixMatch(0.0)(nets, batch, Slots(CrossEntropy()), {}, toy.clock(0), ())
    weak_grad, strong_grad = torch.autograd.grad(outcome.losses["cons"], [weak, strong])
    assert weak_grad.abs().sum() == 0
    assert strong_grad.abs().sum() > 0


def test_all_views_share_one_pass_of_the_student():
    nets = toy.nets()
    forward(FixMatch(), Slots(CrossEntropy(), make_daso()), nets)
    counts = [b for name, b in nets.student.named_buffers() if name.endswith("num_batches_tracked")]
    assert {int(n) for n in counts} == {1}


def test_supervised_learns_from_labeled_images_alone():
    with_unlabeled, without = toy.batch(0), toy.batch(0)._replace(u=())
    a, b = (
        Supervised()(toy.nets(), batch, Slots(CrossEntropy()), {}, toy.clock(0), ())
        for batch in (with_unlabeled, without)
    )
    assert torch.equal(a.losses["cls"], b.losses["cls"])
    assert a.target is None
    assert Supervised.views == ()
    assert Supervised.evaluates_student


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_everything_follows_the_dtype_of_the_step(dtype):
    slots = Slots(LogitAdjusted(toy.COUNTS, 1.0), DistributionAlignment(toy.COUNTS), make_daso()).to(dtype)
    nets = toy.nets(dtype)
    for step in range(3):
        outcome = forward(FixMatch(), slots, nets, step, dtype)
    assert {loss.dtype for loss in outcome.losses.values()} == {dtype}
    assert outcome.target.p.dtype == outcome.target.semantic.conf.dtype == dtype
    assert {b.dtype for b in slots.buffers()} == {dtype, torch.int64}


def test_under_bfloat16_autocast_losses_and_pseudo_labels_are_float32():
    slots, nets = (
        Slots(LogitAdjusted(toy.COUNTS, 1.0), DistributionAlignment(toy.COUNTS), make_daso()),
        toy.nets(),
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for step in range(3):
            outcome = forward(FixMatch(), slots, nets, step)
    assert outcome.logits_l.dtype == torch.bfloat16
    assert {loss.dtype for loss in outcome.losses.values()} == {torch.float32}
    assert outcome.target.p.dtype == torch.float32
