"""SoftMatch on FixMatch against recorded steps of USB's code, in float64."""

import numpy as np
import pytest
import torch

from daso.learners.fixmatch import FixMatch
from daso.schema import SoftMatchConfidence
from daso.slots.slots import Slots
from daso.slots.softmatch import SoftMatch
from daso.slots.supervised import CrossEntropy
from tests.given_logits import Given, cases, close, state, step, step_inputs

STEPS = {case: found for case, found in cases("softmatch_steps").items() if found[1]["variant"] == "usb"}  # SM1


def make(setting):
    knobs = SoftMatchConfidence(
        momentum=setting["momentum"],
        n_sigma=setting["n_sigma"],
        goal="uniform" if setting["dist_uniform"] else "labeled_ema",
        per_class=setting["per_class"],
    )
    part = SoftMatch(setting["C"], knobs).double()
    if "state_seed" in setting:
        part.predicted.copy_(state(setting["state_seed"], setting["C"], 1.5))
        part.begun.fill_(True)
        part.mean.fill_(setting["mu0"])
        part.variance.fill_(setting["var0"])
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
        close(ours.chosen.weight, theirs["weight"][t], "weight")
        close(part.mean, theirs["mu"][t], "mu")
        close(part.variance, theirs["var"][t], "var")
        close(part.predicted, theirs["p_model"][t], "P")
        close(part.goal, theirs["p_target"][t], "goal")
        close(ours.losses["cons"], theirs["loss_u"][t], "loss_u")
        assert part.low == np.mean(theirs["weight"][t] < 0.5)
        if t in (kept := [0, steps // 2, steps - 1]):
            close(grad[len(y) + len(idx) :, 0], theirs["grad_s"][kept.index(t)], "gradient")


def test_no_number_is_lost_without_variance():
    part = SoftMatch(2, SoftMatchConfidence(momentum=0.0)).float()
    z = torch.tensor([[3.0, -3.0]] * 4)
    target = Slots(CrossEntropy()).pseudo(Slots(CrossEntropy()).guess(z, None, None), None, None, None, ())
    assert part.confident(target, None, 0.95, None).weight.tolist() == [1.0] * 4
