import copy
import io
from dataclasses import replace

import pytest
import torch
from torch import nn

from daso.nn.net import Net
from daso.nn.wrn import WideResNet
from daso.schema import OptimConfig, Schedule
from daso.train.optimizer import build_optimizer, set_lr

OPTIM = OptimConfig("sgd", lr=0.03, schedule=Schedule.constant)


def net(dtype: torch.dtype = torch.float64, layout: torch.memory_format = torch.contiguous_format) -> Net:
    made = Net(WideResNet(10, 1), 5)
    made.init(torch.Generator().manual_seed(0))
    return made.to(dtype=dtype, memory_format=layout)


def give_gradients(module: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for p in module.parameters():
        grad = torch.randn(p.shape, generator=generator, dtype=p.dtype)
        p.grad = torch.empty_like(p).copy_(grad)


def reference_step(p: list[torch.Tensor], g: list[torch.Tensor], m: list[torch.Tensor], lr: float) -> None:
    """Nesterov SGD with weight decay on everything, in the textbook's order (Sutskever et al. 2013, torch's form)."""
    for weight, grad, momentum in zip(p, g, m, strict=True):
        decayed = grad + 5e-4 * weight
        momentum.mul_(0.9).add_(decayed)
        weight.sub_(lr * (decayed + 0.9 * momentum))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("dtype", "rel"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_steps_equal_the_textbook(layout: torch.memory_format, dtype: torch.dtype, rel: float) -> None:
    student = net(dtype, layout)
    optimizer = build_optimizer(student, OPTIM)
    weights = [p.detach().double().clone() for p in student.parameters()]
    momenta = [torch.zeros_like(w) for w in weights]
    for step, lr in enumerate([0.03, 0.1, 0.001]):
        give_gradients(student, step)
        reference_step(weights, [p.grad.double() for p in student.parameters()], momenta, lr)
        set_lr(optimizer, lr)
        optimizer.step()
    for p, expected in zip(student.parameters(), weights, strict=True):
        torch.testing.assert_close(p.detach().double(), expected, rtol=rel, atol=rel * float(expected.abs().max()))


def test_weight_decay_may_leave_normalisation_and_biases_alone() -> None:
    student = net()
    optimizer = build_optimizer(student, replace(OPTIM, decay_norm_bias=False, momentum=0.0, nesterov=False))
    before = {name: p.detach().clone() for name, p in student.named_parameters()}
    for p in student.parameters():
        p.grad = torch.zeros_like(p)
    set_lr(optimizer, 0.1)
    optimizer.step()
    for name, p in student.named_parameters():
        kept = "bn" in name or "norm" in name or name.endswith("bias")
        torch.testing.assert_close(p.detach(), before[name] * (1 if kept else 1 - 0.1 * 5e-4))
        assert kept == (p.ndim == 1)


def test_a_first_step_at_rate_zero_moves_nothing_but_fills_the_momentum() -> None:
    student = net()
    optimizer = build_optimizer(student, OPTIM)
    before = copy.deepcopy(list(student.parameters()))
    give_gradients(student, 0)
    set_lr(optimizer, 0.0)
    optimizer.step()
    for p, old in zip(student.parameters(), before, strict=True):
        assert torch.equal(p, old)
        torch.testing.assert_close(optimizer.state[p]["momentum_buffer"], p.grad + 5e-4 * p.detach())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_run_resumed_from_a_saved_state_ends_bit_for_bit_the_same(dtype: torch.dtype) -> None:
    def steps(optimizer: torch.optim.Optimizer, module: nn.Module, first: int, last: int) -> None:
        for step in range(first, last):
            give_gradients(module, step)
            set_lr(optimizer, 0.01 * step)
            optimizer.step()

    whole, half = net(dtype, torch.channels_last), net(dtype, torch.channels_last)
    steps(build_optimizer(whole, OPTIM), whole, 0, 6)
    optimizer = build_optimizer(half, OPTIM)
    steps(optimizer, half, 0, 3)
    file = io.BytesIO()
    torch.save({"net": half.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    again = net(dtype, torch.channels_last)
    optimizer = build_optimizer(again, OPTIM)
    again.load_state_dict(saved["net"])
    optimizer.load_state_dict(saved["optimizer"])
    steps(optimizer, again, 3, 6)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


def test_loading_leaves_rate_and_momentum_where_and_how_they_are() -> None:
    source = build_optimizer(net(), OPTIM)
    set_lr(source, 0.5)
    for state in source.state.values():
        state["momentum_buffer"].normal_(generator=torch.Generator().manual_seed(3))
    target = build_optimizer(net(layout=torch.channels_last), OPTIM)
    tensors = [target.param_groups[0]["lr"], *(s["momentum_buffer"] for s in target.state.values())]
    strides = [t.stride() for t in tensors]
    target.load_state_dict(source.state_dict())
    after = [target.param_groups[0]["lr"], *(s["momentum_buffer"] for s in target.state.values())]
    assert all(a is b for a, b in zip(tensors, after, strict=True))
    assert strides == [t.stride() for t in after]
    assert float(after[0]) == 0.5
    for a, b in zip(after[1:], source.state.values(), strict=True):
        assert torch.equal(a, b["momentum_buffer"])


def test_loading_copies_so_that_its_source_does_not_follow() -> None:
    student, other = net(), net()
    source, target = build_optimizer(student, OPTIM), build_optimizer(other, OPTIM)
    target.load_state_dict(source.state_dict())
    give_gradients(other, 0)
    target.step()
    assert not any(state["momentum_buffer"].any() for state in source.state.values())


def test_without_momentum_there_is_no_state_and_loading_still_works() -> None:
    plain = OptimConfig("sgd", lr=0.03, schedule=Schedule.constant, momentum=0.0, nesterov=False, weight_decay=0.0)
    student = net()
    optimizer = build_optimizer(student, plain)
    optimizer.load_state_dict(build_optimizer(net(), plain).state_dict())
    before = [p.detach().clone() for p in student.parameters()]
    give_gradients(student, 0)
    optimizer.step()
    for p, old in zip(student.parameters(), before, strict=True):
        torch.testing.assert_close(p.detach(), old - 0.03 * p.grad)


def test_changing_the_rate_does_not_retrace_the_step() -> None:
    student = net(torch.float32)
    optimizer = build_optimizer(student, OPTIM)
    give_gradients(student, 0)
    graphs = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        graphs.append(graph)
        return graph.forward

    step = torch.compile(optimizer.step, backend=backend)
    step()
    traced = len(graphs)
    for lr in (0.2, 0.02, 0.002):
        set_lr(optimizer, lr)
        step()
    assert len(graphs) == traced
