"""Steps of a real learner and its slots on given logits: the images are the logits, and the network hands them on."""

import json
from pathlib import Path

import numpy as np
import torch

from daso.types import Batch, Clock, Nets

GOLDEN = Path(__file__).parent / "golden" / "beyond"


def cases(name):
    """The recorded cases of a file: name -> its arrays, and its settings."""
    found = {}
    with np.load(GOLDEN / f"{name}.npz") as file:
        for key in file.files:
            case, _, array = key.partition("/")
            found.setdefault(case, {})[array] = file[key]
    return {case: (arrays, json.loads(str(arrays["meta_json"]))) for case, arrays in found.items()}


class Given:
    """A network whose images [B,H,C] are the logits of its H heads, and whose blank image has given ones."""

    def __init__(self, heads=("cls",)):
        self.heads, self.blank = heads, None

    def encode(self, x, running_stats=False):
        return x

    def encode_aside(self, x):
        return self.blank[None, None]

    def classify(self, f, head="cls"):
        return f[:, self.heads.index(head)]


def step(learner, slots, net, logits, y, t, steps, extra=0, idx=None):
    """The outcome of step `t` on `logits` [rows,H,C], and the gradient of the total loss with respect to them.

    Rows: Bl labeled ones, once more for each of `extra` labeled views, then the unlabeled views, Bu each.
    """
    z = torch.from_numpy(logits).requires_grad_()
    labeled, rest = torch.split(z, [len(y) * (1 + extra), len(z) - len(y) * (1 + extra)])
    views = rest.chunk(len(learner.views))
    x, *more = labeled.chunk(1 + extra)
    idx = torch.arange(len(views[0])) if idx is None else torch.from_numpy(idx)
    batch = Batch(x, torch.from_numpy(y), tuple(views), idx, tuple(more))
    clock = Clock(torch.tensor(t), torch.tensor(t / steps, dtype=torch.float64))
    outcome = learner(Nets(net, net), batch, slots, {}, clock, ())
    total = sum(outcome.losses.values())
    (grad,) = torch.autograd.grad(total, z)
    return outcome, grad.numpy()
