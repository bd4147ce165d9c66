"""The places of the training step, as interfaces. A method is a bundle of fillings; the facade calls them in order.

One part may fill several places: it then is a subclass of several interfaces, one module with one state.

Shape legend: Bl / Bu labeled / unlabeled batch, C classes, D features.
"""

from abc import abstractmethod
from collections.abc import Callable

from torch import Tensor

from daso.nn.part import Part
from daso.types import Batch, Clock, Feats, Flags, Labels, Nets, Noise, Target

Blend = Callable[[Tensor, Tensor], Tensor]
"""(p [Bu,C], weak features [Bu,D]) -> blended p [Bu,C]."""


class LabeledLoss(Part):
    """Place `supervised`: the loss of the labeled images."""

    @abstractmethod
    def supervised(self, logits: Tensor, y: Tensor, flags: Flags) -> Tensor:
        """The 0-d loss of `logits` [Bl,C] against `y` [Bl]."""


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


class Semantic(Part):
    """Places `semantic`, `blend` and its own loss: a second opinion on unlabeled images, from their features."""

    wants_labeled_features: bool = False  # `observe` can use those that the learner may have anyway

    @abstractmethod
    def observe(self, nets: Nets, batch: Batch, clock: Clock, feats_l: Tensor | None) -> None:
        """Start of the step: learn from the labeled images; `feats_l` [Bl,D] are their teacher features, if at hand."""

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
    """Place `confidence`: which pseudo-labels a thresholded consistency loss is trained with."""

    @abstractmethod
    def confident(self, labels: Labels, threshold: float) -> Tensor:
        """A weight for each of the final pseudo-labels [Bu]; `threshold` is the learner's own."""


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
