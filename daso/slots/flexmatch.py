"""FlexMatch (Zhang et al., NeurIPS 2021): thresholds by how many images each class has learned.

Shape legend: N unlabeled set, Bu unlabeled batch, C classes.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from daso.schema import FlexMatchConfidence
from daso.slots.thresholds import ClassThresholds
from daso.types import Chosen, Clock, Facts, Target

NONE = -1  # an image that never had a confident label


class FlexMatch(ClassThresholds):
    """A class needs threshold * M(beta_c); beta_c is how many images have c for their last confident label, of those
    of the class with most or, in the warm-up, of those that never had one, if these are more (Eq. 5-7, 11, 12).

    Confident is what reaches the learner's own threshold. A step's labels count from the next one on.

    Args:
        counts: [C] int64 labeled images per class; they decide no number.
        unlabeled: N.
        threshold: the learner's.
        config: the map M, and whether there is a warm-up.
    """

    store: Tensor
    totals: Tensor

    def __init__(self, counts: Tensor, unlabeled: int, threshold: float, config: FlexMatchConfidence) -> None:
        super().__init__(counts)
        self.threshold, self.config = threshold, config
        self.register_buffer("store", torch.full((unlabeled,), NONE))  # last confident label of each row
        self.register_buffer("totals", torch.zeros(len(counts) + 1, dtype=torch.int64))  # rows of each; at last, none
        self.relabel(counts)

    @classmethod
    def of(cls, config: FlexMatchConfidence, facts: Facts) -> "FlexMatch":
        """For the unlabeled images of the run and its learner's threshold."""
        return cls(facts.counts, facts.unlabeled, facts.threshold, config)

    def relabel(self, counts: Tensor) -> None:
        """Start afresh: no image has been learned."""
        self.remember(torch.full_like(self.store, NONE))

    def remember(self, labels: Tensor) -> None:
        """Take `labels` [N], -1 for none, for the last confident ones; between two steps."""
        self.store.copy_(labels)
        kinds = len(self.totals)
        self.totals.copy_(torch.bincount(torch.where(labels < 0, kinds - 1, labels), minlength=kinds))

    def learned(self) -> Tensor:
        """[C] float64 beta."""
        most, none = self.totals[:-1].max(), self.totals[-1]
        whole = torch.maximum(most, none) if self.config.warmup else most
        return self.totals[:-1].to(torch.float64) / whole.clamp(min=1)

    def thresholds(self) -> Tensor:
        """[C] threshold * M(beta)."""
        return self.threshold * MAPS[self.config.map](self.learned())

    @torch.no_grad()
    def confident(self, target: Target, idx: Tensor, threshold: float, clock: Clock) -> Chosen:
        """Those that reach the threshold of their class; then the labels that reach the learner's are stored."""
        label, conf = target.label, target.conf
        chosen = Chosen(label, conf >= self.thresholds().to(conf.dtype)[label])
        self._store(idx, label, conf >= threshold)
        return chosen

    def _store(self, idx: Tensor, label: Tensor, sure: Tensor) -> None:
        """Write the labels [Bu] that are `sure` to the rows `idx`; of a row that is there twice, the later one."""
        place = torch.arange(len(idx), device=idx.device)
        last = ((idx[:, None] == idx) * ((place + 1) * sure)).amax(1) - 1  # [Bu] who writes the row; -1: nobody
        before = self.store[idx]
        moved = (last == place).to(torch.int64)  # once a row
        self.totals.index_add_(0, torch.where(before < 0, len(self.totals) - 1, before), -moved)
        self.totals.index_add_(0, label, moved)
        self.store.index_copy_(0, idx, torch.where(last < 0, before, label[last.clamp(min=0)]))

    def metrics(self) -> dict[str, Tensor]:
        """`pl/learned` [C]: images by their last confident label; `pl/unused`: the share without one."""
        none = self.totals[-1] / max(len(self.store), 1)
        return super().metrics() | {"pl/learned": self.totals[:-1].clone(), "pl/unused": none}


MAPS: dict[str, Callable[[Tensor], Tensor]] = {
    "convex": lambda beta: beta / (2 - beta),
    "linear": lambda beta: (beta + 1) / 2,
    "low": lambda beta: 1 / (2 - beta),
    "concave": lambda beta: ((beta + 1).log() + 0.5) / (math.log(2) + 0.5),
}
"""M, from beta [C] in 0..1 to the share of the threshold: 1 at 1."""
