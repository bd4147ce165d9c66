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


def prior(C, gamma, classes=None):
    """A geometric class distribution, zero beyond the first `classes`."""
    m = classes or C
    p = np.zeros(C)
    p[:m] = gamma ** (-np.arange(m) / max(1, m - 1))
    return p / p.sum()


def step_inputs(setting, t):
    """Made as the recording's: labeled, weak and strong logits, labels, rows."""
    C, labeled, unlabeled, steps = (setting[key] for key in ("C", "Bl", "Bu", "T"))
    r = np.random.RandomState(1000 * setting["seed"] + t)
    z_l, z_w, z_s = (r.standard_normal((n, C)) for n in (labeled, unlabeled, unlabeled))
    y, k = r.randint(0, C, labeled), r.choice(C, unlabeled, p=prior(C, setting["gamma"], setting.get("classes")))
    idx = r.permutation(setting["N"])[:unlabeled]
    low, high = setting["peak"]
    peak, u = low + (high - low) * t / (steps - 1), r.uniform(0.2, 1.0, unlabeled)
    z_w[np.arange(unlabeled), k] += peak * u
    z_s[np.arange(unlabeled), k] += 0.6 * peak * u
    z_l[np.arange(labeled), y] += 0.5 * peak
    return z_l, z_w, z_s, y, idx


def pool_inputs(setting, e):
    """Made as the recording's: logits [N,C] of the whole unlabeled set in epoch `e`."""
    C, rows, epochs = (setting[key] for key in ("C", "N", "E"))
    r = np.random.RandomState(2000 * setting["seed"] + e)
    z, k = r.standard_normal((rows, C)), r.choice(C, rows, p=prior(C, setting["gamma"], setting.get("classes")))
    low, high = setting["peak"]
    z[np.arange(rows), k] += (low + (high - low) * e / max(1, epochs - 1)) * r.uniform(0.2, 1.0, rows)
    return z


def state(seed, C, scale):
    """A recorded start state: a softmax of normal numbers."""
    z = np.exp(scale * np.random.RandomState(seed).standard_normal(C))
    return torch.from_numpy(z / z.sum())


def close(actual, expected, name="", tolerance=1e-10):
    """Equal to `tolerance`, relative to max(1, |value|)."""
    actual = actual.detach() if isinstance(actual, torch.Tensor) else actual
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance, err_msg=name)
