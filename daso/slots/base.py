"""The places of the training step, as interfaces. A method is a bundle of fillings; the facade calls them in order.

One part may fill several places: it then is a subclass of several interfaces, one module with one state.

Shape legend: Bl / Bu labeled / unlabeled batch, C classes, D features.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from daso.nn.part import Part
from daso.types import Batch, Chosen, Clock, Feats, Flags, Labels, Nets, Noise, Scene, Target, View

if TYPE_CHECKING:
    from daso.nn.net import Net

Blend = Callable[[Tensor, Tensor], Tensor]
"""(p [Bu,C], weak features [Bu,D]) -> blended p [Bu,C]."""


class LabeledLoss(Part):
    """Place `supervised`: the loss of the labeled images."""

    @abstractmethod
    def supervised(self, logits: Tensor, y: Tensor, flags: Flags, weight: Tensor | None = None) -> Tensor:
        """The 0-d loss of `logits` [Bl,C] against `y` [Bl], times `weight` [Bl] where there is one."""


class Observe(Part):
    """Place `observe`: the start of a step, before any other place. What changes once a period changes here."""

    @abstractmethod
    def observe(self, nets: Nets, batch: Batch, clock: Clock, feats_l: Tensor | None) -> None:
        """Learn from the labeled images, or take a finished period into use; in place, without gradient.

        `feats_l` [Bl,D] are teacher features of the labeled images, where the learner has them anyway.
        """


class Source(Part):
    """Place `source`: whose logits pseudo-labels are made from, where it is not the trained classifier."""

    @abstractmethod
    def source(self, nets: Nets, x: Tensor, flags: Flags) -> Tensor | None:
        """Logits [Bu,C] of the weak views `x` [Bu,c,H,W]; None for the trained classifier's. No gradient."""


class Adjust(Part):
    """Place `adjust`: the logits that pseudo-labels are made from, before their softmax."""

    @abstractmethod
    def adjust(self, z: Tensor, feats: Tensor, nets: Nets) -> Tensor:
        """Logits [Bu,C] from the classifier's own `z` [Bu,C], made of the features `feats` [Bu,D]; no gradient."""


class Offset(Part):
    """Place `offset`: numbers without gradient that are added to logits inside the losses, and nowhere else."""

    def offset_labeled(self) -> Tensor | None:
        """[C] for the labeled loss; None for none."""
        return None

    def offset_strong(self) -> Tensor | None:
        """[C] for the consistency loss; None for none."""
        return None


class Census(Part):
    """Place `census`: takes note of a step's pseudo-labels and changes none. Any number of parts may."""

    def note_labeled(self, logits: Tensor) -> None:
        """The classifier's logits [.,C] of all labeled views, before labels are chosen; in place."""

    def note(self, target: Target, idx: Tensor) -> None:
        """The final pseudo-labels of the rows `idx` [Bu] of the unlabeled set; in place, without gradient."""

    def note_chosen(self, target: Target, chosen: Chosen) -> None:
        """The same, with those that count; asked by learners whose consistency loss goes through the facade."""


class Balance(Part):
    """Place `balance`: how much each class counts in the losses, of labels and of pseudo-labels."""

    @abstractmethod
    def balance(self) -> Tensor | None:
        """[C] weights in the consistency loss; None for none."""

    def balance_labeled(self) -> Tensor | None:
        """[C] weights in the labeled loss; None for none."""
        return None


class PostHoc(Part):
    """Place `posthoc`: what is taken off the logits wherever a prediction is used: at test time, by a protocol."""

    @abstractmethod
    def posthoc(self, net: "Net", head: str) -> Tensor:
        """[C] for `head` of the evaluated `net`, by its running statistics; asked with every batch of predictions."""


class Interlude(Part):
    """Place `interlude`: work of the host before a step, in pieces between which a run may stop and be saved.

    It goes on where its buffers say that it stands.
    """

    @abstractmethod
    def prepare(self, step: int, scene: Scene) -> Iterator[None]:
        """Do what is due before `step` of a phase, and yield after each piece; asked before every step."""


