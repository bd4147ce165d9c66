"""CCL on FixMatch against recorded losses and steps of the published code, in float64."""

import numpy as np
import pytest
import torch

from daso.learners.fixmatch import FixMatch
from daso.schema import CclDebias
from daso.slots.ccl import Ccl
from daso.slots.contrast import Contrast, Projected, anchors_of, contrastive, smoothed, unit
from daso.slots.losses import sharpen
from daso.slots.priors import log_prior
from daso.slots.slots import Slots
from daso.slots.supervised import CrossEntropy
from daso.types import Batch, Clock, Nets, Sizes
from tests.given_logits import cases, close

LOSSES, STEPS = cases("ccl_losses"), cases("ccl_step")
KNOBS = {"tau": "tau", "temperature": "T", "energy": "zeta", "every": "upbatch", "epoch": "eval_step"}
KNOBS |= {"momentum": "alpha", "momentum_all": "beta", "weight": "lambda1", "smooth_weight": "lambda2"}


@pytest.mark.parametrize("case", LOSSES)
def test_the_contrastive_losses(case):
    theirs, setting = LOSSES[case]
    raw = torch.from_numpy(theirs["raw"]).requires_grad_()
    rows = unit(raw)
    rows.retain_grad()
    batch = [setting["B"]] * 2 + [setting["U"]] * 3
    centres, one, two, weak, *strong = torch.split(rows, [setting["C"], *batch])
    y, p = torch.from_numpy(theirs["labels"]), torch.from_numpy(theirs["logits"]).softmax(1)
    chosen = torch.zeros(setting["U"], dtype=torch.bool)
    chosen[theirs["selected_rows"]] = True
    how = Contrast(floor=setting["centre_label"] == "ones")
    bias = log_prior(torch.from_numpy(theirs["prior"]), 1.0) if setting["la"] else None
    found = Projected(centres, (one, two), weak, tuple(strong))
    smooth, reliable, seen = contrastive(found, y, p, chosen, how, bias)

    anchors = anchors_of(centres, (one, two), y, how.floor)
    for name, view in zip(("P_w", "P_s1", "P_s2"), (weak, *strong)):
        close(smoothed(view, anchors, how, bias), theirs[name], name)
    close(sharpen(smoothed(weak, anchors, how, bias), 1 / 4), theirs["aim"], "aim")
    spread = [(-q * np.log(q)).sum(1).mean() for q in (theirs["P_s1"], theirs["P_s2"])]
    close(seen.sharpness, np.log(setting["C"]) - np.mean(spread), "sharpness")
    unit_rows = torch.split(rows.detach(), [setting["C"], *batch])
    own = np.stack([view @ unit_rows[0].numpy().T for view in (unit_rows[1].numpy(), unit_rows[2].numpy())])
    mine = theirs["labels"] == np.arange(setting["C"])[:, None]
    close(seen.own, own[:, mine.T].mean(), "cosine with the own centre")
    close(seen.other, own[:, ~mine.T].mean(), "cosine with other centres")
    likeness = np.exp(unit_rows[3].numpy() @ unit_rows[3].numpy().T / how.graph_temperature)
    close(seen.alone, (np.diag(likeness) / likeness.sum(1)).mean(), "share of itself")
    close(seen.label, theirs["P_w"], "P_w")
    for name, loss in (("spl", smooth), ("rpl", reliable)):
        close(loss, theirs[name], name)
        raw.grad = rows.grad = None
        loss.backward(retain_graph=True)
        close(raw.grad, theirs[f"{name}_grad_raw"], f"{name}, raw")
        close(rows.grad, theirs[f"{name}_grad_unit"], f"{name}, unit")


class Given:
    """A network whose images hold the outputs of its heads: logits of two classifiers, then a projection."""

    def __init__(self, classes):
        self.at = {"cls": slice(classes), "bal": slice(classes, 2 * classes), "proj": slice(2 * classes, None)}
        self.centres = None

    def encode(self, x):
        return x

    def weight(self, head):
        return head

    def classify(self, f, head="cls"):
        return self.centres if head == "centre" else f[:, self.at[head]]


