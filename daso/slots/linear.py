"""A linear classifier outside the networks, with an optimizer and an average of its own, for features without gradient.

Shape legend: B batch, D features, C classes.
"""

import math

import torch
from torch import Tensor, nn

from daso.slots.losses import cross_entropy, one_hot, wide

RATES, TINY = (0.9, 0.999), 1e-8  # of Adam's two moments, and what its root never falls below


class LinearHead(nn.Module):
    """W f + b. Its gradient is written down, (softmax - label) f^T: no graph is kept, and the networks' optimizer does
    not know of it.

    Args:
        features: D.
        classes: C.
        lr: Adam's (Kingma & Ba 2015).
        decay: of the weight alone, in the gradient.
        momentum: of the average, from the first step on.
    """

    weight: Tensor
    bias: Tensor
    count: Tensor

    def __init__(self, features: int, classes: int, lr: float, decay: float, momentum: float) -> None:
        super().__init__()
        self.lr, self.decay, self.momentum = lr, decay, momentum
        for name, shape in (("weight", (classes, features)), ("bias", (classes,))):
            for kind in ("", "_average", "_first", "_second"):
                self.register_buffer(name + kind, torch.zeros(shape))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))  # steps that the moments have seen

    @torch.no_grad()
    def start(self, weight: Tensor, bias: Tensor) -> None:
        """Begin afresh, the average with it."""
        for name, value in (("weight", weight), ("bias", bias)):
            for kind in ("", "_average"):
                getattr(self, name + kind).copy_(value)
        self.forget()

    @torch.no_grad()
    def forget(self) -> None:
        """Begin with fresh moments."""
        for name in ("weight", "bias"):
            for kind in ("_first", "_second"):
                getattr(self, name + kind).zero_()
        self.count.zero_()

    def forward(self, f: Tensor, average: bool = False) -> Tensor:
        """Logits [B,C] of features [B,D], in at least float32; with `average` by the average."""
        weight, bias = (self.get_buffer(name + "_average" * average) for name in ("weight", "bias"))
        with torch.autocast(f.device.type, enabled=False):
            return wide(f).to(weight.dtype) @ weight.T + bias

    @torch.no_grad()
    def learn(self, f: Tensor, y: Tensor) -> Tensor:
        """One step on features [B,D] of classes [B], in place; the 0-d cross entropy before it."""
        z = self(f)
        loss = cross_entropy(z, y)
        error = (z.softmax(1) - one_hot(y, z)) / len(y)
        with torch.autocast(f.device.type, enabled=False):
            gradient = error.T @ wide(f).to(z.dtype)
        self.count.add_(1)
        first, second = (1 - rate ** self.count.to(torch.float64) for rate in RATES)
        for name, g in (("weight", gradient + self.decay * self.weight), ("bias", error.sum(0))):
            value, average, mean, square = (
                self.get_buffer(name + kind) for kind in ("", "_average", "_first", "_second")
            )
            mean.mul_(RATES[0]).add_(g, alpha=1 - RATES[0])
            square.mul_(RATES[1]).addcmul_(g, g, value=1 - RATES[1])
            root = square.sqrt() / second.sqrt().to(g.dtype) + TINY
            value.sub_(self.lr * (mean / first.to(g.dtype)) / root)
            average.mul_(self.momentum).add_(value, alpha=1 - self.momentum)
        return loss


def xavier(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """[C,D] a fresh weight of this `shape`, as the networks' heads have it."""
    return torch.randn(shape, generator=generator) * math.sqrt(2 / sum(shape))
