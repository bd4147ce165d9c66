"""The interface of a learner: one semi-supervised algorithm, written as its paper's box."""

from abc import ABCMeta, abstractmethod
from typing import ClassVar

from torch import nn

from daso.slots.slots import Slots
from daso.types import Batch, Clock, Draw, Flags, Nets, Noise, Outcome, Sizes, View


class Learner(nn.Module, metaclass=ABCMeta):
    """One training step's losses. State, if any, lives in registered buffers and changes in place."""

    views: ClassVar[tuple[View, ...]] = ()  # unlabeled views, in the order of `Batch.u`
    heads: ClassVar[tuple[str, ...]] = ("cls",)  # heads of the network that the learner trains
    train_accuracy: ClassVar[str] = "top1"  # the name of the accuracy of `Outcome.logits_l`
    evaluates_student: ClassVar[bool] = False  # at test time the raw network answers, not its average

    def draws(self, sizes: Sizes) -> dict[str, Draw]:
        """The random numbers the learner reads from `noise`, by stream name."""
        return {}

    @abstractmethod
    def forward(self, nets: Nets, batch: Batch, slots: Slots, noise: Noise, clock: Clock, flags: Flags) -> Outcome:
        """The losses of one step; the step minimises their plain sum."""