def look_at(found, groups, theirs, t):
    """What the log shows of a step, by NumPy from what was recorded of it."""
    low, sure, energy = theirs["mask_energy"][t] > 0, theirs["mask"][t] > 0, theirs["energy"][t]
    for name, share in (("tenth", 0.1), ("median", 0.5), ("nine_tenths", 0.9)):
        close(found[f"energy/{name}"], np.quantile(energy, share), name)
    close(found["energy/both"], (low & sure).mean(), "both")
    logits = theirs["logits"][t]
    weak = logits[:, len(theirs["labels"][t]) :][:, : len(low)]
    close(found["agree/balanced"], (weak[0].argmax(1) == weak[1].argmax(1)).mean(), "agreement")
    cells = {"both": low & sure, "energy": low & ~sure, "confident": ~low & sure, "neither": ~low & ~sure}
    assert groups.keys() == cells.keys()
    for name, cell in cells.items():
        np.testing.assert_array_equal(groups[name], cell)


@pytest.mark.parametrize("case", STEPS)
def test_a_step_on_given_outputs(case):
    theirs, setting = STEPS[case]
    (steps, size), B, C = theirs["in_labeled"].shape, setting["B"], setting["C"]
    knobs = CclDebias(**{ours: setting[name] for ours, name in KNOBS.items()})
    own, first = torch.from_numpy(theirs["in_labeled"]).bool().flatten(), (setting["est_epoch"] + 1) * knobs.epoch
    part = Ccl(torch.from_numpy(theirs["counts"]), own, Sizes(B, size), 0, first, knobs).double()
    learner, slots, net = FixMatch(setting["thr"], strong_views=2).double(), Slots(CrossEntropy(), part), Given(C)
    weight = max(1.5, setting["mu"])
    scale = {"cls": knobs.weight, "bal_cls": knobs.weight, "smooth": knobs.smooth_weight, "reliable": 1 - knobs.weight}
    scale |= dict.fromkeys(("cons", "bal_cons"), knobs.weight * weight)
    names = {"cls": "L_x", "bal_cls": "Lb_x", "cons": "L_u", "bal_cons": "Lb_u", "smooth": "L_spl", "reliable": "L_rpl"}
    for t in range(steps):
        logits = np.pad(theirs["logits"][t], ((0, 0), (0, 2 * B), (0, 0)))  # further views meet no classifier
        rows = torch.from_numpy(np.concatenate([*logits, theirs["proj"][t]], 1)).requires_grad_()
        net.centres = torch.from_numpy(theirs["centre"][t]).requires_grad_()
        x, weak, *strong, one, two = torch.split(rows, [B, size, size, size, B, B])
        idx, y = torch.arange(size) + t * size, torch.from_numpy(theirs["labels"][t])
        close(log_prior(part.all.prior, knobs.tau), theirs["offset"][t], "offset")
        batch = Batch(x, y, (weak, *strong), idx, (), (one, two))
        outcome = learner(Nets(net, net), batch, slots, {}, Clock(torch.tensor(t), torch.tensor(t / steps)), ())

        np.testing.assert_array_equal(outcome.target.label, theirs["label"][t])
        np.testing.assert_array_equal(part.kept, theirs["mask"][t])
        np.testing.assert_array_equal(part.low, theirs["mask_energy"][t])
        look_at(part.metrics(), outcome.target.groups, theirs, t)
        close(-outcome.target.logits.logsumexp(1), theirs["energy"][t], "energy")
        for name, key in names.items():
            close(outcome.losses[name] / scale[name], theirs[key][t], key)
        for key, window in (("u", part.unlabeled), ("a", part.all)):
            close(window.prior, theirs[f"pi_{key}"][t], f"pi_{key}")
            close(window.mass, theirs[f"N_{key}"][t], f"N_{key}")
        zero = torch.zeros(1, C, dtype=torch.float64)
        close(2 * part.read(zero, {"cls": zero, "bal": zero})["co"][0], theirs["posthoc_co"][t], "co")

        total = sum(outcome.losses.values())
        close(total, theirs["loss"][t], "loss")
        total.backward()
        grad = rows.grad.numpy()
        close(grad[:, 2 * C :], theirs["grad_proj"][t], "gradient of projections")
        close(net.centres.grad, theirs["grad_centre"][t], "gradient of centres")
        kept = list(range(steps)) if C == 10 else [0, 3]
        if t in kept:
            found = np.stack([grad[: -2 * B, :C], grad[: -2 * B, C : 2 * C]])
            close(found, theirs["grad_logits"][kept.index(t)], "gradient of logits")
