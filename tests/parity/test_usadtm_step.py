"""One USADTM loss computation on given features against the recorded ones, float64."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from daso.learners.usadtm import IMAGES_KEPT, Usadtm
from daso.schema import UsadtmAlgorithm
from daso.slots.slots import Slots
from daso.slots.supervised import CrossEntropy
from daso.types import Batch, Clock, Nets

V = np.load(Path(__file__).parents[1] / "golden" / "usadtm_step.npz")
META = json.loads(str(V["meta_json"]))


class GivenFeatures(nn.Module):
    """A network whose images are features already."""

    def __init__(self, weight, bias):
        super().__init__()
        self.weight, self.bias = weight, bias

    def encode(self, x):
        return x

    def classify(self, f):
        return nn.functional.linear(f, self.weight, self.bias)


@pytest.fixture(params=META)
def case(request):
    meta = META[request.param]

    def recorded(name):
        return torch.from_numpy(np.asarray(V[f"{request.param}/{name}"]))

    config = UsadtmAlgorithm("usadtm", threshold=meta["dtm_threshold"], mi_weight=meta["uc_weight"], warmup=0.5)
    counts = (recorded("classwise_max") // IMAGES_KEPT).tolist()
    learner = Usadtm(config, meta["D"], counts).to(torch.float64)
    for feats, y in zip(recorded("prefill_features"), recorded("prefill_labels"), strict=True):
        learner.prototypes.push(feats, y)
    net = GivenFeatures(recorded("W"), recorded("b"))
    feats = recorded("features").requires_grad_()
    labeled, *views = feats.split(meta["B"])
    batch = Batch(labeled, recorded("labels"), tuple(views), torch.arange(meta["B"]))
    clock = Clock(torch.tensor(0), torch.tensor(0.4 if meta["pretraining"] else 0.5, dtype=torch.float64))
    outcome = learner(Nets(net, net), batch, Slots(CrossEntropy()), {}, clock, ())
    return meta, recorded, learner, feats, outcome


def close(actual, expected):
    np.testing.assert_allclose(torch.as_tensor(actual).detach(), expected, rtol=1e-10, atol=1e-12)


def test_losses_and_gradients(case):
    _, recorded, _, feats, outcome = case
    assert set(outcome.losses) == {"cls", "mi", "cons"}
    for name, key in (("cls", "loss_cls"), ("mi", "uc_loss"), ("cons", "loss_cons")):
        close(outcome.losses[name], recorded(key).squeeze())
    total = sum(outcome.losses.values())
    close(total, recorded("total_loss"))
    total.backward()
    close(feats.grad, recorded("grad_features"))


def test_prototypes_and_pseudo_labels(case):
    meta, recorded, learner, _, outcome = case
    close(learner.prototypes.means(), recorded("prototypes_after"))
    if not meta["pretraining"]:
        np.testing.assert_array_equal(outcome.target.label, recorded("pseudo_label"))
