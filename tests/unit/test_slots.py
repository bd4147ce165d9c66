import copy

import pytest
import torch

from daso.errors import UserError
from daso.schema import DasoConfig, EmaBn
from daso.slots.align import DistributionAlignment
from daso.slots.base import Align, Auxiliary, Refine, Semantic
from daso.slots.daso import Daso
from daso.slots.losses import cosine, cross_entropy, labels, sharpen
from daso.slots.slots import Slots
from daso.slots.supervised import CrossEntropy, LogitAdjusted
from daso.types import Feats, Guess, Labels, Sizes
from tests import toy

ON, OFF = ("semantic",), ()


def make_daso(**settings):
    settings = {"queue_size": 3, "warmup_steps": 4, "update_every": 2} | settings
    return Daso(toy.CLASSES, toy.DIM, DasoConfig(name="daso", **settings))


@pytest.fixture
def feats():
    torch.manual_seed(0)
    return Feats(torch.randn(toy.LABELED, toy.DIM), torch.randn(8, toy.DIM), (torch.randn(8, toy.DIM),))


@pytest.fixture
def p():
    torch.manual_seed(1)
    return torch.randn(8, toy.CLASSES).softmax(1)


@pytest.fixture
def daso():
    slot = make_daso()
    torch.manual_seed(2)
    slot.prototypes.push(torch.randn(12, toy.DIM), torch.arange(12) % toy.CLASSES)
    return slot


# --- the facade


def test_places_come_in_the_order_align_sharpen_refine_blend():
    seen = []

    class AlignTo(Align):
        def align(self, p):
            seen.append(("align", p))
            return torch.tensor([[0.2, 0.8]])

        def soften(self, temperature):
            seen.append(("soften", temperature))

    class RefineTo(Refine):
        def refine(self, p, idx, clock, flags):
            seen.append(("refine", p))
            return torch.tensor([[0.7, 0.3]])

    class BlendTo(Semantic):
        def blend(self, p, feats_w, flags):
            seen.append(("blend", p))
            return torch.tensor([[0.1, 0.9]]), Labels(torch.tensor([1]), torch.tensor([0.9]))

        def count(self, label):
            seen.append(("count", label))

        def observe(self, nets, batch, clock, feats_l):
            seen.append(("observe", feats_l))

        def losses(self, feats, flags):
            return {}

    slots = Slots(CrossEntropy(), AlignTo(), RefineTo(), BlendTo())
    target = slots.pseudo(Guess(torch.tensor([[0.5, 0.5]])), torch.zeros(1, 1), torch.zeros(1), toy.clock(0), OFF, 0.5)
    assert [name for name, _ in seen] == ["align", "refine", "blend", "count"]
    torch.testing.assert_close(seen[1][1], torch.tensor([[0.04, 0.64]]) / 0.68)  # what align gave, squared, normalised
    assert seen[2][1].tolist() == [[pytest.approx(0.7), pytest.approx(0.3)]]
    assert target.linear.label.tolist() == [0]  # after refine, before the blend
    assert target.label.tolist() == [1] == seen[3][1].tolist()
    assert target.conf.item() == pytest.approx(0.9)


def test_empty_slots_leave_predictions_as_they_are(p, feats):
    slots = Slots(CrossEntropy())
    slots.observe(None, None, toy.clock(0))
    target = slots.pseudo(Guess(p), feats.w, torch.arange(8), toy.clock(0), OFF)
    assert torch.equal(target.p, p)
    assert torch.equal(target.label, p.argmax(1))
    assert target.semantic is None
    assert slots.aux(None, feats, None, target, {}, toy.clock(0), OFF) == {}
    assert slots.flags(10**6) == OFF
    assert slots.draws(Sizes(2, 4)) == {}


def test_pseudo_labels_carry_no_gradient(p, feats, daso):
    daso.hist.fill_(1)
    inputs = p.requires_grad_(), feats.w.requires_grad_()
    target = Slots(CrossEntropy(), DistributionAlignment(torch.ones(toy.CLASSES)), daso).pseudo(
        Guess(inputs[0]), inputs[1], torch.arange(8), toy.clock(9), ON
    )
    assert not target.p.requires_grad
    assert not target.conf.requires_grad


class Second(Auxiliary):
    """Keeps what the facade's blend makes of a uniform distribution."""

    def aux(self, nets, feats, batch, target, noise, clock, flags, blend):
        self.blended = blend(torch.full((8, toy.CLASSES), 1 / toy.CLASSES), feats.w)
        return {"second": noise["second"].sum()}

    def draws(self, sizes):
        return {"second": lambda g: torch.rand(sizes.unlabeled, generator=g)}


def test_losses_and_noise_of_extra_slots_join(feats, daso):
    slots = Slots(CrossEntropy(), daso, Second())
    noise = {name: draw(torch.Generator()) for name, draw in slots.draws(Sizes(2, 5)).items()}
    assert noise["second"].shape == (5,)
    losses = slots.aux(None, feats, None, None, noise, toy.clock(0), ON)
    assert list(losses) == ["align", "second"]


