"""ACR (Wei & Gan, CVPR 2023): consistency that adapts to the class distribution of the unlabeled images.

Shape legend: N unlabeled set, Bl / Bu labeled / unlabeled batch, C classes.
"""

import torch
from torch import Tensor

from daso.schema import AcrDebias, Anchors, EstimateBy, ReversedBy
from daso.slots.base import Adjust, Auxiliary, Blend, Confidence
from daso.slots.losses import cross_entropy, labels, wide
from daso.slots.priors import log_prior
from daso.slots.strength import AnchoredStrength, Following
from daso.types import Batch, Chosen, Clock, Facts, Feats, Flags, Head, Labels, Nets, Noise, Target

SHARES = (
    "only/before",  # of the standard classifier's images, confident before the adjustment alone
    "only/standard",  # of the balanced one's, let in by the standard one's labels alone
    "agree/fixed",  # the standard one's labels at both strengths are equal
    "agree/balanced",  # both classifiers' labels are equal
)


class Acr(AnchoredStrength, Adjust, Confidence, Auxiliary):
    """Two classifiers on one encoder.

    The standard one's pseudo-labels are made from logits less tau_t * log prior, tau_t by how far an estimate of the
    unlabeled prior is from three anchors (Eq. 7). The balanced one learns from labeled images with logit adjustment and
    from the standard one's labels at a fixed strength (Eq. 3, 4), and answers.

    Args:
        counts: [C] int64 labeled images per class, none zero; `relabel` replaces them.
        own: [N] bool, unlabeled images that are labeled ones too: they do not count in the estimate.
        threshold: of confidence.
        first: the step of a phase from which the estimate moves.
        config: strengths, period, momentum, anchors.
    """

    own: Tensor
    shares: Tensor

    def __init__(self, counts: Tensor, own: Tensor, threshold: float, first: int, config: AcrDebias) -> None:
        knobs = (config.anchors is Anchors.three, config.reversed_by is ReversedBy.rank)
        by_number = config.estimate_by is EstimateBy.counts
        super().__init__(counts, first, Following(config.tau, config.every, config.momentum, *knobs, by_number))
        self.config, self.threshold = config, threshold
        self.head = self.answers = "bal" if config.weight > 0 else "cls"
        self.heads = {self.head: Head()}
        self.register_buffer("own", own.clone(), persistent=False)
        self.register_buffer("shares", torch.zeros(len(SHARES)), persistent=False)  # of the last step, for the log

    @classmethod
    def of(cls, config: AcrDebias, facts: Facts) -> "Acr":
        """For the images of the run and its learner's threshold."""
        first = round(config.start * facts.phase_steps)
        return cls(facts.counts, facts.own, facts.threshold, first, config)

    def adjust(self, z: Tensor, feats: Tensor, nets: Nets) -> Tensor:
        """Logits [Bu,C] less the log prior at the strength of the period."""
        return self._less(z, self.tau)

    def confident(self, target: Target, idx: Tensor, threshold: float, clock: Clock) -> Chosen:
        """Labels that are confident, with or without the adjustment."""
        return Chosen(target.label, (target.conf >= threshold) | (self._before(target) >= threshold))

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
        """`bal_cls` and `bal_cons`, the balanced classifier's; then the estimate moves."""
        if self.config.weight == 0:
            return {}
        assert feats.l is not None
        assert target is not None
        assert target.plain is not None
        net, views = nets.student, len(feats.s)
        z_l, z_s = (wide(net.classify(f, self.head)) for f in (feats.l, torch.cat(feats.s)))
        with torch.no_grad():
            own = labels((wide(net.classify(feats.w, self.head)) / self.config.temperature).softmax(1))
            fixed = labels(self._less(target.plain, self.config.tau_fixed).softmax(1))
            kept = (own.conf >= self.threshold) | (fixed.conf >= self.threshold)
            self._note(target, own, fixed)
            self.follow(own.label, (own.conf >= self.threshold) & ~self.own[batch.idx], clock)
        offset = log_prior(self.prior(), self.config.tau_labeled)
        bal_cls = cross_entropy(z_l + offset.to(z_l.dtype), batch.y)
        bal_cons = cross_entropy(z_s, fixed.label.repeat(views), kept.repeat(views))
        return {"bal_cls": self.config.weight * bal_cls, "bal_cons": self.config.weight * bal_cons}

    def metrics(self) -> dict[str, Tensor]:
        """Those of the strength, and `SHARES` of the last step's images."""
        return super().metrics() | dict(zip(SHARES, self.shares.clone().unbind()))

    def _less(self, z: Tensor, tau: float | Tensor) -> Tensor:
        return (z - log_prior(self.prior(), tau).to(z.dtype)) / self.config.temperature

    def _before(self, target: Target) -> Tensor:
        """[Bu] the confidence before the adjustment."""
        assert target.plain is not None
        return labels((target.plain / self.config.temperature).softmax(1)).conf

    def _note(self, target: Target, own: Labels, fixed: Labels) -> None:
        """Keep what the masks let in only because they are unions, and how far the three kinds of labels agree."""
        before = (self._before(target) >= self.threshold) & (target.conf < self.threshold)
        lent = (fixed.conf >= self.threshold) & (own.conf < self.threshold)
        found = torch.stack([before, lent, target.label == fixed.label, target.label == own.label])
        self.shares.copy_(found.to(self.shares.dtype).mean(1))
