"""Filling of the place `align`: distribution alignment."""

import torch
from torch import Tensor

from daso.schema import AlignConfig
from daso.slots.base import Align
from daso.slots.priors import average
from daso.types import Facts

EPS = 1e-6


class DistributionAlignment(Align):
    """Scale predictions by goal / running mean, so that on average they follow the goal (ReMixMatch, section 3.1).

    The running mean is that of the last `window` batches before alignment, the current one included. The goal stays the
    initial one when the labeled set changes; CReST+ moves its temperature between phases.

    Args:
        goal: [C] class distribution, or counts, to follow.
        temperature: exponent of the goal; 1 leaves it, 0 makes it uniform.
        window: batches in the running mean.
        restart: after so many batches the running mean begins anew; 0: never.
        total: sum of the goal as it is compared with the running mean, which matters beside EPS alone.
        momentum: of a moving average in place of the window, which starts at the first batch's mean, current one
            included, and is divided by as it is (FlexMatch's published code); 0: the window.
    """

    goal: Tensor
    temperature: Tensor
    ring: Tensor
    pushed: Tensor

    def __init__(
        self,
        goal: Tensor,
        temperature: float = 1.0,
        window: int = 128,
        restart: int = 0,
        total: float = 1.0,
        momentum: float = 0.0,
    ) -> None:
        super().__init__()
        self.restart, self.total, self.momentum = restart, total, momentum
        self.register_buffer("goal", goal.to(torch.float64) / goal.sum())
        self.register_buffer("temperature", torch.tensor(temperature, dtype=torch.float64))
        rows = 1 if momentum else min(window, restart or window)  # batch means, or their average
        self.register_buffer("ring", torch.zeros(rows, len(goal)))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))  # batches seen

    @classmethod
    def of(cls, config: AlignConfig, facts: Facts) -> "DistributionAlignment":
        """Towards the labeled images of the run, or what its unlabeled ones are assumed to be."""
        goal = facts.assumed() if config.goal == "refine" else facts.counts
        total = float(facts.unlabeled) if config.goal == "images" else 1.0
        return cls(goal, config.temperature, config.window, config.restart, total, config.momentum)

    def relabel(self, counts: Tensor) -> None:
        """A moving average starts afresh; a window goes on, as in the published code of CReST+."""
        if self.momentum:
            self.pushed.zero_()

    def soften(self, temperature: float) -> None:
        """Follow goal^temperature from now on."""
        self.temperature.fill_(temperature)

    def align(self, p: Tensor) -> Tensor:
        """Aligned distributions [Bu,C] from `p` [Bu,C]; remembers the mean of `p`."""
        at = self.pushed % self.restart if self.restart else self.pushed
        mean, goal = p.mean(0, keepdim=True).to(self.ring.dtype), self.goal**self.temperature
        goal = self.total * goal / goal.sum()
        if self.momentum:
            self.ring.copy_(torch.where(at > 0, average(self.ring, mean, self.momentum), mean))
            scale = goal / self.ring[0].clamp(min=torch.finfo(self.ring.dtype).tiny)
        else:
            window = len(self.ring)
            if self.restart:
                self.ring.mul_((at > 0).to(self.ring.dtype))
            self.ring.index_copy_(0, (at % window).view(1), mean)
            scale = (goal + EPS) / (self.ring.sum(0) / (at + 1).clamp(max=window) + EPS)
        self.pushed.add_(1)
        p = p * scale.to(p.dtype)
        return p / p.sum(1, keepdim=True)
