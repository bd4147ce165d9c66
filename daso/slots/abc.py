"""ABC (Lee et al., NeurIPS 2021): an auxiliary classifier on the same features, trained on a balanced share of the
images, which answers at test time.

Shape legend: Bl / Bu labeled / unlabeled batch, C classes.
"""

import torch
from torch import Tensor

from daso.schema import AbcConfig
from daso.slots.base import Auxiliary, Blend
from daso.slots.losses import cross_entropy, wide
from daso.types import Batch, Clock, Draw, Facts, Feats, Flags, Head, Nets, Noise, Sizes, Target


class Abc(Auxiliary):
    """Section 3.2 of the paper: Bernoulli masks that keep an image the more rarely, the more images its class has.

    The probability min n / n_c applies to labeled images from the start; for unlabeled ones it moves there from 1, in
    stairs, over the whole phase. Both heads train the encoder. With a weight of 0 there is no second head.

    Args:
        counts: [C] int64 labeled images per class, none zero; `relabel` replaces them.
        threshold: confidence from which the head's own pseudo-label counts.
        config: weight and schedule.
    """

    counts: Tensor

    def __init__(self, counts: Tensor, threshold: float, config: AbcConfig) -> None:
        super().__init__()
        self.head = self.answers = "abc" if config.weight > 0 else "cls"
        self.heads = {self.head: Head()}
        self.threshold = threshold
        self.weight, self.blended, self.every = config.weight, config.blend, config.every
        self.register_buffer("counts", counts.to(torch.int64, copy=True))

    @classmethod
    def of(cls, config: AbcConfig, facts: Facts) -> "Abc":
        """For the labeled images of the run and its learner's threshold."""
        return cls(facts.counts, facts.threshold, config)

    def draws(self, sizes: Sizes) -> dict[str, Draw]:
        """`abc/labeled` [Bl] and `abc/unlabeled` [Bu], uniform on [0,1): an image is kept where it is below the
        probability of its class.
        """
        return {
            "abc/labeled": lambda generator: torch.rand(sizes.labeled, generator=generator),
            "abc/unlabeled": lambda generator: torch.rand(sizes.unlabeled, generator=generator),
        }

    def relabel(self, counts: Tensor) -> None:
        """Balance by the new labeled set from now on."""
        self.counts.copy_(counts)

    def keep(self, clock: Clock) -> tuple[Tensor, Tensor]:
        """[C] float64 each: the probabilities of labeled and of unlabeled images."""
        labeled = self.counts.min() / self.counts.to(torch.float64)
        stair = clock.step - clock.step % self.every
        progress = clock.progress * stair / clock.step.clamp(min=1)
        return labeled, 1 - progress * (1 - labeled)

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
        """`abc`: classification of kept labeled images (Eq. 1) plus consistency of kept, confident unlabeled ones with
        the head's soft pseudo-label (Eq. 4); both are divided by all images of the batch.
        """
        if self.weight == 0:
            return {}
        assert feats.l is not None
        net, views = nets.student, len(feats.s)
        labeled, unlabeled = self.keep(clock)
        z_l, z_s = (net.classify(f, self.head) for f in (feats.l, torch.cat(feats.s)))
        with torch.no_grad():
            p = wide(net.classify(feats.w, self.head)).softmax(1)
            if self.blended:
                p = blend(p, feats.w)
            conf, label = p.max(1)
            kept_l = noise["abc/labeled"] < labeled[batch.y]
            kept_u = (conf >= self.threshold) & (noise["abc/unlabeled"] < unlabeled[label])
        cons = cross_entropy(z_s, p.repeat(views, 1), kept_u.repeat(views))
        return {"abc": self.weight * (cross_entropy(z_l, batch.y, kept_l) + cons)}
