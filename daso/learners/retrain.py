"""Training of the classifier alone, on the features of a frozen encoder."""

import torch

from daso.learners.base import Learner
from daso.schema import FrozenBn, RetrainAlgorithm
from daso.slots.slots import Slots
from daso.types import Batch, Clock, Facts, Flags, Nets, Noise, Outcome


class Retrain(Learner):
    """The labeled loss on weakly augmented images; no gradient, so no weight decay either, reaches the encoder.

    Args:
        running_stats: the encoder normalises by its running statistics and leaves them; else by those of the batch,
            and its running ones go on moving.
    """

    evaluates_student = True

    def __init__(self, running_stats: bool = False) -> None:
        super().__init__()
        self.running_stats = running_stats

    @classmethod
    def of(cls, config: RetrainAlgorithm, facts: Facts) -> "Retrain":
        """With the knobs alone."""
        return cls(running_stats=config.bn is FrozenBn.clean)

    def forward(self, nets: Nets, batch: Batch, slots: Slots, noise: Noise, clock: Clock, flags: Flags) -> Outcome:
        """Loss `cls`."""
        with torch.no_grad():
            f = nets.student.encode(batch.x, running_stats=self.running_stats)
        z_l = nets.student.classify(f)
        return Outcome({"cls": slots.supervised(z_l, batch.y, flags)}, z_l.detach(), None)
