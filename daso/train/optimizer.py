"""SGD and Adam built from the configuration, in the form that a compiled or captured step needs."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from daso.schema import Decay, OptimConfig


def is_matrix(parameter: Tensor) -> bool:
    """Whether a parameter is the weight of a layer, not of a normalisation and no bias."""
    return parameter.ndim > 1


class Sgd(torch.optim.SGD):
    """Fused SGD whose state exists from the start and never moves: the learning rate is a 0-d tensor on the parameters'
    device, the momentum buffers begin as zeros (the first step is the same as without any).

    So nothing recompiles when the rate changes, `load_state_dict` leaves every captured address valid, and the
    momentum keeps the memory format of its parameter, on which the fused CPU kernel relies unchecked.
    Weight decay acts on all parameters, normalisation and biases included, as in the reference, unless told otherwise.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], optim: OptimConfig, decayed: Callable[[Tensor], bool] = is_matrix
    ) -> None:
        params = list(parameters)
        super().__init__(
            _groups(params, optim, decayed),
            lr=_rate(params[0], optim),
            momentum=optim.momentum,
            nesterov=optim.nesterov,
            weight_decay=_inner_decay(optim),
            fused=True,
        )
        if optim.momentum > 0:
            for p in params:
                self.state[p]["momentum_buffer"] = torch.zeros_like(p)

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take rate and momentum from `state_dict`, in place.

        Raises:
            ValueError: it belongs to another set of parameters.
        """
        with _in_place(self):
            super().load_state_dict(state_dict)


class Adam(torch.optim.Adam):
    """Fused Adam (Kingma & Ba 2015) with rates 0.9 and 0.999, whose state exists from the start and never moves, for
    the same reasons as `Sgd`'s.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], optim: OptimConfig, decayed: Callable[[Tensor], bool] = is_matrix
    ) -> None:
        params = list(parameters)
        super().__init__(
            _groups(params, optim, decayed),
            lr=_rate(params[0], optim),
            weight_decay=_inner_decay(optim),
            fused=True,
            capturable=params[0].device.type == "cuda",
        )
        self._warned_capturable_if_run_uncaptured = True  # steps before the capture are meant to run so
        for p in params:
            self.state[p]["step"] = torch.zeros((), dtype=torch.float32, device=p.device)  # as the kernel wants it
            self.state[p]["exp_avg"] = torch.zeros_like(p)
            self.state[p]["exp_avg_sq"] = torch.zeros_like(p)

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take rate, moments and step from `state_dict`, in place.

        Raises:
            ValueError: it belongs to another set of parameters.
        """
        with _in_place(self):
            super().load_state_dict(state_dict)


def _groups(params: list[nn.Parameter], optim: OptimConfig, decayed: Callable[[Tensor], bool]) -> list[dict[str, Any]]:
    if optim.decay_norm_bias or optim.weight_decay == 0:
        return [{"params": params}]
    rest = {"params": [p for p in params if not decayed(p)], "weight_decay": 0.0}
    return [{"params": [p for p in params if decayed(p)]}, rest]


def _rate(parameter: nn.Parameter, optim: OptimConfig) -> Tensor:
    # The fused CUDA kernel reads a float32 rate; on the CPU a float64 one keeps float64 training exact.
    dtype = torch.float64 if parameter.device.type == "cpu" else torch.float32
    return torch.tensor(optim.lr, dtype=dtype, device=parameter.device)


def _inner_decay(optim: OptimConfig) -> float:
    return optim.weight_decay if optim.decay is Decay.gradient else 0.0


@contextmanager
def _in_place(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Where the block replaces rates and state, copy what it put there into the tensors that stood there."""
    rates = [group["lr"] for group in optimizer.param_groups]
    states = {p: dict(state) for p, state in optimizer.state.items()}
    yield
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate.copy_(group["lr"])
    for p, state in states.items():
        for name, value in state.items():
            optimizer.state[p][name] = value.copy_(optimizer.state[p][name])


def build_optimizer(net: nn.Module, optim: OptimConfig) -> Sgd | Adam:
    """The optimizer of every parameter of `net`, on whatever device and in whatever dtype they are."""
    return (Adam if optim.name == "adam" else Sgd)(net.parameters(), optim, decayed_in(net))


def decayed_in(net: nn.Module) -> Callable[[Tensor], bool]:
    """Whether weight decay acts on a parameter of `net` where it spares normalisation and biases.

    The scale of a normalisation inside a head is not spared: the one published code that has any exempts by names, and
    these have another.
    """
    scales = {id(module.weight) for module in net.modules() if isinstance(module, nn.BatchNorm1d)}
    return lambda parameter: is_matrix(parameter) or id(parameter) in scales


def shrunk_by(net: nn.Module, optim: OptimConfig) -> list[Tensor]:
    """The tensors of `net` that weight decay multiplies after a step; none where it acts in the gradient."""
    if optim.decay is Decay.gradient or optim.weight_decay == 0:
        return []
    decayed = decayed_in(net)
    tensors: list[Tensor] = [p for p in net.parameters() if optim.decay_norm_bias or decayed(p)]
    return tensors + [b for b in net.buffers() if optim.decay is Decay.state and b.is_floating_point()]


@torch.no_grad()
def shrink(tensors: list[Tensor], lr: Tensor, weight_decay: float) -> None:
    """Multiply each tensor by 1 - weight_decay * lr, in place (lr is [], on their device)."""
    torch._foreach_mul_(tensors, (1 - weight_decay * lr).to(tensors[0].dtype))


def set_lr(optimizer: torch.optim.Optimizer, lr: float | Tensor) -> None:
    """Set the learning rate of every group, in place and without waiting for the device (a tensor is [], on it)."""
    for group in optimizer.param_groups:
        group["lr"].fill_(lr)
