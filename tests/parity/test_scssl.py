"""SC-SSL on FixMatch against arithmetic from its paper's text, in float64: anchors, thresholds, losses, gradients."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from daso.data.sizes import class_counts
from daso.learners.fixmatch import FixMatch
from daso.schema import Assumed, ScSslDebias
from daso.slots.scssl import ScSsl
from daso.slots.slots import Slots
from daso.slots.supervised import CrossEntropy
from tests import toy
from tests.given_logits import Given, cases, close, step

STEPS = cases("scssl_text")
HEADS = {"out": "b", "exp": "e"}


class Biased(Given):
    """Biases of their own beside the given logits, in which they have no part."""

    def __init__(self, classes):
        self.names = ("cls", *HEADS)
        self.biases = {name: torch.zeros(classes, dtype=torch.float64) for name in self.names}

    def bias(self, head):
        return self.biases[head]

    def classify(self, f, head="cls"):
        return f[:, self.names.index(head)]


def make(setting, **more):
    counts = torch.tensor(class_counts(setting["n1"], setting["gamma"], setting["C"]))
    knobs = ScSslDebias(
        tau=setting["tau_b"],
        tau_expansive=setting["tau_e"],
        rate=setting["step"],
        bias_above=setting["nu"],
        floor=setting["floor"],
        **{"gamma": setting["gamma"], **more},
    )
    return ScSsl(counts, 0.95, 1, knobs).double()


def surveyed(part, counts):
    """The part after a look at so many images of each class."""
    z = torch.eye(len(counts), dtype=torch.float64)
    part.survey(z.repeat_interleave(torch.from_numpy(counts).long(), 0))
    return part


@pytest.mark.parametrize("case", STEPS)
def test_the_nearest_anchor_says_how_low_thresholds_begin(case):
    theirs, setting = STEPS[case]
    part = make(setting)
    np.testing.assert_array_equal(part.thresholds.values, 0.95)
    close(part.log_prior().exp(), theirs["prior"], "prior")
    close(part.thresholds.anchors(), theirs["anchors"], "anchors")
    surveyed(part, theirs["N_e"])
    close(part.thresholds.distance, theirs["kl"], "kl")
    assert part.thresholds.anchor == theirs["anchor"]
    close(part.thresholds.values, np.stack([theirs["thr_b"][0], theirs["thr_e"][0]]), "thresholds")
    given = make(setting, assumed=list(Assumed)[1 + int(theirs["anchor"])])
    assert torch.equal(given.thresholds.values, part.thresholds.values)
    assert not given.due(1)
    labeled = make(setting, gamma=0.0)  # these counts have the imbalance exactly
    close(labeled.thresholds.anchors(), theirs["anchors"], "anchors")


@pytest.mark.parametrize("case", STEPS)
def test_a_step_on_given_logits(case):
    theirs, setting = STEPS[case]
    part, net = surveyed(make(setting), theirs["N_e"]), Biased(setting["C"])
    learner, slots = FixMatch().double(), Slots(CrossEntropy(), part)
    for t, recorded in enumerate(theirs["logits"]):
        logits = np.concatenate([recorded[:1], recorded]).swapaxes(0, 1).copy()  # something for the base, too
        ours, grad = step(learner, slots, net, logits, theirs["labels"][t], t, setting["steps"])
        for at, (head, letter) in enumerate(HEADS.items()):
            threshold, own = part.thresholds.values[at], ours.target.aside[head]
            close(threshold, theirs[f"thr_{letter}"][t], "threshold")
            np.testing.assert_array_equal(own.label, theirs[f"label_{letter}"][t])
            np.testing.assert_array_equal(own.conf >= threshold[own.label], theirs[f"mask_{letter}"][t])
            close(part.passed[at].sum(), theirs[f"mask_{letter}"][t].mean(), "passed")
            close(ours.losses[f"{head}_cls"], theirs[f"sup_{letter}"][t], "sup")
            close(ours.losses[f"{head}_cons"], 2 * theirs[f"con_{letter}"][t], "con")
        close(sum(ours.losses[f"{head}_{kind}"] for head in HEADS for kind in ("cls", "cons")), theirs["loss"][t])
        close(grad[:, 1:].swapaxes(0, 1), theirs["grad"][t], "gradient")
        net.biases["out"].copy_(torch.from_numpy(theirs["bias"][t]))
        close(part.posthoc(net, "out"), theirs["bias"][t], "posthoc")
    part.observe(SimpleNamespace(student=net), None, toy.clock(0), None)
    after = np.stack([theirs["thr_b_after"][-1], theirs["thr_e_after"][-1]])
    close(part.thresholds.values, after, "thresholds after the last step")


def test_thresholds_stay_where_they_are_until_there_is_an_anchor_and_start_afresh_with_a_phase():
    theirs, setting = STEPS["c10_inverse"]
    part, net = make(setting), Biased(setting["C"])
    net.biases["out"].fill_(2)
    nets = SimpleNamespace(student=net)
    part.observe(nets, None, toy.clock(0), None)
    np.testing.assert_array_equal(part.thresholds.values, 0.95)
    surveyed(part, theirs["N_e"])
    for _ in range(20):
        part.observe(nets, None, toy.clock(0), None)
    np.testing.assert_allclose(part.thresholds.values[:, 5:], setting["floor"])
    np.testing.assert_array_equal(part.thresholds.values[:, :5], 0.95)
    part.relabel(part.thresholds.counts.flip(0))
    np.testing.assert_array_equal(part.thresholds.values, 0.95)
    np.testing.assert_array_equal(part.thresholds.rare(), [True] * 5 + [False] * 5)


def test_without_the_expansive_classifier_there_is_one_head():
    part = make(STEPS["c10_consist"][1], weight_expansive=0.0)
    assert [*part.heads] == ["out"]
    assert part.due(1)
    assert not make(STEPS["c10_consist"][1], weight=0.0).due(1)


def test_thresholds_that_have_all_fallen_to_the_floor_are_warned_of():
    part = make(STEPS["c10_inverse"][1])
    numbers = {name: float(value) for name, value in part.metrics().items() if value.ndim == 0}
    assert part.alarms(numbers) == []
    assert "debias.floor=0.2" in part.alarms(numbers | {f"pl/threshold/{head}/at_floor": 5.0 for head in HEADS})[0]
    assert make(STEPS["c10_inverse"][1], weight=0.0).alarms({}) == []
