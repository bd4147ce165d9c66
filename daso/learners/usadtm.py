"""USADTM (Han et al., NeurIPS 2020): labels by the nearest class prototype, and clusters by mutual information."""

from collections.abc import Sequence

import torch
from torch import Tensor

from daso.learners.base import Learner
from daso.schema import UsadtmAlgorithm
from daso.slots.losses import cosine, cross_entropy, labels, mutual_information, wide
from daso.slots.prototypes import Prototypes
from daso.slots.slots import Slots
from daso.types import Batch, Chosen, Clock, Facts, Flags, Labels, Nets, Noise, Outcome, Target, View

IMAGES_KEPT = 5  # features that a class' prototype remembers, per labeled image


class Usadtm(Learner):
    """Sections 3.1 (semantic aggregation) and 3.2 (template matching) of the paper, without its promotion of samples.

    Args:
        config: threshold, weight and beginnings.
        dim: D, the width of the encoder.
        counts: labeled images per class.
    """

    views = (View.IDENTITY, View.WEAK, View.STRONG)

    def __init__(self, config: UsadtmAlgorithm, dim: int, counts: Sequence[int]) -> None:
        super().__init__()
        self.config = config
        self.prototypes = Prototypes(len(counts), dim, [IMAGES_KEPT * n for n in counts])

    @classmethod
    def of(cls, config: UsadtmAlgorithm, facts: Facts) -> "Usadtm":
        """For the encoder and the labeled images of the run."""
        return cls(config, facts.features, facts.counts.tolist())

    def relabel(self, counts: Tensor) -> None:
        """Forget the features: they were those of a network that is gone."""
        self.prototypes.reset()

    def forward(self, nets: Nets, batch: Batch, slots: Slots, noise: Noise, clock: Clock, flags: Flags) -> Outcome:
        """Losses `cls`, `mi` and `cons`. All views share one pass and its batch statistics.

        The target's `p` are cosine similarities, not a distribution.
        """
        net, config, sizes = nets.student, self.config, [len(batch.x), *(len(u) for u in batch.u)]
        f = net.encode(torch.cat([batch.x, *batch.u]))
        feats_l, _, feats_w, _ = torch.split(f.detach(), sizes)
        z_l, z_i, z_w, z_s = torch.split(net.classify(f), sizes)
        if config.ema_prototypes:
            with torch.no_grad():
                feats_l = nets.teacher.encode(batch.x)
        self.prototypes.push(feats_l, batch.y)
        similarity = cosine(feats_w, self.prototypes.means())
        label, conf = labels(similarity)
        nearest = torch.cdist(
            wide(feats_w), self.prototypes.means().to(wide(feats_w).dtype), compute_mode="donot_use_mm_for_euclid_dist"
        ).argmin(1)
        trusted = (label == nearest) & (conf >= config.threshold) & (clock.progress >= config.warmup)
        pairs = ((z_i, z_w), (z_i, z_s), (z_w, z_s))
        mi = -torch.stack([mutual_information(a, b) for a, b in pairs]).mean()
        losses = {
            "cls": slots.supervised(z_l, batch.y, flags),
            "mi": config.mi_weight * mi * (clock.progress >= config.mi_start),
            "cons": cross_entropy(z_s, label, weight=trusted),
        }
        linear = labels(wide(z_w.detach()).softmax(1))
        target = Target(similarity, label, conf, linear, Labels(label, conf))
        return Outcome(losses, z_l.detach(), target, Chosen(label, trusted))
