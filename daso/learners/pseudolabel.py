"""Pseudo-Label (Lee 2013) with a threshold: confident labels train the very view that they come from."""

import torch

from daso.learners.base import Learner
from daso.learners.ramp import ramped
from daso.nn.part import joined
from daso.schema import PseudoLabelAlgorithm
from daso.slots.slots import Slots
from daso.types import Batch, Clock, Facts, Feats, Flags, Nets, Noise, Outcome, View


class PseudoLabel(Learner):
    """Section 2.2 of the paper, hard labels from a threshold on (DASO paper, App. C.3).

    Args:
        config: threshold, weight and ramp-up.
    """

    views = (View.WEAK,)

    def __init__(self, config: PseudoLabelAlgorithm) -> None:
        super().__init__()
        self.config = config

    @classmethod
    def of(cls, config: PseudoLabelAlgorithm, facts: Facts) -> "PseudoLabel":
        """With the knobs alone."""
        return cls(config)

    def forward(self, nets: Nets, batch: Batch, slots: Slots, noise: Noise, clock: Clock, flags: Flags) -> Outcome:
        """Losses `cls` and `cons`, and the slots'. All views share one pass and its batch statistics."""
        net, sizes = nets.student, [len(batch.x), len(batch.u[0])]
        slots.observe(nets, batch, clock)
        f = net.encode(torch.cat([batch.x, *batch.u]))
        feats_l, feats_w = torch.split(f, sizes)
        z_l, z_w = torch.split(net.classify(f), sizes)
        target = slots.pseudo(slots.guess(z_w, feats_w, nets), feats_w, batch.idx, clock, flags)
        losses = {"cls": slots.supervised(z_l, batch.y, flags)}
        chosen = slots.chosen(target, batch.idx, self.config.threshold, clock)
        losses |= slots.consistency(z_w, target, chosen)
        losses["cons"] = ramped(self.config.cons_weight * losses["cons"], clock, self.config)
        losses = joined("loss", (losses, slots.aux(nets, Feats(feats_l, feats_w), batch, target, noise, clock, flags)))
        return Outcome(losses, z_l.detach(), target, chosen)
