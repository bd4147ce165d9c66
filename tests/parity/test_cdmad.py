"""CDMAD on FixMatch against recorded steps of the published code, in float64."""

import numpy as np
import pytest
import torch

from daso.learners.fixmatch import FixMatch
from daso.schema import CdmadDebias
from daso.slots.cdmad import Cdmad
from daso.slots.slots import Slots
from daso.slots.supervised import CrossEntropy
from tests.given_logits import Given, cases, close, step

STEPS = cases("cdmad_step")
FLOOR = 1e-8


@pytest.mark.parametrize("case", STEPS)
def test_a_step_on_given_logits(case):
    theirs, setting = STEPS[case]
    first = (setting["debiasstart"] + 1) * setting["eval_step"]
    learner = FixMatch(setting["thr"], strong_views=2, soft=True, floor=FLOOR).double()
    part = Cdmad(torch.ones(setting["C"]), torch.ones(3), 4, first, CdmadDebias())
    slots, net = Slots(CrossEntropy(FLOOR), part).double(), Given()
    for t, logits in enumerate(theirs["logits"]):
        net.blank = torch.from_numpy(theirs["blank"][t])
        ours, grad = step(learner, slots, net, logits[:, None], theirs["labels"][t], t, len(theirs["logits"]))
        close(ours.target.p, theirs["target"][t], "target")
        np.testing.assert_array_equal(ours.target.conf >= setting["thr"], theirs["mask"][t])
        close(ours.losses["cls"], theirs["Lx"][t], "Lx")
        close(ours.losses["cons"], theirs["Lu"][t], "Lu")
        close(grad[:, 0], theirs["grad"][t], "gradient")
        close(part.bias, theirs["blank"][t], "bias")
