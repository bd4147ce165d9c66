"""CoSSL's head against recordings of the published code, in float64."""

import numpy as np
import pytest
import torch

from daso.schema import CosslDebias
from daso.slots.cossl import Cossl
from daso.slots.tails import imprinted, levelled
from daso.types import Aside, Batch, Feats, Labels, Nets, Target
from tests.given_logits import cases, close, prior

CASES = cases("cossl_steps")


def inputs(setting):
    """Made as the recording's: labeled features and classes, weak and strong features of the unlabeled images."""
    C, D, N, counts = (setting[key] for key in ("C", "D", "N", "labeled_counts"))
    centres = np.random.RandomState(setting["seed"]).standard_normal((C, D))
    r, y = np.random.RandomState(5000 * setting["seed"]), np.repeat(np.arange(C), counts)
    labeled = r.standard_normal((len(y), D)) + setting["sep"] * centres[y]
    k = r.choice(C, N, p=prior(C, setting["gamma"]))
    weak = r.standard_normal((N, D)) + setting["sep"] * centres[k]
    strong = r.standard_normal((N, D)) + 0.6 * setting["sep"] * centres[k]
    return tuple(map(torch.from_numpy, (labeled, y, weak, strong)))


def filled(seed, k, shape):
    return torch.from_numpy(np.random.RandomState(1000 * seed + k).standard_normal(tuple(shape)))


def part_of(setting):
    names, seed = {"lr": "lr", "weight_decay": "wd", "ema_decay": "ema", "least": "max_lam"}, setting["seed"]
    knobs = CosslDebias(**{ours: setting[name] for ours, name in names.items()})
    counts = torch.tensor(setting["labeled_counts"])
    part = Cossl(counts, setting["D"], setting["B"], 0, setting["warm_steps"], knobs).double()
    part.head.start(0.3 * filled(seed, 0, part.head.weight.shape), 0.1 * filled(seed, 1, counts.shape))
    return part


def given_draws(setting):
    """The recording's own: every class first draws its images, then the shares."""
    r = np.random.RandomState(setting["seed"])

    def mix(k, count, missing):
        which, share = r.choice(count, missing, replace=True), r.beta(0.75, 0.75, missing)
        return torch.from_numpy(which), torch.from_numpy(share)

    return mix


class Seen:
    """A network whose images are features."""

    def encode(self, x, running_stats=False):
        assert running_stats
        return x


def same_head(head, theirs, name):
    for ours, kind in (("", ""), ("_average", "ema_")):
        for tensor in ("weight", "bias"):
            close(head.get_buffer(tensor + ours), theirs[f"{name}_{kind}{tensor}"], f"{name}_{kind}{tensor}")


@pytest.mark.parametrize("case", CASES)
def test_features_of_rare_classes_and_the_warm_up(case):
    theirs, setting = CASES[case]
    labeled, y, weak, strong = inputs(setting)
    close(imprinted(labeled, y, setting["C"]), theirs["imprinted"], "imprinted")
    f, labels = levelled(labeled, y, weak, strong, setting["C"], given_draws(setting))
    close(f[len(y) :], theirs["tfe_features"], "features")
    np.testing.assert_array_equal(labels[len(y) :], theirs["tfe_labels"])
    part, order = part_of(setting), theirs["warm_order"]
    for k in range(setting["warm_steps"]):
        rows = order[k * setting["B"] : (k + 1) * setting["B"]]
        part.head.learn(f[rows], labels[rows])
    same_head(part.head, theirs, "warm")


@pytest.mark.parametrize("case", CASES)
def test_steps_with_a_head(case):
    theirs, setting = CASES[case]
    labeled, y, weak, strong = inputs(setting)
    part, nets, flags = part_of(setting), Nets(Seen(), Seen()), ("cossl",)
    for name in ("weight", "bias"):
        part.head.get_buffer(name).copy_(torch.from_numpy(theirs[f"warm_{name}"]))
        part.head.get_buffer(f"{name}_average").copy_(torch.from_numpy(theirs[f"warm_ema_{name}"]))
    close(part.missing, theirs["tfe_prob"], "tfe_prob")
    for t in range(setting["T"]):
        rows, others = theirs["joint_idx_l"][t], theirs["joint_idx_u"][t]
        guess = part.source(nets, weak[others], flags).softmax(1)
        conf, label = guess.max(1)
        np.testing.assert_array_equal(label, theirs["joint_label"][t])
        np.testing.assert_array_equal(conf >= setting["threshold"], theirs["joint_mask"][t])
        aside = {"balanced": Aside(labeled[rows], y[rows]), "mates": Aside(strong[others], None)}
        batch = Batch(labeled[rows], y[rows], (), torch.from_numpy(others), aside=aside)
        target = Target(guess, label, conf, Labels(label, conf), plain=guess)
        drawn = {"coin": "joint_coin", "share": "joint_ulam"}
        noise = {f"cossl/{name}": torch.from_numpy(theirs[key][t]) for name, key in drawn.items()}
        loss = part.aux(nets, Feats(None, weak[others]), batch, target, noise, None, flags, None)["tfe"]
        close(loss, theirs["joint_loss_head"][t], "loss")
    same_head(part.head, theirs, "joint")
