"""FlexMatch on FixMatch against recorded steps of the published code and of USB's, in float64."""

import numpy as np
import pytest
import torch

from daso.learners.fixmatch import FixMatch
from daso.schema import FlexMatchConfidence
from daso.slots.align import DistributionAlignment
from daso.slots.flexmatch import MAPS, FlexMatch
from daso.slots.slots import Slots
from daso.slots.supervised import CrossEntropy
from daso.types import Labels, Target
from tests import toy
from tests.given_logits import Given, cases, close, prior, step, step_inputs

STEPS = cases("flexmatch_steps")


def make(setting):
    C, N = setting["C"], setting["N"]
    part = FlexMatch(torch.ones(C), N, setting["p_cutoff"], FlexMatchConfidence(warmup=setting["thresh_warmup"]))
    if "state_seed" in setting:
        seed, shares = setting["state_seed"], prior(C, setting["state_gamma"], setting.get("state_classes"))
        store = np.random.RandomState(seed).choice(C, N, p=shares)
        store[np.random.RandomState(seed + 1).uniform(size=N) < setting["state_unused"]] = -1
        part.remember(torch.from_numpy(store))
    goal = (
        DistributionAlignment(torch.from_numpy(prior(C, setting["da_gamma"])), momentum=0.999)
        if "use_DA" in setting
        else None
    )
    return part, goal.double() if goal else None


@pytest.mark.parametrize("case", STEPS)
def test_a_step_on_given_logits(case):
    theirs, setting = STEPS[case]
    (part, align), steps = make(setting), setting["T"]
    learner, slots = FixMatch(setting["p_cutoff"]).double(), Slots(CrossEntropy(), align, part)
    for t in range(steps):
        z_l, z_w, z_s, y, idx = step_inputs(setting, t)
        close(part.learned(), theirs["beta"][t], "beta")
        close(part.thresholds(), theirs["threshold"][t], "thresholds")
        ours, grad = step(learner, slots, Given(), np.concatenate([z_l, z_w, z_s])[:, None], y, t, steps, idx=idx)
        np.testing.assert_array_equal(ours.chosen.label, theirs["label"][t])
        np.testing.assert_array_equal(ours.chosen.weight, theirs["mask"][t])
        np.testing.assert_array_equal(part.store, theirs["selected"][t])
        np.testing.assert_array_equal(part.totals[:-1], [(part.store == k).sum() for k in range(setting["C"])])
        assert part.totals[-1] == theirs["n_unused"][t]
        close(ours.losses["cons"], theirs["loss_u"][t], "loss_u")
        if align is not None:
            close(align.ring[0], theirs["p_model"][t], "P")
            close(ours.target.conf, theirs["conf"][t], "conf")
        if t in (kept := [0, steps // 2, steps - 1]):
            close(grad[len(y) + len(idx) :, 0], theirs["grad_s"][kept.index(t)], "gradient")


def told(part, idx, label, conf, threshold=0.9):
    labels = Labels(torch.tensor(label), torch.tensor(conf))
    target = Target(torch.zeros(len(idx), 3), *labels, labels)
    return part.confident(target, torch.tensor(idx), threshold, toy.clock(0))


def test_of_a_row_that_is_there_twice_the_later_confident_label_stays():
    part = FlexMatch(torch.ones(3), 4, 0.9, FlexMatchConfidence())
    told(part, [2, 2, 1, 2], [0, 1, 2, 2], [0.95, 0.99, 0.5, 0.3])
    assert part.store.tolist() == [-1, -1, 1, -1]
    assert part.totals.tolist() == [0, 1, 0, 3]
    told(part, [2, 0, 2], [2, 2, 2], [0.95, 0.95, 0.95])
    assert part.store.tolist() == [2, -1, 2, -1]
    assert part.totals.tolist() == [0, 0, 2, 2]


def test_as_many_images_of_every_class_are_the_learner_s_threshold():
    part = FlexMatch(torch.ones(3), 3, 0.9, FlexMatchConfidence())
    part.remember(torch.tensor([0, 1, 2]))
    conf = [0.9, 0.8999999, 0.90001]
    assert told(part, [0, 1, 2], [0, 1, 2], conf).weight.tolist() == (torch.tensor(conf) >= 0.9).tolist()


@pytest.mark.parametrize(
    ("name", "half"),
    [("convex", 1 / 3), ("linear", 0.75), ("low", 2 / 3), ("concave", (np.log(1.5) + 0.5) / (np.log(2) + 0.5))],
)
def test_a_map_is_as_its_paper_has_it(name, half):
    ends = {"convex": 0.0, "linear": 0.5, "low": 0.5, "concave": 0.5 / (np.log(2) + 0.5)}
    close(MAPS[name](torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)), [ends[name], half, 1.0])
