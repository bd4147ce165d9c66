"""SGD built from the configuration, in the form that a compiled or captured step needs."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from daso.schema import OptimConfig


class Sgd(torch.optim.SGD):
    """Fused SGD whose state exists from the start and never moves: the learning rate is a 0-d tensor on the parameters'
    device, the momentum buffers begin as zeros (the first step is the same as without any).

    So nothing recompiles when the rate changes, `load_state_dict` leaves every captured address valid, and the
    momentum keeps the memory format of its parameter, on which the fused CPU kernel relies unchecked.
    Weight decay acts on all parameters, normalisation and biases included, as in the reference, unless told otherwise.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], optim: OptimConfig) -> None:
        params = list(parameters)
        device = params[0].device
        # The fused CUDA kernel reads a float32 rate; on the CPU a float64 one keeps float64 training exact.
        dtype = torch.float64 if device.type == "cpu" else torch.float32
        groups: list[dict[str, Any]] = [{"params": params}]
        if not optim.decay_norm_bias:
            groups = [{"params": [p for p in params if p.ndim > 1]}]
            groups.append({"params": [p for p in params if p.ndim <= 1], "weight_decay": 0.0})
        super().__init__(
            groups,
            lr=torch.tensor(optim.lr, dtype=dtype, device=device),
            momentum=optim.momentum,
            nesterov=optim.nesterov,
            weight_decay=optim.weight_decay,
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
        rates = [group["lr"] for group in self.param_groups]
        momenta = {p: state["momentum_buffer"] for p, state in self.state.items()}
        super().load_state_dict(state_dict)
        for group, rate in zip(self.param_groups, rates, strict=True):
            group["lr"] = rate.copy_(group["lr"])
        for p, momentum in momenta.items():
            self.state[p]["momentum_buffer"] = momentum.copy_(self.state[p]["momentum_buffer"])


def build_optimizer(net: nn.Module, optim: OptimConfig) -> Sgd:
    """The optimizer of every parameter of `net`, on whatever device and in whatever dtype they are."""
    return Sgd(net.parameters(), optim)


def set_lr(optimizer: torch.optim.Optimizer, lr: float | Tensor) -> None:
    """Set the learning rate of every group, in place and without waiting for the device (a tensor is [], on it)."""
    for group in optimizer.param_groups:
        group["lr"].fill_(lr)