def test_extra_slots_get_the_same_blend_without_being_counted(feats, daso):
    daso.hist.fill_(1)
    slots = Slots(CrossEntropy(), daso, Second())
    slots.aux(None, feats, None, None, {"second": torch.zeros(1)}, toy.clock(0), ON)
    torch.testing.assert_close(slots.extras[0].blended, daso.similarity(feats.w).softmax(1))
    assert daso.pending.sum() == 0


def test_every_slot_learns_of_a_new_labeled_set(daso):
    slots = Slots(LogitAdjusted(toy.COUNTS, 1.0), daso)
    slots.relabel(torch.tensor([5, 5, 5, 5]))
    assert slots.labeled.counts.tolist() == [5, 5, 5, 5]
    assert daso.prototypes.fill().sum() == 0


# --- labeled losses


def test_logit_adjustment_follows_the_current_counts():
    logits, y = torch.zeros(4, 4), torch.tensor([0, 1, 2, 3])
    slot = LogitAdjusted(toy.COUNTS, 1.0)
    slot.relabel(torch.tensor([1, 1, 1, 1]))
    assert torch.equal(slot.supervised(logits, y, OFF), CrossEntropy().supervised(logits, y, OFF))


def test_logit_adjustment_keeps_counts_of_its_own():
    counts = toy.COUNTS.clone()
    LogitAdjusted(counts, 1.0).relabel(torch.tensor([1, 1, 1, 1]))
    assert torch.equal(counts, toy.COUNTS)


# --- distribution alignment


def test_alignment_makes_a_constant_prediction_the_goal():
    goal = torch.tensor([0.7, 0.1, 0.1, 0.1])
    align = DistributionAlignment(goal)
    p = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).expand(5, 4)
    torch.testing.assert_close(align.align(p), goal.expand(5, 4), rtol=1e-4, atol=1e-4)


def test_alignment_forgets_batches_older_than_its_window(p):
    long, short = (DistributionAlignment(toy.COUNTS, window=2) for _ in range(2))
    long.align(p.flip(1))
    for align in (long, short):
        align.align(p)
        align.out = align.align(p.roll(1, 1))
    torch.testing.assert_close(long.out, short.out)


def test_alignment_temperature_zero_aims_at_the_uniform_distribution(p):
    uniform = DistributionAlignment(torch.ones(toy.CLASSES))
    torch.testing.assert_close(DistributionAlignment(toy.COUNTS, temperature=0.0).align(p), uniform.align(p))


# --- DASO


@pytest.mark.parametrize(("step", "on"), [(0, False), (3, False), (4, True), (5, True)])
def test_blend_begins_after_the_warmup_steps(step, on):
    assert Slots(CrossEntropy(), make_daso()).flags(step) == (ON if on else OFF)


def test_warmup_leaves_predictions_and_losses_alone(p, feats, daso):
    daso.hist.fill_(1)
    blended, semantic = daso.blend(p, feats.w, OFF)
    assert torch.equal(blended, p)
    assert semantic is None
    assert daso.losses(feats, OFF) == {}


def test_an_empty_histogram_means_no_blend_yet(p, feats, daso):
    blended, semantic = daso.blend(p, feats.w, ON)
    assert torch.equal(blended, p)
    assert semantic is not None


def test_share_is_one_for_the_most_frequent_class_and_zero_for_an_absent_one(daso):
    daso.hist.copy_(torch.tensor([8, 4, 2, 0]))
    daso.t_dist = 0.5
    assert daso.weights(torch.float64).tolist() == [1.0, 0.25, 0.0625, 0.0]


def test_share_is_chosen_by_the_linear_label(p, feats, daso):
    daso.hist.copy_(torch.tensor([8, 0, 0, 8]))
    blended, _ = daso.blend(p, feats.w, ON)
    q = daso.similarity(feats.w).softmax(1)
    semantic = torch.isin(p.argmax(1), torch.tensor([0, 3]))
    torch.testing.assert_close(blended, torch.where(semantic[:, None], q, p))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_fixed_share_ignores_the_histogram(share, p, feats):
    slot = make_daso(blend=share)
    slot.prototypes.push(torch.randn(4, toy.DIM), torch.arange(4))
    q = slot.similarity(feats.w).softmax(1)
    torch.testing.assert_close(slot.blend(p, feats.w, ON)[0], (1 - share) * p + share * q)


@pytest.mark.parametrize("value", ["linear", -0.1, 1.5, "", None])
def test_an_impossible_share_is_refused(value):
    with pytest.raises(UserError, match=r"daso\.blend="):
        DasoConfig(name="daso", blend=value)


def test_a_share_written_as_text_is_a_number():
    assert DasoConfig(name="daso", blend="0.5").blend == 0.5
    assert DasoConfig(name="daso").blend == "dist"


