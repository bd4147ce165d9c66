"""Labeled losses that weigh their classes late in training. C classes, Bl labeled batch."""

import torch
import torch.nn.functional as F
from torch import Tensor

from daso.schema import ClassBalancedLoss, MarginBalancedLoss
from daso.slots.base import LabeledLoss
from daso.slots.losses import cross_entropy, one_hot, wide
from daso.types import Facts, Flags


class ClassBalanced(LabeledLoss):
    """Cross entropy, from `start` on weighed by the effective number of images (Cui et al., CVPR 2019, Eq. 5).

    w_c = (1 - beta) / (1 - beta^n_c), scaled to a mean of 1. The sum is divided by the number of images, not by that
    of the weights.

    Args:
        counts: [C] int64 labeled images per class, none zero; `relabel` replaces them.
        beta: base of the effective number; 1 makes it the number of images, 0 weighs all classes alike.
        start: the step of a phase from which the weights count.
    """

    switches = ("deferred",)
    weight: Tensor

    def __init__(self, counts: Tensor, beta: float, start: int) -> None:
        super().__init__()
        self.beta, self.start = beta, start
        self.register_buffer("weight", class_weights(counts, beta))

    @classmethod
    def of(cls, config: ClassBalancedLoss, facts: Facts) -> "ClassBalanced":
        """For the labeled images of the run."""
        return cls(facts.counts, config.beta, first_late_step(config.defer, facts.phase_steps))

    def flags(self, step: int) -> Flags:
        """`deferred`: the weights count."""
        return self.switches if step >= self.start else ()

    def relabel(self, counts: Tensor) -> None:
        """Weigh by the new counts from now on."""
        self.weight.copy_(class_weights(counts, self.beta))

    def supervised(self, logits: Tensor, y: Tensor, flags: Flags, weight: Tensor | None = None) -> Tensor:
        """The mean (weighed) cross entropy of `logits` [Bl,C] against `y` [Bl]."""
        assert weight is None, "nothing else weighs classes beside a loss that does"
        weight = self.weight.to(wide(logits).dtype)[y] if "deferred" in flags else None
        return cross_entropy(logits, y, weight)


class MarginBalanced(ClassBalanced):
    """LDAM-DRW (Cao et al., NeurIPS 2019): a margin per class on scaled logits, and class weights from `start` on.

    The margins are n_c^(-1/4), scaled to `max_margin` at most (Eq. 13). Weighed, the sum is divided by that of the
    weights.

    Args:
        counts, beta, start: as in `ClassBalanced`.
        max_margin: of the rarest class.
        scale: of the logits.
        margins_at_once: margins act from the first step on; else plain cross entropy comes before `start` (Q18).
    """

    margin: Tensor

    def __init__(
        self, counts: Tensor, beta: float, start: int, max_margin: float, scale: float, margins_at_once: bool
    ) -> None:
        super().__init__(counts, beta, start)
        self.max_margin, self.scale, self.margins_at_once = max_margin, scale, margins_at_once
        self.register_buffer("margin", margins(counts, max_margin))

    @classmethod
    def of(cls, config: ClassBalancedLoss, facts: Facts) -> "MarginBalanced":
        """For the labeled images of the run."""
        assert isinstance(config, MarginBalancedLoss)
        start = first_late_step(config.defer, facts.phase_steps)
        margin = (config.max_margin, config.scale, config.margins_at_once)
        return cls(facts.counts, config.beta, start, *margin)

    def relabel(self, counts: Tensor) -> None:
        """Weights and margins by the new counts from now on."""
        super().relabel(counts)
        self.margin.copy_(margins(counts, self.max_margin))

    def supervised(self, logits: Tensor, y: Tensor, flags: Flags, weight: Tensor | None = None) -> Tensor:
        """The mean cross entropy, later with margins and weights, of `logits` [Bl,C] against `y` [Bl]."""
        assert weight is None, "nothing else weighs classes beside a loss that does"
        if not ("deferred" in flags or self.margins_at_once):
            return cross_entropy(logits, y)
        z = wide(logits)
        z = self.scale * (z - one_hot(y, z) * self.margin.to(z.dtype))
        return F.cross_entropy(z, y, weight=self.weight.to(z.dtype) if "deferred" in flags else None)


def first_late_step(defer: float, steps: int) -> int:
    """The first step, counted from 0, that weighs its classes; in the reference, the 200,000th of 250,000."""
    return round(defer * steps) - 1


def class_weights(counts: Tensor, beta: float) -> Tensor:
    """[C] float64 weights of mean 1 from `counts` [C]."""
    n = counts.to(torch.float64)
    w = 1 / n if beta == 1 else (1 - beta) / (1 - beta**n)
    return w * len(w) / w.sum()


def margins(counts: Tensor, largest: float) -> Tensor:
    """[C] float64 margins from `counts` [C]."""
    m = counts.to(torch.float64) ** -0.25
    return m * largest / m.max()
