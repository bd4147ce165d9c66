"""DebiasPL on FixMatch against recorded steps of the published code, in float64."""

import numpy as np
import pytest

from daso.learners.fixmatch import FixMatch
from daso.schema import DebiasPlDebias
from daso.slots.debiaspl import DebiasPl
from daso.slots.slots import Slots
from daso.slots.supervised import CrossEntropy
from tests.given_logits import Given, cases, close, state, step, step_inputs

STEPS = {case: found for case, found in cases("debiaspl_steps").items() if found[1]["variant"] == "authors"}


@pytest.mark.parametrize("case", STEPS)
def test_a_step_on_given_logits(case):
    theirs, setting = STEPS[case]
    knobs = DebiasPlDebias(strength=setting["tau"], momentum=setting["momentum"], cld_weight=1.0)
    part = DebiasPl(setting["C"], knobs)
    learner, slots = FixMatch(setting["threshold"]).double(), Slots(CrossEntropy(), part).double()
    if "state_seed" in setting:
        part.mean.copy_(state(setting["state_seed"], setting["C"], 2))
    steps = setting["T"]
    for t in range(steps):
        z_l, z_w, z_s, y, idx = step_inputs(setting, t)
        logits = np.concatenate([z_l, z_w, z_s])[:, None]
        ours, grad = step(learner, slots, Given(), logits, y, t, steps, idx=idx)
        np.testing.assert_array_equal(ours.target.label, theirs["label"][t])
        np.testing.assert_array_equal(ours.target.conf >= setting["threshold"], theirs["mask"][t])
        close(ours.target.conf, theirs["conf"][t], "conf")
        close(ours.losses["cons"], theirs["loss_u"][t], "loss_u")
        close(ours.losses["cld"], theirs["loss_cld"][t], "loss_cld")
        close(part.mean, theirs["qhat"][t], "qhat")
        if t in (kept := [0, steps // 2, steps - 1]):
            at = kept.index(t)
            close(grad[len(y) + len(idx) :, 0], theirs["grad_s"][at] + theirs["grad_s_cld"][at], "gradient")
