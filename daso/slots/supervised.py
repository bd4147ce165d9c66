"""Fillings of the place `supervised`: the labeled loss."""

import torch
from torch import Tensor

from daso.schema import LogitAdjustedLoss, SupervisedLossConfig
from daso.slots.base import LabeledLoss
from daso.slots.losses import cross_entropy, wide
from daso.types import Facts, Flags


class CrossEntropy(LabeledLoss):
    """Plain cross entropy.

    Args:
        floor: added to probabilities inside the logarithm.
    """

    def __init__(self, floor: float = 0.0) -> None:
        super().__init__()
        self.floor = floor

    @classmethod
    def of(cls, config: SupervisedLossConfig, facts: Facts) -> "CrossEntropy":
        """With the learner's floor."""
        return cls(facts.floor)

    def supervised(self, logits: Tensor, y: Tensor, flags: Flags, weight: Tensor | None = None) -> Tensor:
        """The mean cross entropy of `logits` [Bl,C] against `y` [Bl]."""
        return cross_entropy(logits, y, weight, self.floor)


class LogitAdjusted(LabeledLoss):
    """Cross entropy of z + tau * log prior, the prior being the labeled class frequencies (Menon et al. 2021, Eq. 10;
    DASO paper, Eq. 8).

    Args:
        counts: [C] int64 labeled images per class, none zero; `relabel` replaces them.
        tau: strength; 0 is plain cross entropy.
    """

    counts: Tensor

    def __init__(self, counts: Tensor, tau: float) -> None:
        super().__init__()
        self.tau = tau
        self.register_buffer("counts", counts.to(torch.int64, copy=True))

    @classmethod
    def of(cls, config: LogitAdjustedLoss, facts: Facts) -> "LogitAdjusted":
        """For the labeled images of the run."""
        return cls(facts.counts, config.tau)

    def supervised(self, logits: Tensor, y: Tensor, flags: Flags, weight: Tensor | None = None) -> Tensor:
        """The mean cross entropy of the adjusted `logits` [Bl,C] against `y` [Bl]."""
        z = wide(logits)
        counts = self.counts.to(z.dtype)
        return cross_entropy(z + self.tau * (counts / counts.sum()).log(), y, weight)

    def relabel(self, counts: Tensor) -> None:
        """Adjust by the new prior from now on."""
        self.counts.copy_(counts)
