"""Loss functions against the recorded values and gradients, float64."""

from pathlib import Path

import numpy as np
import pytest
import torch

from daso.slots.losses import cross_entropy, mutual_information, squared_error
from daso.slots.reweighting import ClassBalanced, MarginBalanced
from daso.slots.supervised import CrossEntropy, LogitAdjusted

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
    agrees(lambda z: LOSS_WEIGHT * CrossEntropy().supervised(z, tensor("labels"), ()), "ce_mean_lw1.5")


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
    agrees(lambda z: slot.supervised(z, tensor("labels"), ()), f"la_train_tau{tau}")


def test_squared_error_averages_over_samples_and_classes():
    agrees(lambda z: 100 * squared_error(z.softmax(1), tensor("soft")), "mse_lw100")


@pytest.mark.parametrize(("name", "factor"), [("mse_w_lw100", 1), ("mse_w_avg_lw100", 10)])
def test_squared_error_of_weighed_samples(name, factor):
    # recorded with an argument for weights, and once divided by the 12 samples instead of the 12 x 10 entries
    root = tensor("weight").sqrt()[:, None]
    agrees(lambda z: 100 * factor * squared_error(root * z.softmax(1), root * tensor("soft")), name)


def test_mutual_information():
    agrees(lambda z: -mutual_information(z, tensor("logits2")), "mi")


def test_mutual_information_of_three_views():
    second, third = tensor("logits2"), tensor("logits3")

    def mean(z):
        return -(mutual_information(z, second) + mutual_information(z, third) + mutual_information(second, third)) / 3

    agrees(mean, "triplet_mi")


def test_euclidean_distances_are_the_library_s():
    np.testing.assert_allclose(torch.cdist(tensor("eu_a"), tensor("eu_b")), V["C10_eu_dist"], rtol=1e-10)


@pytest.mark.parametrize("beta", [0.999, 0.99, 1.0])
def test_class_balanced_cross_entropy(beta):
    slot = ClassBalanced(tensor("counts"), beta, start=0)
    agrees(lambda z: slot.supervised(z, tensor("labels"), ("deferred",)), f"beta{beta}_cb_ce")
    np.testing.assert_allclose(slot.weight, V[f"C10_beta{beta}_class_weight"], rtol=1e-10)


@pytest.mark.parametrize("beta", [0.999, 0.99, 1.0])
def test_margins_with_class_weights(beta):
    slot = MarginBalanced(tensor("counts"), beta, 0, max_margin=0.5, scale=30, margins_at_once=False)
    agrees(lambda z: slot.supervised(z, tensor("labels"), ("deferred",)), f"beta{beta}_ldam")
    np.testing.assert_allclose(slot.margin, V["C10_ldam_margins"], rtol=1e-10)


def test_margins_without_class_weights():
    slot = MarginBalanced(tensor("counts"), 0.999, 0, max_margin=0.5, scale=30, margins_at_once=True)
    agrees(lambda z: slot.supervised(z, tensor("labels"), ()), "ldam_unweighted")


@pytest.mark.parametrize("slot", [ClassBalanced, lambda n, b, s: MarginBalanced(n, b, s, 0.5, 30, False)])
def test_before_the_deferral_the_loss_is_plain(slot):
    agrees(
        lambda z: LOSS_WEIGHT * slot(tensor("counts"), 0.999, 5).supervised(z, tensor("labels"), ()), "ce_mean_lw1.5"
    )
