"""Adam, weight decay as a factor after the step, and an EMA from the first step on: what other code bases train with."""

import copy
import io
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from daso.nn import ema
from daso.nn.net import Net
from daso.nn.wrn import Details, WideResNet
from daso.schema import Decay, OptimConfig, Schedule
from daso.train.optimizer import build_optimizer, set_lr, shrink, shrunk_by
from tests.unit.test_ema import moved
from tests.unit.test_optimizer import give_gradients, net

ADAM = OptimConfig("adam", lr=0.002, schedule=Schedule.constant, weight_decay=0.04, decay=Decay.state)


def reference_step(weights, grads, means, squares, step, lr):
    """Kingma & Ba 2015, Algorithm 1."""
    for weight, grad, mean, square in zip(weights, grads, means, squares, strict=True):
        mean.mul_(0.9).add_(0.1 * grad)
        square.mul_(0.999).add_(0.001 * grad**2)
        mean_hat, square_hat = mean / (1 - 0.9**step), square / (1 - 0.999**step)
        weight.sub_(lr * mean_hat / (square_hat.sqrt() + 1e-8))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("dtype", "rel"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_adam_s_steps_equal_the_textbook(layout, dtype, rel):
    student = net(dtype, layout)
    optimizer = build_optimizer(student, ADAM)
    weights = [p.detach().double().clone() for p in student.parameters()]
    means, squares = ([torch.zeros_like(w) for w in weights] for _ in range(2))
    for step, lr in enumerate([0.002, 0.01, 0.001], 1):
        give_gradients(student, step)
        reference_step(weights, [p.grad.double() for p in student.parameters()], means, squares, step, lr)
        set_lr(optimizer, lr)
        optimizer.step()
    for p, expected in zip(student.parameters(), weights, strict=True):
        torch.testing.assert_close(p.detach().double(), expected, rtol=rel, atol=rel)


def test_adam_resumed_from_a_saved_state_ends_bit_for_bit_the_same_without_moving_a_tensor():
    def steps(optimizer, module, first, last):
        for step in range(first, last):
            give_gradients(module, step)
            set_lr(optimizer, 0.001 * step)
            optimizer.step()

    whole, half = net(torch.float32, torch.channels_last), net(torch.float32, torch.channels_last)
    steps(build_optimizer(whole, ADAM), whole, 0, 6)
    optimizer = build_optimizer(half, ADAM)
    steps(optimizer, half, 0, 3)
    file = io.BytesIO()
    torch.save({"net": half.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    again = net(torch.float32, torch.channels_last)
    optimizer = build_optimizer(again, ADAM)
    tensors = [value for state in optimizer.state.values() for value in state.values()]
    again.load_state_dict(saved["net"])
    optimizer.load_state_dict(saved["optimizer"])
    assert all(a is b for a, b in zip(tensors, [v for s in optimizer.state.values() for v in s.values()], strict=True))
    steps(optimizer, again, 3, 6)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


def test_a_changed_rate_does_not_retrace_adam_s_step():
    student = net(torch.float32)
    optimizer = build_optimizer(student, ADAM)
    give_gradients(student, 0)
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    step = torch.compile(optimizer.step, backend=backend)
    step()
    traced = len(graphs)
    for lr in (0.2, 0.02):
        set_lr(optimizer, lr)
        step()
    assert len(graphs) == traced


@pytest.mark.parametrize(
    ("decay", "norm_bias", "shrinks"),
    [
        (Decay.gradient, True, lambda name, t: False),
        (Decay.weights, True, lambda name, t: isinstance(t, nn.Parameter)),
        (Decay.weights, False, lambda name, t: isinstance(t, nn.Parameter) and t.ndim > 1),
        (Decay.state, True, lambda name, t: t.is_floating_point()),
    ],
)
def test_weight_decay_as_a_factor_reaches_weights_or_running_statistics_as_well(decay, norm_bias, shrinks):
    student = moved().double()
    optim = replace(ADAM, decay=decay, decay_norm_bias=norm_bias)
    before = {name: t.clone() for name, t in [*student.named_parameters(), *student.named_buffers()]}
    tensors = shrunk_by(student, optim)
    if tensors:
        shrink(tensors, torch.tensor(0.5, dtype=torch.float64), 0.04)
    for name, t in [*student.named_parameters(), *student.named_buffers()]:
        factor = 1 - 0.04 * 0.5 if shrinks(name, t) else 1
        torch.testing.assert_close(t.detach(), before[name] * factor)


def test_what_acts_as_a_factor_does_not_act_in_the_gradient():
    for name in ("adam", "sgd"):
        for decay, inner in ((Decay.gradient, 0.04), (Decay.weights, 0.0), (Decay.state, 0.0)):
            optim = replace(ADAM, name=name, decay=decay)
            assert {group["weight_decay"] for group in build_optimizer(net(), optim).param_groups} == {inner}


def test_an_average_without_warm_up_moves_by_the_whole_rate_from_the_first_step():
    student, teacher = moved(1), moved(2)
    before = copy.deepcopy(teacher)
    ema.update(student, teacher, torch.tensor(0), 0.75, warmup=False)
    for new, old, other in zip(teacher.parameters(), before.parameters(), student.parameters(), strict=True):
        torch.testing.assert_close(new, 0.75 * old + 0.25 * other)


def test_statistics_are_copied_where_that_is_asked_for_and_weights_are_not():
    student, teacher = moved(1), moved(2)
    ema.update(student, teacher, torch.tensor(9), 0.5, warmup=False, copy_buffers=True)
    for new, other in zip(teacher.buffers(), student.buffers(), strict=True):
        assert torch.equal(new, other)
    pairs = zip(teacher.parameters(), student.parameters(), strict=True)
    assert not any(torch.equal(a, b) for a, b in pairs if a.ndim > 1)


def test_a_convolution_s_bias_begins_uniform_and_changes_no_other_number():
    def made(details):
        wide = Net(WideResNet(10, 1, details=details), 5)
        wide.init(torch.Generator().manual_seed(0))
        return wide

    with_bias = made(Details(stem_bias=True))
    bias, bound = with_bias.encoder.stem.bias.detach(), 1 / math.sqrt(27)
    assert 0.5 * bound < float(bias.abs().max()) < bound
    assert float(bias.min()) < 0 < float(bias.max())
    assert torch.equal(with_bias.encoder.stem.weight, made(Details()).encoder.stem.weight)
