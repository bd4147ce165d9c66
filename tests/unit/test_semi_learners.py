"""What PseudoLabel, Mean Teacher, MixMatch, ReMixMatch and USADTM compute, beside their recorded runs."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from daso.learners.meanteacher import MeanTeacher
from daso.learners.mixing import mix, mixing_draws
from daso.learners.mixmatch import MixMatch
from daso.learners.pseudolabel import PseudoLabel
from daso.learners.remixmatch import ReMixMatch, rotate
from daso.learners.usadtm import Usadtm
from daso.schema import (
    DasoConfig,
    MeanTeacherAlgorithm,
    MixMatchAlgorithm,
    PseudoLabelAlgorithm,
    RampShape,
    ReMixMatchAlgorithm,
    UsadtmAlgorithm,
)
from daso.slots.align import DistributionAlignment
from daso.slots.base import Semantic
from daso.slots.daso import Daso
from daso.slots.slots import Slots
from daso.slots.supervised import CrossEntropy
from daso.train.rng import generator
from tests import toy

SETTINGS = {  # with ramp-ups that end within a run of six steps
    "pseudolabel": lambda **knobs: PseudoLabel(PseudoLabelAlgorithm("pseudolabel", threshold=0.3, **knobs)),
    "meanteacher": lambda **knobs: MeanTeacher(MeanTeacherAlgorithm("meanteacher", **knobs)),
    "mixmatch": lambda **knobs: MixMatch(MixMatchAlgorithm("mixmatch", **({"ramp_up": 0.4} | knobs))),
    "remixmatch": lambda **knobs: ReMixMatch(ReMixMatchAlgorithm("remixmatch", **({"ramp_up": 0.4} | knobs))),
}
UNLABELED = toy.LABELED
CHUNKED = {"mixmatch", "remixmatch"}


def usadtm(**knobs):
    return Usadtm(UsadtmAlgorithm("usadtm", **({"threshold": 0.1} | knobs)), toy.DIM, toy.COUNTS.tolist())


def make_daso(**settings):
    config = DasoConfig(name="daso", **({"queue_size": 3, "warmup_steps": 2, "update_every": 2} | settings))
    return Daso(toy.CLASSES, toy.DIM, config, toy.COUNTS.tolist())


def losses(learner, slots, **options):
    outcomes, _ = toy.train(learner, slots, unlabeled=UNLABELED, **options)
    return [outcome.losses for outcome in outcomes]


def forward(learner, slots, nets, step=3, batch=None, dtype=torch.float32):
    batch = batch or toy.batch(step, len(learner.views), dtype, UNLABELED)
    noise = toy.noise(learner, slots, step, UNLABELED)
    return learner(nets, batch, slots, noise, toy.clock(step), slots.flags(step))


def same(one, other):
    return all(
        set(a) == set(b) and all(torch.equal(a[name], b[name]) for name in a) for a, b in zip(one, other, strict=True)
    )


class Silent(Semantic):
    """A second opinion that is never given, by the same passes of the networks."""

    wants_labeled_features = True

    def observe(self, nets, batch, clock, feats_l):
        pass

    def blend(self, p, feats_w, flags):
        return p, None

    def count(self, label):
        pass

    def losses(self, feats, flags):
        return {}


@pytest.mark.parametrize("name", ["meanteacher", "remixmatch"])
def test_daso_of_strength_zero_changes_nothing_but_which_images_share_a_pass(name):
    zero = Slots(CrossEntropy(), make_daso(blend=0, align_weight=0))
    plain = losses(SETTINGS[name](), Slots(CrossEntropy()))
    assert same(losses(SETTINGS[name](), Slots(CrossEntropy(), Silent())), losses(SETTINGS[name](), zero))
    assert not same(plain, losses(SETTINGS[name](), zero))


@pytest.mark.parametrize("name", SETTINGS)
def test_daso_of_full_strength_changes_the_pseudo_labels_after_its_warmup(name):
    align = 1.0 if name == "remixmatch" else 0.0
    outcomes, _ = toy.train(
        SETTINGS[name](), Slots(CrossEntropy(), make_daso(align_weight=align, blend=0.5)), unlabeled=UNLABELED
    )
    assert [outcome.target.semantic is None for outcome in outcomes] == [True, True, False, False, False, False]
    assert any(not torch.equal(o.target.conf, o.target.linear.conf) for o in outcomes[2:])
    assert ["align" in outcome.losses for outcome in outcomes] == [name == "remixmatch" and t >= 2 for t in range(6)]


@pytest.mark.parametrize("shape", RampShape)
@pytest.mark.parametrize("name", SETTINGS)
def test_the_consistency_loss_is_scaled_by_weight_and_ramp_up_alone(name, shape):
    def cons(step, **knobs):
        learner = SETTINGS[name](**({"ramp_up": 0.5, "ramp_shape": shape} | knobs)).to(torch.float64)
        nets = toy.nets(torch.float64, learner.heads)
        return forward(learner, Slots(CrossEntropy()), nets, step, dtype=torch.float64).losses["cons"].item()

    x = 3 / 5  # at step 3 of 10, of a ramp-up over half of them
    ramp = x if shape is RampShape.linear else np.exp(-5 * (1 - x) ** 2)
    full = cons(3, ramp_up=0.3)
    assert cons(3) == pytest.approx(ramp * full, rel=1e-12)
    assert cons(3, cons_weight=7.0, ramp_up=0.3) == pytest.approx(7 * cons(3, cons_weight=1.0, ramp_up=0.3), rel=1e-12)
    assert full > 0


def test_pseudo_label_trains_the_view_that_it_labels():
    nets, batch = toy.nets(), toy.batch(3, 1)
    nets.student.eval()  # images do not meet in batch statistics
    threshold = nets.student.predict(batch.u[0]).softmax(1).amax(1).median().item()
    learner = PseudoLabel(PseudoLabelAlgorithm("pseudolabel", threshold=threshold))
    batch.u[0].requires_grad_()
    outcome = learner(nets, batch, Slots(CrossEntropy()), {}, toy.clock(3), ())
    (grad,) = torch.autograd.grad(outcome.losses["cons"], batch.u)
    confident = outcome.target.conf >= threshold
    assert 0 < confident.sum() < len(confident)
    assert torch.equal(grad.abs().sum((1, 2, 3)) > 0, confident)


def test_the_mean_teacher_s_target_has_no_gradient_and_comes_from_the_second_view():
    learner, nets, batch = SETTINGS["meanteacher"](), toy.nets(), toy.batch(3)
    outcome = forward(learner, Slots(CrossEntropy()), nets, batch=batch)
    expected = nets.teacher.predict(batch.u[1]).softmax(1)
    assert torch.equal(outcome.target.p, expected)
    assert not outcome.target.p.requires_grad


def passes(net):
    counts = {int(b) for name, b in net.named_buffers() if name.endswith("num_batches_tracked")}
    (count,) = counts
    return count


@pytest.mark.parametrize(
    ("name", "student", "teacher", "with_daso"),
    [
        ("pseudolabel", 1, 0, (1, 1)),
        ("meanteacher", 1, 1, (1, 1)),
        ("mixmatch", 5, 0, (5, 1)),
        ("remixmatch", 7, 0, (6, 1)),
    ],
)
def test_a_step_takes_as_many_passes_as_the_reference_s(name, student, teacher, with_daso):
    learner = SETTINGS[name]()
    nets = toy.nets(heads=learner.heads)
    forward(learner, Slots(CrossEntropy()), nets)
    assert (passes(nets.student), passes(nets.teacher)) == (student, teacher)
    nets = toy.nets(heads=learner.heads)
    forward(learner, Slots(CrossEntropy(), make_daso(align_weight=0)), nets)
    assert (passes(nets.student), passes(nets.teacher)) == with_daso


def test_mean_teacher_makes_labeled_features_in_its_own_pass_only_if_the_slot_can_use_them():
    learner, nets = SETTINGS["meanteacher"](), toy.nets()
    batch = toy.batch(3, 2, unlabeled=UNLABELED)
    slot = make_daso(align_weight=0, queue_size=toy.LABELED)
    forward(learner, Slots(CrossEntropy(), slot), nets, batch=batch)
    joint = toy.nets().teacher.encode(torch.cat([batch.x, batch.u[1]]))[: toy.LABELED]
    expected = torch.stack([joint[batch.y == k].mean(0) for k in batch.y.unique()])
    torch.testing.assert_close(slot.prototypes.means()[batch.y.unique()], expected)


def test_without_an_ema_encoder_prototypes_are_the_student_s_features():
    nets, slot, batch = toy.nets(), make_daso(ema_encoder=False), toy.batch(0)
    with torch.no_grad():
        for p in nets.teacher.parameters():
            p.zero_()
    slot.observe(nets, batch, toy.clock(0), None)
    assert slot.prototypes.means().abs().sum() > 0
    assert not slot.wants_labeled_features


def test_an_unbalanced_queue_has_the_labeled_set_s_proportions():
    assert make_daso(balanced_queue=False).prototypes.caps.tolist() == [6, 3, 2, 1]  # of 4 x 3 places, 12 6 3 2 images
    assert make_daso().prototypes.caps.tolist() == [3, 3, 3, 3]


@settings(max_examples=100)
@given(rows=st.integers(1, 9), seed=st.integers(0, 99))
def test_a_mixed_row_is_at_least_half_itself(rows, seed):
    draws = mixing_draws(rows, 0.75)
    noise = {name: draw(generator(seed, name)) for name, draw in draws.items()}
    mixed = mix(torch.eye(rows, dtype=torch.float64), noise)
    torch.testing.assert_close(mixed.sum(1), torch.ones(rows, dtype=torch.float64))
    assert (mixed.diagonal() >= 0.5).all()


def test_mixing_weights_follow_the_beta_distribution():
    draw = mixing_draws(1, 0.75)["lam"]
    sample = np.array([draw(generator(0, "lam", step)).item() for step in range(2000)])
    assert sample.mean() == pytest.approx(0.5, abs=0.03)
    assert sample.var() == pytest.approx(1 / (4 * (2 * 0.75 + 1)), abs=0.01)  # of Beta(a, a)


def test_rotation_equals_numpy_s():
    images, turns = torch.arange(4 * 3 * 5 * 5).reshape(4, 3, 5, 5), torch.tensor([2, 0, 3, 1])
    expected = [np.rot90(image, k, (1, 2)) for image, k in zip(images.numpy(), turns.tolist(), strict=True)]
    np.testing.assert_array_equal(rotate(images, turns), expected)


@pytest.mark.parametrize("name", sorted(CHUNKED))
@pytest.mark.parametrize("mu", [1, 2])
def test_mixing_learners_take_any_whole_number_of_unlabeled_images_per_labeled_one(name, mu):
    outcomes, _ = toy.train(SETTINGS[name](), Slots(CrossEntropy()), 2, unlabeled=mu * toy.LABELED)
    assert all(loss.isfinite() for outcome in outcomes for loss in outcome.losses.values())


@pytest.mark.parametrize("name", sorted(CHUNKED))
def test_the_accuracy_of_mixed_images_has_a_name_of_its_own(name):
    assert SETTINGS[name]().train_accuracy == "top1_mixed"


def test_usadtm_trains_towards_prototypes_from_its_warmup_on():
    outcomes, _ = toy.train(usadtm(warmup=0.5), Slots(CrossEntropy()), unlabeled=UNLABELED)
    assert [bool(outcome.losses["cons"] > 0) for outcome in outcomes] == [False] * 3 + [True] * 3
    assert all(torch.equal(outcome.target.label, outcome.target.p.argmax(1)) for outcome in outcomes)


def test_usadtm_s_mutual_information_starts_when_it_is_told_to():
    outcomes, _ = toy.train(usadtm(mi_start=0.5), Slots(CrossEntropy()), unlabeled=UNLABELED)
    assert [bool(outcome.losses["mi"] != 0) for outcome in outcomes] == [False] * 3 + [True] * 3


def test_usadtm_s_prototypes_can_be_the_teacher_s():
    nets, batch = toy.nets(), toy.batch(0, 3)
    learner = usadtm(ema_prototypes=True)
    forward(learner, Slots(CrossEntropy()), nets, 0, batch)
    feats = toy.nets().teacher.encode(batch.x)
    expected = torch.stack([feats[batch.y == k].mean(0) for k in batch.y.unique()])
    torch.testing.assert_close(learner.prototypes.means()[batch.y.unique()], expected)
    assert passes(nets.teacher) == 1


def test_alignment_comes_before_sharpening():
    align = DistributionAlignment(toy.COUNTS, window=3)
    nets, batch = toy.nets(heads=SETTINGS["remixmatch"]().heads), toy.batch(0, 3, unlabeled=UNLABELED)
    target = forward(SETTINGS["remixmatch"](), Slots(CrossEntropy(), align), nets, 0, batch).target
    p = toy.nets(heads=SETTINGS["remixmatch"]().heads).student.predict(batch.u[0]).softmax(1).detach()
    q = DistributionAlignment(toy.COUNTS, window=3).align(p) ** 2
    torch.testing.assert_close(target.p, q / q.sum(1, keepdim=True))


@pytest.mark.parametrize("make", [*SETTINGS.values(), usadtm])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_losses_follow_the_dtype_of_the_step(make, dtype):
    outcomes, _ = toy.train(make(), Slots(CrossEntropy()), 2, dtype, unlabeled=UNLABELED)
    assert {loss.dtype for outcome in outcomes for loss in outcome.losses.values()} == {dtype}
    assert {outcome.target.p.dtype for outcome in outcomes} == {dtype}


@pytest.mark.parametrize("make", [*SETTINGS.values(), usadtm])
def test_under_bfloat16_autocast_losses_and_pseudo_labels_are_float32(make):
    learner = make()
    nets = toy.nets(heads=learner.heads)
    align = 1.0 if "rot" in learner.heads else 0.0
    slots = Slots(CrossEntropy(), make_daso(align_weight=align))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outcome = forward(learner, slots, nets)
    assert {loss.dtype for loss in outcome.losses.values()} == {torch.float32}
    assert outcome.target.p.dtype == torch.float32
