"""MixMatch (Berthelot et al., NeurIPS 2019): sharpened guesses, then MixUp over labeled and unlabeled images."""

import torch

from daso.learners.base import Learner
from daso.learners.mixing import mix, mixing_draws, predict_interleaved
from daso.learners.ramp import ramped
from daso.nn.part import joined
from daso.schema import MixMatchAlgorithm
from daso.slots.losses import cross_entropy, one_hot, squared_error, wide
from daso.slots.slots import Slots
from daso.types import Batch, Clock, Draw, Facts, Feats, Flags, Guess, Nets, Noise, Outcome, Sizes, View


class MixMatch(Learner):
    """Algorithm 1 of the paper with K = 2 weak views.

    Args:
        config: sharpening temperature, MixUp's alpha, weight and ramp-up.
    """

    views = (View.WEAK, View.WEAK)
    train_accuracy = "top1_mixed"

    def __init__(self, config: MixMatchAlgorithm) -> None:
        super().__init__()
        self.config = config

    @classmethod
    def of(cls, config: MixMatchAlgorithm, facts: Facts) -> "MixMatch":
        """With the knobs alone."""
        return cls(config)

    def draws(self, sizes: Sizes) -> dict[str, Draw]:
        """`lam` and `perm` of MixUp."""
        return mixing_draws(sizes.labeled + len(self.views) * sizes.unlabeled, self.config.alpha)

    def forward(self, nets: Nets, batch: Batch, slots: Slots, noise: Noise, clock: Clock, flags: Flags) -> Outcome:
        """Losses `cls` (Eq. 3) and `cons` (Eq. 4), and the slots'.

        Guesses take a pass per view, mixed images a pass per chunk of the labeled batch's size; each moves the
        student's running statistics.
        """
        net, size = nets.student, len(batch.x)
        slots.observe(nets, batch, clock)
        with torch.no_grad():
            feats = [net.encode(u) for u in batch.u]
            p = torch.stack([slots.guess(net.classify(f), f, nets).p for f in feats]).mean(0)
        target = slots.pseudo(Guess(p), feats[0], batch.idx, clock, flags, self.config.temperature)
        q = mix(torch.cat([one_hot(batch.y, target.p), *[target.p] * len(batch.u)]), noise)
        z = predict_interleaved(net, mix(torch.cat([batch.x, *batch.u]), noise), size)
        cons = squared_error(wide(z[size:]).softmax(1), q[size:])
        losses = {
            "cls": cross_entropy(z[:size], q[:size]),
            "cons": ramped(self.config.cons_weight * cons, clock, self.config),
        }
        losses = joined("loss", (losses, slots.aux(nets, Feats(None, feats[0]), batch, target, noise, clock, flags)))
        return Outcome(losses, z[:size].detach(), target)
