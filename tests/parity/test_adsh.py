"""Adsh on FixMatch against recorded surveys and steps of the published code, in float64."""

import numpy as np
import pytest
import torch

from daso.learners.fixmatch import FixMatch
from daso.schema import AdshConfidence
from daso.slots.adsh import Adsh
from daso.slots.slots import Slots
from daso.slots.supervised import CrossEntropy
from daso.types import Guess
from tests.given_logits import Given, cases, close, pool_inputs, step, step_inputs

STEPS = {case: found for case, found in cases("adsh_steps").items() if found[1]["variant"] == "authors"}  # AD1-AD6


def make(setting, **knobs):
    return Adsh(torch.arange(setting["C"], 0, -1), setting["tau"], AdshConfidence(**knobs)).double()


@pytest.mark.parametrize("case", STEPS)
def test_surveys_of_given_logits(case):
    theirs, setting = STEPS[case]
    part = make(setting)
    for e in range(setting["E"]):
        part.survey(torch.from_numpy(pool_inputs(setting, e)))
        np.testing.assert_array_equal(part.found, theirs["counts"][e])
        close(part.share, theirs["rho"][e], "rho")
        close(part.thresholds(), theirs["score"][e], f"epoch {e}")


@pytest.mark.parametrize("case", STEPS)
def test_a_step_on_given_logits(case):
    theirs, setting = STEPS[case]
    part, steps = make(setting), setting["T"]
    learner, slots = FixMatch(setting["tau"]).double(), Slots(CrossEntropy(), part)
    for t in range(steps):
        z_l, z_w, z_s, y, idx = step_inputs(setting, t)
        part.theta.copy_(torch.from_numpy(theirs["score"][min(t, len(theirs["score"]) - 1)]))
        ours, grad = step(learner, slots, Given(), np.concatenate([z_l, z_w, z_s])[:, None], y, t, steps, idx=idx)
        np.testing.assert_array_equal(ours.chosen.label, theirs["label"][t])
        np.testing.assert_array_equal(ours.chosen.weight, theirs["mask"][t])
        close(ours.losses["cons"], theirs["loss_u"][t], "loss_u")
        assert part.changed == (ours.chosen.label != ours.target.label).double().mean()
        if t in (kept := [0, steps // 2, steps - 1]):
            close(grad[len(y) + len(idx) :, 0], theirs["grad_s"][kept.index(t)], "gradient")


def test_the_first_survey_is_after_two_periods():
    part = Adsh(torch.tensor([3, 2]), 0.95, AdshConfidence(every=4))
    assert [step for step in range(1, 17) if part.due(step)] == [8, 12, 16]


def test_without_a_confident_head_image_safe_thresholds_stay():
    _, setting = STEPS["c10_head_unconfident"]
    z = torch.from_numpy(pool_inputs(setting, 0))
    bold, safe = make(setting), make(setting, safe=True)
    for part in (bold, safe):
        part.survey(z)
    measured = {"pl/survey/sure": 0.0} | {f"pl/survey/class/{k}": float(n) for k, n in enumerate(bold.found)}
    assert (len(bold.alarms(measured)), safe.alarms(measured)) == (1, [])
    assert bold.alarms(measured | {"pl/survey/sure": 1.0}) == []
    assert bold.share == 1
    assert (bold.theta < setting["tau"]).any()
    assert (safe.theta == setting["tau"]).all()


def test_the_head_is_the_class_with_most_labels_wherever_it_stands():
    theirs, setting = STEPS["c10_grow"]
    part = Adsh(torch.arange(setting["C"]), setting["tau"], AdshConfidence()).double()
    for e in range(setting["E"]):
        part.survey(torch.from_numpy(pool_inputs(setting, e)).flip(1))
    close(part.thresholds().flip(0), theirs["score"][-1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_before_a_survey_labels_count_as_the_learner_s(dtype):
    part = Adsh(torch.tensor([3, 2]), 0.95, AdshConfidence()).to(dtype)
    edge = torch.tensor(0.95, dtype=dtype)
    conf = torch.stack([edge, edge.nextafter(torch.zeros_like(edge)), edge.nextafter(torch.ones_like(edge)), 1 - edge])
    p = torch.stack([conf, 1 - conf], 1)
    slots = [Slots(CrossEntropy(), *parts) for parts in ((), (part,))]
    target = slots[0].pseudo(Guess(p), None, None, None, ())
    base, ours = (s.chosen(target, None, 0.95, None) for s in slots)
    assert torch.equal(base.weight, ours.weight)
    assert torch.equal(base.label, ours.label)