def test_a_class_without_features_has_similarity_zero(feats):
    assert make_daso().similarity(feats.w).eq(0).all()


def test_counts_come_into_use_at_full_periods_only(daso):
    nets, in_force = toy.nets(), []
    for step in range(5):
        daso.observe(nets, toy.batch(step), toy.clock(step), None)
        in_force.append(daso.hist.tolist())
        daso.count(torch.tensor([step % 4]))
    assert in_force == [[0] * 4, [0] * 4, [1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1]]


def test_prototypes_come_from_the_teacher(daso):
    nets, batch, slot = toy.nets(), toy.batch(0), make_daso(queue_size=9)
    slot.observe(nets, batch, toy.clock(0), None)
    given = make_daso(queue_size=9)
    given.observe(None, batch, toy.clock(0), copy.deepcopy(nets.student).encode(batch.x))
    assert torch.equal(slot.prototypes.means(), given.prototypes.means())  # teacher = student at the start


@pytest.mark.parametrize("mode", list(EmaBn))
def test_running_statistics_of_the_teacher_move_in_the_official_mode_only(mode):
    nets = toy.nets()
    before = {name: buffer.clone() for name, buffer in nets.teacher.named_buffers()}
    make_daso(ema_bn=mode).observe(nets, toy.batch(0), toy.clock(0), None)
    moved = any(not torch.equal(buffer, before[name]) for name, buffer in nets.teacher.named_buffers())
    assert moved == (mode is EmaBn.official)


def test_alignment_loss_trains_the_strong_view_alone(feats, daso):
    weak, strong = feats.w.requires_grad_(), feats.s[0].requires_grad_()
    loss = daso.losses(Feats(feats.l, weak, (strong,)), ON)["align"]
    loss.backward()
    assert weak.grad is None
    assert strong.grad.abs().sum() > 0
    q = torch.nn.functional.cosine_similarity(weak[:, None], daso.prototypes.means(), dim=2) / daso.t_proto
    z = torch.nn.functional.cosine_similarity(strong[:, None], daso.prototypes.means(), dim=2) / daso.t_proto
    torch.testing.assert_close(loss, -(q.softmax(1) * z.log_softmax(1)).sum(1).mean())


def test_alignment_loss_is_proportional_to_its_weight_and_absent_at_zero(feats, daso):
    one = daso.losses(feats, ON)["align"]
    daso.align_weight = 0.25
    torch.testing.assert_close(daso.losses(feats, ON)["align"], 0.25 * one)
    daso.align_weight = 0.0
    assert daso.losses(feats, ON) == {}


def test_a_new_phase_forgets_features_and_counts(daso):
    daso.hist.fill_(1)
    daso.pending.fill_(1)
    daso.relabel(toy.COUNTS)
    for name, buffer in make_daso().state_dict().items():
        assert torch.equal(buffer, daso.state_dict()[name]), name


def test_daso_saved_between_two_counts_continues_bit_for_bit():
    def go(slot, steps):
        for step in steps:
            batch = toy.batch(step)
            slot.observe(None, batch, toy.clock(step), batch.x.flatten(1)[:, : toy.DIM])
            p, _ = slot.blend(batch.u[0].flatten(1)[:, : toy.CLASSES].softmax(1), batch.u[1].flatten(1)[:, :64], ON)
            slot.count(p.argmax(1))

    whole, first, second = make_daso(), make_daso(), make_daso()
    go(whole, range(8))
    go(first, range(3))
    second.load_state_dict(first.state_dict())
    go(second, range(3, 8))
    for name, buffer in whole.state_dict().items():
        assert torch.equal(buffer, second.state_dict()[name]), name


# --- shared functions


def test_cosine_of_a_zero_row_is_zero():
    assert cosine(torch.zeros(1, 3), torch.ones(2, 3)).tolist() == [[0.0, 0.0]]


def test_similarities_stay_float32_under_autocast(feats, daso):
    expected = daso.similarity(feats.w)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(daso.similarity(feats.w), expected)


def test_losses_of_bfloat16_logits_are_float32():
    logits = torch.randn(4, 3).to(torch.bfloat16)
    assert cross_entropy(logits, torch.tensor([0, 1, 2, 0])).dtype == torch.float32
    assert cross_entropy(logits, logits.softmax(1)).dtype == torch.float32


def test_sharpening_with_half_the_temperature_squares():
    torch.testing.assert_close(sharpen(torch.tensor([[0.6, 0.4]]), 0.5), torch.tensor([[0.36, 0.16]]) / 0.52)


def test_labels_are_the_largest_probabilities():
    label, conf = labels(torch.tensor([[0.6, 0.4], [0.1, 0.9]]))
    assert label.tolist() == [0, 1]
    assert conf.tolist() == [pytest.approx(0.6), pytest.approx(0.9)]
