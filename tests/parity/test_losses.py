"""Labeled losses against the recorded values and gradients, float64."""

from pathlib import Path

import numpy as np
import pytest
import torch

from daso.slots.losses import cross_entropy
from daso.slots.supervised import CrossEntropy, LogitAdjusted
from daso.types import Flags

V = np.load(Path(__file__).parents[1] / "golden" / "losses.npz")
LOSS_WEIGHT = 1.5


def tensor(name):
    return torch.from_numpy(V[f"C10_{name}"])


def agrees(loss_of, name):
    logits = tensor("logits").requires_grad_()
    loss = loss_of(logits)
    (grad,) = torch.autograd.grad(loss, logits)
    np.testing.assert_allclose(loss.detach(), V[f"C10_{name}"], rtol=1e-10)
    np.testing.assert_allclose(grad, V[f"C10_{name}_grad"], rtol=1e-10, atol=1e-14)


def test_cross_entropy_divides_by_the_number_of_samples():
    agrees(lambda z: LOSS_WEIGHT * CrossEntropy()(z, tensor("labels"), Flags()), "ce_mean_lw1.5")


@pytest.mark.parametrize(("weight", "name"), [("weight", "ce_w_lw1.5"), ("weight01", "ce_w01_avgB_lw1.5")])
def test_sample_weights_do_not_enter_the_divisor(weight, name):
    agrees(lambda z: LOSS_WEIGHT * cross_entropy(z, tensor("labels"), tensor(weight)), name)


def test_all_weights_zero_give_exactly_zero():
    agrees(lambda z: LOSS_WEIGHT * cross_entropy(z, tensor("labels"), torch.zeros(12)), "ce_allzero_avgB_lw1.5")


def test_soft_targets_are_cross_entropies_too():
    agrees(lambda z: LOSS_WEIGHT * cross_entropy(z, tensor("soft")), "ce_soft_lw1.5")


def test_soft_targets_take_weights():
    # recorded with an explicit divisor of 7 for its 12 samples
    agrees(lambda z: LOSS_WEIGHT * cross_entropy(z, tensor("soft"), tensor("weight")) * 12 / 7, "ce_soft_w_lw1.5")


@pytest.mark.parametrize("tau", [1.0, 2.0])
def test_logit_adjustment(tau):
    slot = LogitAdjusted(tensor("counts"), tau)
    agrees(lambda z: slot(z, tensor("labels"), Flags()), f"la_train_tau{tau}")
