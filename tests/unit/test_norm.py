"""Batch normalisation against torch's own in float64, and against NumPy."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from daso.nn.norm import BatchNorm, statistics

EXACT = 1e-6  # of the largest value; torch's own float32 is off by 5e-6 to 2e-5 on these images


def images(batch=256, channels=16, side=16, mean=0.7):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(batch, channels, side, side, generator=g) * 1.3 + mean
    return x.contiguous(memory_format=torch.channels_last)


def fresh(channels=16):
    norm = BatchNorm(channels)
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 1.5, channels))
        norm.bias.copy_(torch.linspace(-1, 1, channels))
    return norm


def off(one, other):
    return float((one.detach().double() - other.detach()).abs().max() / other.detach().abs().max())


@pytest.mark.parametrize("mean", [0.0, 0.7, 300.0])
@pytest.mark.parametrize("shape", [(256, 16, 16), (5, 3, 7), (64, 128, 8), (1, 4, 1), (2, 300, 1)])
def test_statistics_are_those_of_numpy_in_float64(shape, mean):
    batch, channels, side = shape
    x = images(batch, channels, side, mean)
    rows = x.double().numpy().transpose(0, 2, 3, 1).reshape(-1, channels)
    ours_mean, ours_var = statistics(x)
    np.testing.assert_allclose(ours_mean, rows.mean(0), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(ours_var, rows.var(0), rtol=1e-5, atol=1e-6)


def test_images_that_lie_channels_last_are_normalised_as_exactly_as_others():
    x, norm = images(), fresh()
    true = F.batch_norm(x.double(), None, None, norm.weight.double(), norm.bias.double(), training=True)
    assert off(F.batch_norm(x, None, None, norm.weight, norm.bias, training=True), true) > 3 * EXACT
    assert off(norm(x), true) < EXACT
    assert norm(x).is_contiguous(memory_format=torch.channels_last)


def test_the_gradient_is_that_of_normalisation_by_the_batch():
    x, norm = images(32).requires_grad_(), fresh()
    upstream = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).contiguous(
        memory_format=torch.channels_last
    )
    norm(x).backward(upstream)
    exact, twin = x.detach().double().requires_grad_(), copy.deepcopy(fresh()).double()
    twin(exact).backward(upstream.double())
    assert off(x.grad, exact.grad) < EXACT
    assert off(norm.weight.grad, twin.weight.grad) < 3e-5  # torch sums it row by row
    assert off(norm.bias.grad, twin.bias.grad) < 3e-5


def test_running_statistics_follow_torch():
    ours, theirs = fresh(), torch.nn.BatchNorm2d(16).double()
    for seed in range(3):
        x = images(8, mean=seed)
        ours(x), theirs(x.double())
    assert off(ours.running_mean, theirs.running_mean) < EXACT
    assert off(ours.running_var, theirs.running_var) < EXACT
    assert ours.num_batches_tracked == theirs.num_batches_tracked == 3


@pytest.mark.parametrize("change", [lambda x: x.contiguous(), lambda x: x.double()])
def test_all_else_is_torch_s_own(change):
    x, norm, torch_s = change(images(4)), fresh(), torch.nn.BatchNorm2d(16)
    norm, torch_s = norm.to(x.dtype), torch_s.to(x.dtype)
    torch_s.load_state_dict(norm.state_dict())
    assert torch.equal(norm(x), torch_s(x))
    assert torch.equal(norm.running_var, torch_s.running_var)


def test_one_value_a_channel_has_no_statistics():
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        fresh()(images(1, side=1))
