"""FixMatch (Sohn et al., NeurIPS 2020): confident labels of weak views train strong views."""

import torch

from daso.learners.base import Learner
from daso.nn.part import joined
from daso.schema import FixMatchAlgorithm
from daso.slots.losses import cross_entropy, wide
from daso.slots.slots import Slots
from daso.types import Batch, Clock, Facts, Feats, Flags, Nets, Noise, Outcome, View


class FixMatch(Learner):
    """Section 2.2 of the paper: labeled loss plus thresholded consistency, both with weight 1 and no ramp-up.

    Args:
        threshold: confidence from which a pseudo-label counts.
    """

    views = (View.WEAK, View.STRONG)

    def __init__(self, threshold: float = 0.95) -> None:
        super().__init__()
        self.threshold = threshold

    @classmethod
    def of(cls, config: FixMatchAlgorithm, facts: Facts) -> "FixMatch":
        """With the knobs alone."""
        return cls(config.threshold)

    def forward(self, nets: Nets, batch: Batch, slots: Slots, noise: Noise, clock: Clock, flags: Flags) -> Outcome:
        """Losses `cls` and `cons` (Eq. 3 and 4), and the slots'. All views share one pass and its batch statistics."""
        net, sizes = nets.student, [len(batch.x), *(len(u) for u in batch.u)]
        slots.observe(nets, batch, clock)
        f = net.encode(torch.cat([batch.x, *batch.u]))
        feats_l, feats_w, feats_s = torch.split(f, sizes)
        feats = Feats(feats_l, feats_w, (feats_s,))
        z_l, z_w, z_s = torch.split(net.classify(f), sizes)
        target = slots.pseudo(wide(z_w.detach()).softmax(1), feats.w, batch.idx, clock, flags)
        losses = {
            "cls": slots.supervised(z_l, batch.y, flags),
            "cons": cross_entropy(z_s, target.label, weight=slots.confident(target, self.threshold)),
        }
        losses = joined("loss", (losses, slots.aux(nets, feats, batch, target, noise, clock, flags)))
        return Outcome(losses, z_l.detach(), target)