class Survey(Part):
    """Place `survey`: between two steps, a look at the whole unlabeled set with one of the networks.

    Any number of parts may. The pass moves no batch statistics, and what a view draws comes from a stream of its own,
    keyed by the step, so that a run with a survey sees the same images.
    """

    surveys_teacher: bool = False  # which network looks, by its running statistics
    surveys_view: View = View.IDENTITY  # what it looks at
    surveys_head: str = ""  # which classifier's logits; empty: those of the one that answers

    @abstractmethod
    def due(self, step: int) -> bool:
        """Whether there is a survey after `step` finished steps of a phase; host side."""

    @abstractmethod
    def survey(self, logits: Tensor) -> None:
        """Take note of the logits [N,C] of all unlabeled images, in their order; in place."""


class Scale(Part):
    """Place `scale`: how much the learner's own losses count in the sum of a step's losses."""

    @abstractmethod
    def scales(self) -> tuple[float, float]:
        """Factors of the labeled and of the consistency loss."""


class Reading(Part):
    """Place `reading`: predictions at test time that no head makes alone. One of them may be the answer."""

    @abstractmethod
    def read(self, features: Tensor, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Logits [B,C] by name, from the evaluated network's features [B,D] and its classifiers' logits [B,C]."""


class Align(Part):
    """Place `align`: pseudo-label distributions pulled towards a class distribution."""

    @abstractmethod
    def align(self, p: Tensor) -> Tensor:
        """Distributions [Bu,C] from distributions `p` [Bu,C]."""

    @abstractmethod
    def soften(self, temperature: float) -> None:
        """A new phase begins, with this power of the class distribution to follow: 1 leaves it, 0 makes it uniform."""


class Refine(Part):
    """Place `refine`: pseudo-label distributions corrected with what is known about their rows of the unlabeled set."""

    @abstractmethod
    def refine(self, p: Tensor, idx: Tensor, clock: Clock, flags: Flags) -> Tensor:
        """Distributions [Bu,C] from distributions `p` [Bu,C] of the rows `idx` [Bu]."""


class Semantic(Observe):
    """Places `semantic`, `blend` and its own loss: a second opinion on unlabeled images, from their features."""

    wants_labeled_features: bool = False  # `observe` can use those that the learner may have anyway

    @abstractmethod
    def blend(self, p: Tensor, feats_w: Tensor, flags: Flags) -> tuple[Tensor, Labels | None]:
        """`p` [Bu,C] blended with the opinion on `feats_w` [Bu,D], and that opinion's labels (None: it has none)."""

    @abstractmethod
    def count(self, label: Tensor) -> None:
        """Take note of the final pseudo-labels [Bu] of a step."""

    @abstractmethod
    def losses(self, feats: Feats, flags: Flags) -> dict[str, Tensor]:
        """The slot's own loss terms, 0-d each."""


class Confidence(Part):
    """Place `confidence`: which pseudo-labels a consistency loss is trained with, and how much each counts."""

    @abstractmethod
    def confident(self, target: Target, idx: Tensor, threshold: float, clock: Clock) -> Chosen:
        """Labels and weights for the final pseudo-labels `target` of the rows `idx` [Bu] of the unlabeled set.

        `threshold` is the learner's own. Asked once a step, and state may move; without a state, once a classifier.
        """

    def consistency_losses(self, z: Tensor, weight: Tensor) -> dict[str, Tensor]:
        """Loss terms beside the consistency loss, 0-d each.

        Args:
            z: [V*Bu,C] its logits, with gradient: V views, one after the other.
            weight: [Bu] of the pseudo-labels.
        """
        return {}


class Auxiliary(Part):
    """Place `aux`: further loss terms on the step's features, perhaps with a head of their own."""

    @abstractmethod
    def aux(
        self,
        nets: Nets,
        feats: Feats,
        batch: Batch,
        target: Target | None,
        noise: Noise,
        clock: Clock,
        flags: Flags,
        blend: Blend,
    ) -> dict[str, Tensor]:
        """The loss terms, 0-d each. `blend` gives the head's pseudo-labels the second opinion of the main head's."""
