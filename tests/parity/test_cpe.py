"""CPE against recorded steps of the published code, in float64: its losses, gradients, statistics and answers."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from daso.learners.cpe import Cpe
from daso.nn.net import Net
from daso.schema import CpeAlgorithm
from daso.slots.slots import Slots
from daso.slots.supervised import CrossEntropy
from daso.types import Batch, Nets
from tests import toy
from tests.given_logits import cases, close, prior

STEPS = cases("cpe_steps")


class AsGiven(nn.Module):
    """An encoder whose images [B,D,h,w] are what it would pool."""

    def __init__(self, out_dim):
        super().__init__()
        self.out_dim = out_dim

    def maps(self, x, running_stats=False):
        return x


def map_inputs(setting, t):
    """Made as the recording's: maps of labeled, weak and strong views, and labels."""
    C, D, labeled, unlabeled, steps = (setting[key] for key in ("C", "D", "Bl", "Bu", "T"))
    directions = np.random.RandomState(setting["seed"]).standard_normal((C, D))[:, :, None, None]
    r = np.random.RandomState(4000 * setting["seed"] + t)
    y, k = r.randint(0, C, labeled), r.choice(C, unlabeled, p=prior(C, setting["gamma"], setting.get("classes")))
    maps, u = r.standard_normal((labeled + 2 * unlabeled, D, 2, 2)), r.uniform(0.2, 1.0, unlabeled)[:, None, None, None]
    low, high = setting["peak"]
    peak = low + (high - low) * t / (steps - 1)
    maps[:labeled] += 0.5 * peak * directions[y]
    maps[labeled : labeled + unlabeled] += peak * u * directions[k]
    maps[labeled + unlabeled :] += 0.6 * peak * u * directions[k]
    return maps, y


def filled(setting):
    """The network, its parameters set by the fill rule."""
    net = Net(AsGiven(setting["D"]), setting["C"], Cpe.heads, Cpe.norms).double()
    for k, (name, p) in enumerate(net.named_parameters()):
        z = torch.from_numpy(np.random.RandomState(1000 * setting["seed"] + k).standard_normal(tuple(p.shape)))
        scale = setting["gain"] * math.sqrt(2 / (setting["D"] + setting["C"])) if p.ndim == 2 else 0.1
        p.data.copy_(scale * z + (name.startswith("norms.") and name.endswith("weight")))
    return net


@pytest.mark.parametrize("case", STEPS)
def test_steps_on_given_maps(case):
    theirs, setting = STEPS[case]
    medium, tail = (cut / setting["C"] for cut in setting["cuts"])
    knobs = CpeAlgorithm("cpe", setting["threshold"], setting["taus"], medium_from=medium, tail_from=tail)
    learner, slots = Cpe(torch.tensor(setting["labeled_counts"]), knobs).double(), Slots(CrossEntropy())
    net, labeled, unlabeled = filled(setting), setting["Bl"], setting["Bu"]
    parameters = list(net.parameters())
    for t in range(setting["T"]):
        maps, y = map_inputs(setting, t)
        x = torch.from_numpy(maps).requires_grad_()
        views = torch.split(x, [labeled, unlabeled, unlabeled])
        batch = Batch(views[0], torch.from_numpy(y), views[1:], torch.arange(unlabeled))
        ours = learner(Nets(net, net), batch, slots, {}, toy.clock(t, setting["T"]), ())
        found = {**ours.target.aside, "cpe2": ours.target}
        for e, head in enumerate(Cpe.heads):
            prefix = "" if head == "cls" else f"{head}_"
            mask = found[head].conf.numpy() >= setting["threshold"]
            np.testing.assert_array_equal(found[head].label, theirs["label"][t, e])
            np.testing.assert_array_equal(mask, theirs["mask"][t, e])
            close(ours.losses[f"{prefix}cls"], theirs["loss_cls"][t, e], "loss_cls")
            close(ours.losses[f"{prefix}cons"], theirs["loss_cons"][t, e], "loss_cons")
        close(learner.passed * unlabeled, theirs["count"][t], "count")
        total = sum(ours.losses.values())
        close(total, theirs["loss"][t], "loss")
        by_x, *by_p = torch.autograd.grad(total, [x, *parameters])
        close(by_x.norm(), theirs["grad_map_norm"][t], "gradient of the maps", 1e-9)
        if t == 0:
            close(by_x, theirs["grad_map_0"], "gradient of the maps", 1e-9)
            for k, grad in enumerate(by_p):
                close(grad, theirs[f"grad_p{k:02}_0"], f"gradient of parameter {k}", 1e-9)
        with torch.no_grad():
            torch._foreach_sub_(parameters, torch._foreach_mul(by_p, setting["lr"]))
    for k, parameter in enumerate(parameters):
        close(parameter, theirs[f"final_p{k:02}"], f"parameter {k}", 1e-9)
    for g, norm in enumerate(net.norms):
        close(norm.running_mean, theirs["running_mean"][g], "running mean")
        close(norm.running_var, theirs["running_var"][g], "running variance")
    net.eval()
    x = torch.from_numpy(map_inputs(setting, 0)[0][:6])
    for e, head in enumerate(Cpe.heads):
        close(net.predict(x, head), theirs["eval_logits"][e], head, 1e-9)
    close(net.classify(net.encode_apart(x), "cpe2"), theirs["eval_logits_groups_head2"], "cpe2 by group", 1e-9)


def test_groups_follow_the_number_of_labels_not_the_order_of_the_classes():
    counts = torch.tensor([5, 90, 20, 40, 7, 5, 60, 11, 30, 2])
    learner = Cpe(counts, CpeAlgorithm("cpe"))
    rank = np.argsort(np.argsort(-counts.numpy(), kind="stable"))
    np.testing.assert_array_equal(learner.members, [rank >= 0, rank >= 2, rank >= 4])
    learner.relabel(counts.flip(0))
    np.testing.assert_array_equal(learner.members[1], np.argsort(np.argsort(-counts.numpy()[::-1], kind="stable")) >= 2)
