"""The interface of a learner: one semi-supervised algorithm, written as its paper's box."""

from abc import abstractmethod
from collections.abc import Mapping

from daso.nn.part import Part, Together
from daso.slots.slots import Slots
from daso.types import Batch, Clock, Flags, Head, Nets, Noise, Outcome, View


class Learner(Part):
    """One training step's losses. Whatever the class says of itself here, an instance may say otherwise."""

    heads: Mapping[str, Head] = {"cls": Head()}
    views: tuple[View, ...] = ()  # unlabeled views, in the order of `Batch.u`
    labeled_views: tuple[View, ...] = (View.WEAK,)  # of the labeled images: `Batch.x`, then `Batch.extra`
    train_accuracy: str = "top1"  # the name of the accuracy of `Outcome.logits_l`
    norms: int = 0  # normalisations of its network's last map, side by side
    evaluates_student: bool = False  # at test time the raw network answers, not its average

    @property
    def evaluated(self) -> str:
        """Which of `Nets` answers at test time: the EMA, or the raw one where the learner says so (spec 8.2)."""
        return "student" if self.evaluates_student else "teacher"

    @abstractmethod
    def forward(self, nets: Nets, batch: Batch, slots: Slots, noise: Noise, clock: Clock, flags: Flags) -> Outcome:
        """The losses of one step, the slots' among them; the step minimises their plain sum."""


class Method(Together):
    """A learner and the slots beside it: what the host asks of both.

    Raises:
        AssertionError: two parts take the same name for a flag, a metric or a head; `draws` says so of noise streams.
    """

    def __init__(self, learner: Learner, slots: Slots) -> None:
        self.learner, self.slots = learner, slots
        self.parts = [learner, *slots.parts]
        self.heads, self.switches, self.answers, self.metrics()  # what would be refused, is refused now
