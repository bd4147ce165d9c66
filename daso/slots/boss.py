"""BOSS (Smith & Conovaloff, 2020): its balancing of pseudo-labels, by a threshold of confidence per class.

Shape legend: Bu unlabeled batch, C classes.
"""

import torch
from torch import Tensor

from daso.schema import BossConfidence
from daso.slots.base import Confidence
from daso.types import Chosen, Clock, Facts, Target


class Boss(Confidence):
    """A class that the batch's pseudo-labels name n_c times needs threshold - delta * (1 - n_c / max n) (section 3.2).

    All pseudo-labels of the batch are counted, confident or not.

    Args:
        num_classes: C.
        delta: how far the threshold of a class without pseudo-labels is lowered; 0 changes nothing.
    """

    def __init__(self, num_classes: int, delta: float) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.delta = delta

    @classmethod
    def of(cls, config: BossConfidence, facts: Facts) -> "Boss":
        """For the classes of the run."""
        return cls(facts.num_classes, config.delta)

    @torch.no_grad()
    def confident(self, target: Target, idx: Tensor, threshold: float, clock: Clock) -> Chosen:
        """Those that reach the threshold of their class."""
        label, conf = target.label, target.conf
        counts = conf.new_zeros(self.num_classes).index_add_(0, label, torch.ones_like(conf))
        return Chosen(label, conf >= threshold - self.delta * (1 - counts[label] / counts.max()))
