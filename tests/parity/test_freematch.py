"""FreeMatch on FixMatch against recorded steps of the published code and of USB's, in float64."""

import numpy as np
import pytest
import torch

from daso.learners.fixmatch import FixMatch
from daso.schema import FreeMatchConfidence
from daso.slots.freematch import FreeMatch
from daso.slots.slots import Slots
from daso.slots.supervised import CrossEntropy
from tests.given_logits import Given, cases, close, state, step, step_inputs

STEPS = cases("freematch_steps")


def make(setting):
    clip = "sample" if setting.get("dataset") == "svhn" else "global" if setting.get("clip_thresh") else "none"
    knobs = FreeMatchConfidence(
        momentum=setting["momentum"],
        fair_weight=setting["w_f"],
        clip=clip,
        quantile=0.8 if setting.get("use_quantile") else 0.0,
    )
    part = FreeMatch(torch.ones(setting["C"]), knobs).double()
    if "state_seed" in setting:
        seed, scale = setting["state_seed"], setting.get("state_scale", 2)
        part.level.fill_(setting["tau0"])
        part.predicted.copy_(state(seed, setting["C"], scale))
        part.given.copy_(state(seed + 1, setting["C"], scale))
    return part


@pytest.mark.parametrize("case", STEPS)
def test_a_step_on_given_logits(case):
    theirs, setting = STEPS[case]
    part, steps = make(setting), setting["T"]
    learner, slots = FixMatch().double(), Slots(CrossEntropy(), part)
    for t in range(steps):
        z_l, z_w, z_s, y, idx = step_inputs(setting, t)
        ours, grad = step(learner, slots, Given(), np.concatenate([z_l, z_w, z_s])[:, None], y, t, steps, idx=idx)
        np.testing.assert_array_equal(ours.chosen.label, theirs["label"][t])
        np.testing.assert_array_equal(ours.chosen.weight, theirs["mask"][t])
        close(part.level, theirs["tau"][t], "T")
        close(part.predicted, theirs["p_model"][t], "P")
        close(part.given, theirs["label_hist"][t], "h")
        close(part.adapted(), theirs["threshold"][t], "thresholds")
        close(ours.losses["cons"], theirs["loss_u"][t], "loss_u")
        close(ours.losses["fair"], setting["w_f"] * theirs["loss_f"][t], "loss_f")
        if t in (kept := [0, steps // 2, steps - 1]):
            close(grad[len(y) + len(idx) :, 0], theirs["grad_s"][kept.index(t)], "gradient")


def test_two_strong_views_are_one_batch_of_twice_the_size():
    theirs, setting = STEPS["c10_fast"]
    z_l, z_w, z_s, y, idx = step_inputs(setting, 0)
    logits = np.concatenate([z_l, z_w, z_s, z_s])[:, None]
    learner, slots = FixMatch(strong_views=2).double(), Slots(CrossEntropy(), make(setting))
    ours, _ = step(learner, slots, Given(), logits, y, 0, setting["T"], idx=idx)
    close(ours.losses["fair"], setting["w_f"] * theirs["loss_f"][0], "loss_f")


def test_a_class_that_no_weak_view_ever_showed_leaves_the_loss_finite():
    part = FreeMatch(torch.ones(4), FreeMatchConfidence(momentum=0.0, fair_weight=1.0)).float()
    part.given.zero_()
    z = torch.randn(8, 4, requires_grad=True)
    loss = part.consistency_losses(z, torch.ones(8, dtype=torch.bool))["fair"]
    (grad,) = torch.autograd.grad(loss, z)
    assert loss.isfinite()
    assert grad.isfinite().all()
    assert part.consistency_losses(z, torch.zeros(8, dtype=torch.bool))["fair"] == 0


def test_thresholds_frozen_at_one_value_are_the_learner_s():
    part = FreeMatch(torch.ones(10), FreeMatchConfidence(momentum=1.0, fair_weight=0.0))
    part.level.fill_(0.95)
    _, setting = STEPS["c10_fast"]
    slots = [Slots(CrossEntropy(), *parts) for parts in ((), (part,))]
    z_l, z_w, z_s, y, idx = step_inputs(setting, setting["T"] - 1)
    logits = np.concatenate([z_l, z_w, z_s])[:, None]
    base, frozen = (step(FixMatch(0.95).double(), s, Given(), logits, y, 0, 10, idx=idx) for s in slots)
    assert 0 < base[0].chosen.weight.sum() < len(idx)
    assert base[0].losses == frozen[0].losses
    np.testing.assert_array_equal(base[1], frozen[1])
