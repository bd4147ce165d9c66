"""SAW against recorded weights and steps of the published code and of USB's, in float64."""

import numpy as np
import pytest
import torch

from daso.learners.fixmatch import FixMatch
from daso.schema import CountedBy, SawBalance, Unseen
from daso.slots.saw import Saw
from daso.slots.slots import Slots
from daso.slots.supervised import CrossEntropy
from daso.types import Labels, Target
from tests import toy
from tests.given_logits import Given, cases, close, pool_inputs, step, step_inputs

STEPS = cases("saw_steps")
AUTHORS = [case for case, (_, s) in STEPS.items() if s["variant"] == "authors"]  # USB hardens soft labels first (SW3)


def make(setting, **more):
    beta = {"beta": setting["const"]} if setting.get("const", 1) != 1 else {}
    counted = CountedBy.survey if setting["variant"] == "usb" else CountedBy.store
    knobs = SawBalance(counted_by=counted, unseen=Unseen.first, **beta, **more)
    return Saw(torch.tensor(setting["labeled_counts"]), setting["N"], knobs).double()


@pytest.mark.parametrize("case", STEPS)
def test_weights_follow_the_counts(case):
    theirs, setting = STEPS[case]
    part = make(setting, every=1)
    close(part.labeled_weight, theirs["weight_labeled"], "labeled")
    close(part.weight, theirs["weight_unlabeled"][0], "before the first period")
    for e in range(setting["E"]):
        z = torch.from_numpy(pool_inputs(setting, e))
        if setting["variant"] == "usb":
            assert part.due(e + 1)
            part.survey(z)
        else:
            seen = np.random.RandomState(3000 * setting["seed"] + e).permutation(setting["N"])[: setting["seen"]]
            conf, label = z[seen].softmax(1).max(1)
            part.note(Target(z[seen].softmax(1), label, conf, Labels(label, conf)), torch.from_numpy(seen))
            part.observe(None, None, toy.clock(e + 1), None)
            close(part.counts(), theirs["counts"][e], "counts")
        close(part.weight, theirs["weight_unlabeled"][e + 1], f"epoch {e}")


@pytest.mark.parametrize(("case", "soft"), [(case, False) for case in STEPS] + [(case, True) for case in AUTHORS])
def test_a_step_on_given_logits(case, soft):
    theirs, setting = STEPS[case]
    part, steps = make(setting, every=1000), setting["T"]
    learner = FixMatch(0.0 if soft else setting["threshold"], soft=soft).double()
    slots = Slots(CrossEntropy(), part)
    for t in range(steps):
        z_l, z_w, z_s, y, idx = step_inputs(setting, t)
        part.weight.copy_(torch.from_numpy(theirs["weight_unlabeled"][min(t, setting["E"])]))
        ours, grad = step(learner, slots, Given(), np.concatenate([z_l, z_w, z_s])[:, None], y, t, steps, idx=idx)
        np.testing.assert_array_equal(ours.target.label, theirs["label"][t])
        close(ours.losses["cls"], theirs["loss_l"][t], "loss_l")
        close(ours.losses["cons"], theirs["loss_soft" if soft else "loss_u"][t], "loss_u")
        if t in (kept := [0, steps // 2, steps - 1]):
            at = kept.index(t)
            close(grad[: len(y), 0], theirs["grad_l"][at], "labeled gradient")
            close(grad[len(y) + len(idx) :, 0], theirs["grad_s_soft" if soft else "grad_s"][at], "gradient")
