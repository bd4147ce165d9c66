"""SimPro on FixMatch against recorded steps of the published code, in float64."""

import numpy as np
import pytest
import torch

from daso.learners.fixmatch import FixMatch
from daso.schema import SimProDebias
from daso.slots.priors import log_prior
from daso.slots.simpro import SimPro
from daso.slots.slots import Slots
from tests.given_logits import Given, cases, close, step

STEPS = cases("simpro_step")


@pytest.mark.parametrize("case", STEPS)
def test_a_step_on_given_logits(case):
    theirs, setting = STEPS[case]
    every, tau = setting["eval_step"], setting["tau"]
    weight = setting["l_batches"] / setting["u_batches"]
    knobs = SimProDebias(tau=tau, every=every, momentum=setting["ema_u"], labeled_weight=weight)
    learner = FixMatch(setting["thr"], strong_views=2, soft=True, labeled_strong=True).double()
    part = SimPro(torch.from_numpy(theirs["counts"]), 100, (setting["B"], 8), knobs).double()
    slots = Slots(part)
    for t, logits in enumerate(theirs["logits"]):
        y = theirs["labels"][t]
        ours, grad = step(learner, slots, Given(), logits[:, None], y, t, len(theirs["logits"]), extra=1)
        close(ours.target.p, theirs["pseudo"][t], "pseudo")
        np.testing.assert_array_equal(ours.target.conf >= setting["thr"], theirs["mask"][t])
        close(log_prior(part.unlabeled_prior, tau), theirs["adj_u"][t], "adj_u")
        close(part.offset_labeled(), theirs["adj"][t], "adj")
        close(ours.losses["cls"], theirs["Lx"][t], "Lx")
        close(ours.losses["cons"], theirs["Lu"][t], "Lu")
        close(part.mass, theirs["dis_unlabeled"][t], "mass")
        close(part.seen, theirs["count_labeled"][t], "seen")
        close(grad[:, 0], theirs["grad"][t], "gradient")
        if t % every == 0 and t:
            close(part.unlabeled_prior, theirs["pi_u"][t // every - 1], "pi_u")
            close(part.prior, theirs["phi"][t // every - 1], "phi")
