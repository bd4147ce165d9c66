"""One DASO loss computation on given features against the recorded ones, float64."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from daso.learners.fixmatch import FixMatch
from daso.schema import DIST, AbcConfig, DasoConfig
from daso.slots.abc import Abc
from daso.slots.daso import Daso
from daso.slots.slots import Slots
from daso.slots.supervised import CrossEntropy, LogitAdjusted
from daso.types import Batch, Clock, Nets

V = np.load(Path(__file__).parents[1] / "golden" / "daso_step.npz")
META = json.loads(str(V["meta_json"]))
CASES = list(META)
NAMES = {"align": "loss_assign", "cls": "loss_cls", "cons": "loss_cons", "abc": "loss_abc"}


class GivenFeatures(nn.Module):
    """A network whose images are features already."""

    def __init__(self, **heads):
        super().__init__()
        self.heads = nn.ModuleDict(
            {name: nn.Linear(w.shape[1], len(w), dtype=w.dtype) for name, (w, _) in heads.items()}
        )
        for name, (weight, bias) in heads.items():
            self.heads[name].load_state_dict({"weight": weight, "bias": bias})

    def encode(self, x, running_stats=False):
        return x

    def classify(self, f, head="cls"):
        return self.heads[head](f)


class Queued(nn.Module):
    """A teacher that has already seen the labeled images."""

    def __init__(self, feats):
        super().__init__()
        self.feats = feats

    def encode(self, x, running_stats=False):
        return self.feats


@pytest.fixture(params=CASES)
def case(request):
    meta = META[request.param]

    def recorded(name):
        return torch.from_numpy(np.asarray(V[f"{request.param}/{name}"]))

    config = DasoConfig(
        name="daso",
        t_proto=meta["T_proto"],
        t_dist=meta["T_dist"],
        queue_size=meta["queue_max"],
        align_weight=meta["psa_weight"],
        warmup_steps=100,
        blend=DIST if meta["with_dist_aware"] else meta["interp_alpha"],
    )
    daso = Daso(meta["C"], meta["D"], config).to(torch.float64)
    for feats, y in zip(recorded("prefill_features"), recorded("prefill_labels"), strict=True):
        daso.prototypes.push(feats, y)
    daso.hist.copy_(recorded("pl_hist"))
    supervised = LogitAdjusted(recorded("label_counts"), meta["tau"]) if meta["la"] else CrossEntropy()
    heads, extras, noise = {"cls": (recorded("W"), recorded("b"))}, [], {}
    if meta["abc"]:
        heads["abc"] = (recorded("W_abc"), recorded("b_abc"))
        abc = Abc(recorded("label_counts"), meta["threshold"], AbcConfig("abc", blend=meta["abc_daso_pl"]))
        noise = {f"abc/{kind}": recorded(f"bern_u_{kind}") for kind in ("labeled", "unlabeled")}
        extras = [abc]
    slots = Slots(supervised, daso, *extras)
    nets = Nets(GivenFeatures(**heads), Queued(recorded("ema_labeled_features")))
    feats = recorded("features").requires_grad_()
    labeled, weak, strong = feats.split([meta["B"], meta["B"] * meta["mu"], meta["B"] * meta["mu"]])
    batch = Batch(labeled, recorded("labels"), (weak, strong), torch.arange(len(weak)))
    step = 1 if meta["pretraining"] else 101
    learner = FixMatch(meta["threshold"])
    # the recorded iteration, with a warm-up that is over or not
    clock = Clock(torch.tensor(meta["iter"]), torch.tensor(meta["iter"] / 250000, dtype=torch.float64))
    daso.update_every = meta["iter"] + 1
    outcome = learner(nets, batch, slots, noise, clock, slots.flags(step))
    return meta, recorded, request.param, daso, nets, feats, outcome


def close(actual, expected):
    np.testing.assert_allclose(torch.as_tensor(actual).detach(), expected, rtol=1e-10, atol=1e-12)


def test_losses_and_gradients(case):
    _, recorded, tag, _, nets, feats, outcome = case
    present = {name: key for name, key in NAMES.items() if f"{tag}/{key}" in V.files}
    assert set(outcome.losses) == set(present)
    for name, key in present.items():
        close(outcome.losses[name], recorded(key))
    total = sum(outcome.losses.values())
    close(total, recorded("total_loss"))
    total.backward()
    close(feats.grad, recorded("grad_features"))
    close(nets.student.heads["cls"].weight.grad, recorded("grad_W"))
    if "abc" in nets.student.heads:
        close(nets.student.heads["abc"].weight.grad, recorded("grad_W_abc"))


def test_pseudo_labels(case):
    meta, recorded, _, _, _, _, outcome = case
    target = outcome.target
    close(target.p, recorded("p_final"))
    close(target.conf, recorded("pl_confidence"))
    np.testing.assert_array_equal(target.label, recorded("pseudo_label"))
    np.testing.assert_array_equal(target.linear.label, recorded("linear_pl"))
    close(target.linear.conf, recorded("p_linear").amax(1))
    np.testing.assert_array_equal((target.conf >= meta["threshold"]).double(), recorded("mask"))
    if meta["pretraining"]:
        assert target.semantic is None
    else:
        np.testing.assert_array_equal(target.semantic.label, recorded("sem_pl"))


def test_prototypes_and_semantic_distribution(case):
    meta, recorded, _, daso, _, feats, _ = case
    close(daso.prototypes.means(), recorded("prototypes_after"))
    if not meta["pretraining"]:
        weak = feats[meta["B"] : meta["B"] * (1 + meta["mu"])]
        close(daso.similarity(weak).softmax(1), recorded("semantic_soft"))
