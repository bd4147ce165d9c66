"""The places of the training step, as interfaces. A method is a bundle of fillings; the facade calls them in order.

Shape legend: Bl / Bu labeled / unlabeled batch, C classes, D features.
"""

from abc import ABCMeta, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from daso.types import Batch, Clock, Draw, Feats, Flags, Labels, Nets, Noise, Sizes, Target

Blend = Callable[[Tensor, Tensor], Tensor]
"""(p [Bu,C], weak features [Bu,D]) -> blended p [Bu,C]."""


class Slot(nn.Module, metaclass=ABCMeta):
    """What any slot may be asked on the host; the defaults fit one without phases, noise or flags of its own.

    All state of a slot lives in registered buffers and changes in place, so that it is saved, moved and captured.
    """

    def relabel(self, counts: Tensor) -> None:
        """A new phase begins, with `counts` [C] int64 labeled images per class."""

    def draws(self, sizes: Sizes) -> dict[str, Draw]:
        """The random numbers the slot reads from `noise`, by stream name."""
        return {}

    def flags(self, step: int) -> dict[str, bool]:
        """The fields of `Flags` that the slot decides at `step` of the phase."""
        return {}


class LabeledLoss(Slot):
    """Place `supervised`: the loss of the labeled images."""

    @abstractmethod
    def forward(self, logits: Tensor, y: Tensor, flags: Flags) -> Tensor:
        """The 0-d loss of `logits` [Bl,C] against `y` [Bl]."""


class Align(Slot):
    """Place `align`: pseudo-label distributions pulled towards a class distribution."""

    @abstractmethod
    def forward(self, p: Tensor) -> Tensor:
        """Distributions [Bu,C] from distributions `p` [Bu,C]."""

    @abstractmethod
    def soften(self, temperature: float) -> None:
        """A new phase begins, with this power of the class distribution to follow: 1 leaves it, 0 makes it uniform."""


class Refine(Slot):
    """Place `refine`: pseudo-label distributions corrected with what is known about their rows of the unlabeled set."""

    @abstractmethod
    def forward(self, p: Tensor, idx: Tensor, clock: Clock, flags: Flags) -> Tensor:
        """Distributions [Bu,C] from distributions `p` [Bu,C] of the rows `idx` [Bu]."""


class Semantic(Slot):
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


class Confidence(Slot):
    """Place `confidence`: which pseudo-labels a thresholded consistency loss is trained with."""

    @abstractmethod
    def forward(self, labels: Labels, threshold: float) -> Tensor:
        """A weight for each of the final pseudo-labels [Bu]; `threshold` is the learner's own."""


class Auxiliary(Slot):
    """Place `aux`: further loss terms on the step's features, with a head of their own, which answers at test time."""

    head: str  # of the network

    @abstractmethod
    def forward(
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
