"""CDMAD on ReMixMatch against recorded steps of the published code, in float64: network, Adam, EMA and decay included."""

import numpy as np
import pytest
import torch
from torch import nn

from daso.learners.remixmatch import ReMixMatch
from daso.nn import ema
from daso.nn.net import Net
from daso.schema import CdmadDebias, Decay, LabeledViews, OptimConfig, ReMixMatchAlgorithm, Schedule
from daso.slots.align import DistributionAlignment
from daso.slots.cdmad import Cdmad
from daso.slots.slots import Slots
from daso.slots.supervised import CrossEntropy
from daso.train.optimizer import build_optimizer, shrink, shrunk_by
from daso.types import Batch, Clock, Nets
from tests.given_logits import cases, close

STEPS = cases("cdmad_remixmatch")


class Halves(nn.Module):
    """Six numbers an image: means over its left half and over its top half, by channel."""

    out_dim = 6

    def forward(self, x, running_stats=False):
        half = x.shape[-1] // 2
        return torch.cat([x[..., :half].mean((2, 3)), x[..., :half, :].mean((2, 3))], 1)


def network(setting):
    r, C = np.random.RandomState(setting["seed"] + 2), setting["C"]
    net = Net(Halves(), C, ReMixMatch.heads).double()
    with torch.no_grad():
        net.heads["cls"].weight.copy_(torch.from_numpy(20 * r.standard_normal((C, 6))))
        net.heads["cls"].bias.copy_(torch.from_numpy(r.standard_normal(C)))
        net.heads["rot"].weight.copy_(torch.from_numpy(20 * r.standard_normal((4, 6))))
        net.heads["rot"].bias.zero_()
    net.heads["rot"].bias.requires_grad_(False)  # there is none
    return net


def parts_of(theirs, setting):
    E = setting["eval_step"]
    config = ReMixMatchAlgorithm(
        **{"name": "remixmatch", "cons_weight": 2.0, "rot_weight": setting["w_rot"], "temperature": 1.0, "floor": 1e-8},
        ramp_up=1.0,
        labeled_views=LabeledViews.weak_strong,
    )
    counts = torch.from_numpy(theirs["counts"])
    part = Cdmad(counts, torch.ones(3), 32, (setting["debiasstart"] + 1) * E, CdmadDebias())
    align = DistributionAlignment(counts, restart=E, total=float(setting["M_total"]))
    matched = setting["gamma"] == setting["gamma_u"]
    return ReMixMatch(config).double(), Slots(CrossEntropy(), align if matched else None, part).double(), part


@pytest.mark.parametrize("case", STEPS)
def test_training_steps(case):
    theirs, setting = STEPS[case]
    learner, slots, part = parts_of(theirs, setting)
    student, teacher = network(setting), network(setting)
    B, U, steps = setting["B"], setting["B"] * setting["mu"], len(theirs["labels"])
    ramp = setting["rampup"] * setting["eval_step"]  # steps; longer than the recording
    optim = OptimConfig(
        name="adam", lr=setting["lr"], schedule=Schedule.constant, weight_decay=setting["wd"], decay=Decay.weights
    )
    optimizer = build_optimizer(student, optim)
    shrunk = shrunk_by(student, optim)
    images = np.random.RandomState(setting["seed"]).standard_normal((steps, 2 * B + 3 * U, 3, 32, 32))
    for t in range(steps):
        close(images[t].sum(), theirs["x_sum"][t], "images", 1e-6)
        strong, weak, *u = torch.split(torch.from_numpy(images[t]), [B, B, U, U, U])
        batch = Batch(weak, torch.from_numpy(theirs["labels"][t]), tuple(u), torch.arange(U), (strong,))
        noise = {name: torch.as_tensor(theirs[name][t]) for name in ("lam", "perm", "rot")}
        clock = Clock(torch.tensor(t), torch.tensor(t / ramp, dtype=torch.float64))
        outcome = learner(Nets(student, teacher), batch, slots, noise, clock, ())
        close(outcome.target.p, theirs["target"][t], "target")
        close(part.bias, theirs["blank"][t], "blank")
        losses, weight = outcome.losses, theirs["w"][t]
        close(losses["cls"], theirs["Lx"][t], "Lx")
        close(losses["cons"], weight * theirs["Lu"][t], "Lu")
        close(losses["rot"], setting["w_rot"] * theirs["Lr"][t], "Lr")
        close(losses["kl"], weight / 4 * theirs["Le"][t], "Le")
        total = torch.stack(list(losses.values())).sum()
        close(total, theirs["loss"][t], "loss")
        total.backward()
        cls, rot = student.heads["cls"], student.heads["rot"]
        for parameter, name in ((cls.weight, "gW"), (cls.bias, "gb"), (rot.weight, "gR")):
            close(parameter.grad, theirs[name][t], name)
        optimizer.step()
        optimizer.zero_grad()
        ema.update(student, teacher, torch.tensor(t), setting["ema"], warmup=False)
        shrink(shrunk, torch.tensor(setting["lr"], dtype=torch.float64), setting["wd"])
    for net, tag in ((student, "final"), (teacher, "ema")):
        close(net.heads["cls"].weight, theirs[f"{tag}_W"], f"{tag}_W")
        close(net.heads["cls"].bias, theirs[f"{tag}_b"], f"{tag}_b")
        close(net.heads["rot"].weight, theirs[f"{tag}_R"], f"{tag}_R")
