"""Supervised training on the labeled images alone: the lower end of every comparison."""

from daso.learners.base import Learner
from daso.schema import SupervisedAlgorithm
from daso.slots.slots import Slots
from daso.types import Batch, Clock, Facts, Flags, Nets, Noise, Outcome


class Supervised(Learner):
    """The labeled loss on weakly augmented images; the raw network is evaluated, not its average."""

    evaluates_student = True

    @classmethod
    def of(cls, config: SupervisedAlgorithm, facts: Facts) -> "Supervised":
        """Without knobs."""
        return cls()

    def forward(self, nets: Nets, batch: Batch, slots: Slots, noise: Noise, clock: Clock, flags: Flags) -> Outcome:
        """Loss `cls`."""
        z_l = nets.student.classify(nets.student.encode(batch.x))
        return Outcome({"cls": slots.supervised(z_l, batch.y, flags)}, z_l.detach(), None)
