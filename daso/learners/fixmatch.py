"""FixMatch (Sohn et al., NeurIPS 2020): confident labels of weak views train strong views."""

import torch
from torch import Tensor

from daso.learners.base import Learner
from daso.nn.net import Net
from daso.nn.part import joined
from daso.schema import FixMatchAlgorithm, LabeledViews, PseudoLabels
from daso.slots.slots import Slots
from daso.types import Batch, Clock, Facts, Feats, Flags, Nets, Noise, Outcome, View


class FixMatch(Learner):
    """Section 2.2 of the paper: labeled loss plus thresholded consistency, both with weight 1 and no ramp-up.

    Later methods build on a changed base, which the last arguments give.

    Args:
        threshold: confidence from which a pseudo-label counts.
        strong_views: strong views of an unlabeled image, each trained towards its one pseudo-label.
        soft: train them towards the distribution, not the label.
        labeled_strong: train on a strong view of the labeled images beside the weak one.
        floor: added to probabilities inside the logarithm of the consistency loss.
        separate: every view takes a pass of its own, the weak one of the unlabeled images first.
    """

    def __init__(
        self,
        threshold: float = 0.95,
        strong_views: int = 1,
        soft: bool = False,
        labeled_strong: bool = False,
        floor: float = 0.0,
        separate: bool = False,
    ) -> None:
        super().__init__()
        self.separate = separate
        self.threshold, self.soft, self.floor = threshold, soft, floor
        self.views = (View.WEAK, *[View.STRONG] * strong_views)
        self.labeled_views = (View.WEAK, View.STRONG) if labeled_strong else (View.WEAK,)

    @classmethod
    def of(cls, config: FixMatchAlgorithm, facts: Facts) -> "FixMatch":
        """With the knobs alone."""
        soft, both = config.labels is PseudoLabels.soft, config.labeled_views is LabeledViews.weak_strong
        return cls(config.threshold, config.strong_views, soft, both, config.floor, facts.separate)

    def forward(self, nets: Nets, batch: Batch, slots: Slots, noise: Noise, clock: Clock, flags: Flags) -> Outcome:
        """Losses `cls` and `cons` (Eq. 3 and 4), and the slots'. All views share one pass and its batch statistics,
        unless each has its own.
        """
        net, labeled = nets.student, (batch.x, *batch.extra)
        sizes = [len(x) for x in (*labeled, *batch.u, *batch.further)]
        slots.observe(nets, batch, clock)
        every = (*batch.u, *batch.further)
        f = self._apart(net, labeled, every) if self.separate else net.encode(torch.cat([*labeled, *every]))
        feats_l, *rest = torch.split(f, sizes)
        further = rest[len(batch.extra) + len(batch.u) :]
        feats_w, *feats_s = rest[len(batch.extra) : len(rest) - len(further)]
        feats = Feats(feats_l, feats_w, tuple(feats_s), tuple(rest[: len(batch.extra)]), tuple(further))
        bounds = [len(batch.y) * len(labeled), len(feats_w), len(feats_w) * len(feats_s)]
        z_l, z_w, z_s = torch.split(net.classify(f[: sum(bounds)] if further else f), bounds)
        target = slots.pseudo(slots.guess(z_w, feats_w, nets, batch.u[0], flags), feats_w, batch.idx, clock, flags)
        y = batch.y if len(labeled) == 1 else batch.y.repeat(len(labeled))
        losses = {"cls": slots.supervised(z_l, y, flags)}
        chosen = slots.chosen(target, batch.idx, self.threshold, clock)
        losses |= slots.consistency(z_s, target, chosen, self.soft, self.floor)
        losses = joined("loss", (losses, slots.aux(nets, feats, batch, target, noise, clock, flags)))
        return Outcome(losses, z_l[: len(batch.y)].detach(), target, chosen)

    @staticmethod
    def _apart(net: Net, labeled: tuple[Tensor, ...], unlabeled: tuple[Tensor, ...]) -> Tensor:
        """Features of all views, one after the other; the running statistics follow every pass."""
        weak = net.encode(unlabeled[0])
        return torch.cat([*map(net.encode, labeled), weak, *map(net.encode, unlabeled[1:])])
