"""ACR on FixMatch against recorded steps of the published code, in float64."""

import numpy as np
import pytest
import torch

from daso.learners.fixmatch import FixMatch
from daso.schema import AcrDebias
from daso.slots.acr import Acr
from daso.slots.priors import log_prior
from daso.slots.slots import Slots
from daso.slots.supervised import CrossEntropy
from tests.compose import config_of
from tests.given_logits import Given, cases, close, step
from tests.toy import facts

STEPS = cases("acr_step")


@pytest.mark.parametrize("case", STEPS)
def test_a_step_on_given_logits(case):
    theirs, setting = STEPS[case]
    every, threshold, steps = setting["eval_step"], setting["thr"], len(theirs["logits"])
    knobs = AcrDebias(
        tau=setting["tau1"],
        tau_fixed=setting["tau12"],
        tau_labeled=setting["tau2"],
        temperature=setting["T"],
        every=every,
        momentum=setting["ema_u"],
    )
    own, size = torch.from_numpy(theirs["in_labeled"]).bool().flatten(), theirs["in_labeled"].shape[1]
    part = Acr(torch.from_numpy(theirs["counts"]), own, threshold, (setting["est_epoch"] + 1) * every, knobs).double()
    learner, slots = FixMatch(threshold, strong_views=2).double(), Slots(CrossEntropy(), part)
    part.estimate.copy_(torch.from_numpy(theirs["u_py0"]))
    for t, logits in enumerate(theirs["logits"]):
        idx = np.arange(size) + t * size
        heads = np.ascontiguousarray(logits.swapaxes(0, 1))
        ours, grad = step(learner, slots, Given(("cls", "bal")), heads, theirs["labels"][t], t, steps, idx=idx)
        np.testing.assert_array_equal(ours.target.label, theirs["label"][t])
        chosen = slots.confidence.confident(ours.target, None, threshold, None)
        np.testing.assert_array_equal(chosen.weight, theirs["mask_std"][t])
        losses = {"cls": "Lx", "cons": "Lu", "bal_cls": "Lx_b", "bal_cons": "Lu_b"}
        for name, key in losses.items():
            close(ours.losses[name], theirs[key][t], key)
        close(part.estimate, theirs["u_py"][t], "u_py")
        close(part.distance, theirs["count_KL"][t], "count_KL")
        close(log_prior(part.prior(), part.tau), theirs["adj_l1"][t], "adj_l1")
        if np.isfinite(theirs["tau"][t]):
            close(part.tau, theirs["tau"][t], "tau")
        close(grad.swapaxes(0, 1), theirs["grad"][t], "gradient")


def test_labeled_images_in_the_unlabeled_set_are_left_out_of_the_estimate():
    config = config_of("dataset=cifar10", "algorithm=fixmatch_acr")
    part = Acr.of(config.debias, facts(config, torch.full((10,), 3), unlabeled=50, shared=30))
    np.testing.assert_array_equal(part.own, np.arange(50) < 30)
