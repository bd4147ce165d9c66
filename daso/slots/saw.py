"""SAW (Lai et al., ICML 2022): smoothed, adaptive weights of classes, labeled and pseudo-labeled.

Shape legend: N unlabeled set, Bu unlabeled batch, C classes.
"""

import torch
from torch import Tensor

from daso.schema import CountedBy, SawBalance, Unseen
from daso.schema.balance import ADAPTIVE
from daso.slots.base import Balance, Census, Observe, Survey
from daso.slots.losses import last_of_equal
from daso.slots.priors import begins, renew
from daso.types import Batch, Clock, Facts, Nets, Target


class Saw(Observe, Census, Balance, Survey):
    """A class weighs (1 - beta) / (1 - beta^d), d its images: labeled ones, or, from the end of the first period on,
    unlabeled ones by their last pseudo-labels. beta is (D - 1) / D with the mean D of d.

    Args:
        counts: [C] int64 labeled images per class; `relabel` replaces them.
        unlabeled: N.
        config: period, base and scale of the weights, and what counts unlabeled images.
    """

    surveys_teacher = True
    store: Tensor
    weight: Tensor
    labeled_weight: Tensor

    def __init__(self, counts: Tensor, unlabeled: int, config: SawBalance) -> None:
        super().__init__()
        self.config = config
        self.surveyed = config.scale > 0 and config.counted_by is CountedBy.survey
        rows = 0 if self.surveyed else unlabeled
        self.register_buffer("store", torch.full((rows,), -1))  # last pseudo-label of a row; -1: not seen
        self.register_buffer("weight", torch.ones(len(counts), dtype=torch.float64))  # of pseudo-labels
        self.register_buffer("labeled_weight", self.weights(counts))

    @classmethod
    def of(cls, config: SawBalance, facts: Facts) -> "Saw":
        """For the labeled and unlabeled images of the run."""
        return cls(facts.counts, facts.unlabeled, config)

    def relabel(self, counts: Tensor) -> None:
        """Start afresh: no unlabeled image seen, labels weighed by the new `counts` [C]."""
        self.store.fill_(-1)
        self.weight.fill_(1)
        self.labeled_weight.copy_(self.weights(counts))

    def weights(self, counts: Tensor) -> Tensor:
        """[C] float64 weights of classes with `counts` [C] images; an empty one weighs as one with a single image."""
        d = counts.to(torch.float64)
        filled = d.clamp(min=1)
        total = (filled if self.surveyed else d).sum()  # USB's code fills empty classes before the mean (SW2)
        if self.config.beta == ADAPTIVE:
            beta = (1 - len(d) / total).clamp(min=0)
        else:
            beta = torch.full_like(total, self.config.beta)
        w = (1 - beta) / (1 - beta**filled)
        return self.config.scale * len(w) * w / w.sum()

    def counts(self) -> Tensor:
        """[C] float64: rows of the store by their last pseudo-label."""
        taken = (self.store >= 0) | (self.config.unseen is Unseen.first)
        counts = torch.zeros_like(self.weight, dtype=torch.float64)
        return counts.index_add_(0, self.store.clamp(min=0), taken.to(torch.float64))

    @torch.no_grad()
    def observe(self, nets: Nets, batch: Batch, clock: Clock, feats_l: Tensor | None) -> None:
        """At the start of a period: weights by the labels stored so far."""
        if not self.surveyed:
            renew(self.weight, begins(clock.step, self.config.every), self.weights(self.counts()))

    @torch.no_grad()
    def note(self, target: Target, idx: Tensor) -> None:
        """Remember the labels of the rows `idx` [Bu]."""
        if not self.surveyed:
            self.store.index_copy_(0, idx, target.label.index_select(0, last_of_equal(idx)))

    def balance(self) -> Tensor | None:
        """[C] weights of pseudo-labels."""
        return self.weight if self.config.scale else None

    def balance_labeled(self) -> Tensor | None:
        """[C] weights of labels."""
        return self.labeled_weight if self.config.scale else None

    def due(self, step: int) -> bool:
        """Every period, if a survey counts."""
        return self.surveyed and step % self.config.every == 0

    def survey(self, logits: Tensor) -> None:
        """Weights by what the average network takes all unlabeled images for."""
        counts = torch.bincount(logits.argmax(1), minlength=len(self.weight))
        self.weight.copy_(self.weights(counts))

    def metrics(self) -> dict[str, Tensor]:
        """`balance` [C], the weights of pseudo-labels; `balance/spread`, the largest over the smallest;
        `balance/counts` [C], unlabeled images by their last pseudo-label, unless a survey counts. Nothing where nothing
        is weighed.
        """
        if not self.config.scale:
            return {}
        found = {"balance": self.weight.clone(), "balance/spread": self.weight.max() / self.weight.min()}
        return found if self.surveyed else found | {"balance/counts": self.counts()}
