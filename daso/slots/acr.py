"""ACR (Wei & Gan, CVPR 2023): consistency that adapts to the class distribution of the unlabeled images.

Shape legend: N unlabeled set, Bl / Bu labeled / unlabeled batch, C classes.
"""

import torch
from torch import Tensor

from daso.schema import AcrDebias, Anchors, EstimateBy, ReversedBy
from daso.slots.base import Adjust, Auxiliary, Blend, Confidence, Observe
from daso.slots.losses import cross_entropy, labels, one_hot, wide
from daso.slots.priors import average, begins, log_prior, renew
from daso.types import Batch, Chosen, Clock, Facts, Feats, Flags, Head, Labels, Nets, Noise, Target


class Acr(Observe, Adjust, Confidence, Auxiliary):
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

    counts: Tensor
    own: Tensor
    estimate: Tensor
    distance: Tensor
    tau: Tensor

    def __init__(self, counts: Tensor, own: Tensor, threshold: float, first: int, config: AcrDebias) -> None:
        super().__init__()
        self.config, self.threshold, self.first = config, threshold, first
        self.head = self.answers = "bal" if config.weight > 0 else "cls"
        self.heads = {self.head: Head()}
        self.register_buffer("counts", counts.to(torch.int64, copy=True))
        self.register_buffer("own", own.clone(), persistent=False)
        self.register_buffer("estimate", torch.zeros(len(counts), dtype=torch.float64))  # of the unlabeled prior
        self.register_buffer("distance", torch.zeros(3, dtype=torch.float64))  # to each anchor, summed over this period
        self.register_buffer("tau", torch.zeros((), dtype=torch.float64))
        self.relabel(counts)

    @classmethod
    def of(cls, config: AcrDebias, facts: Facts) -> "Acr":
        """For the images of the run and its learner's threshold."""
        first = round(config.start * facts.phase_steps)
        return cls(facts.counts, torch.arange(facts.unlabeled) < facts.shared, facts.threshold, first, config)

    def relabel(self, counts: Tensor) -> None:
        """Start afresh with the new labeled set: a uniform estimate, the full strength."""
        self.counts.copy_(counts)
        self.estimate.fill_(1 / len(counts))
        self.distance.zero_()
        self.tau.fill_(self.config.tau)

    def prior(self) -> Tensor:
        """[C] labeled class frequencies."""
        return self.counts.to(self.estimate.dtype) / self.counts.sum()

    def anchors(self) -> Tensor:
        """[3,C]: the labeled prior, uniform, the labeled prior reversed."""
        prior = self.prior()
        if self.config.reversed_by is ReversedBy.rank:
            order = prior.argsort(descending=True, stable=True)
            turned = torch.empty_like(prior).index_copy_(0, order, prior[order.flip(0)])
        else:
            turned = prior.flip(0)
        return torch.stack([prior, torch.full_like(prior, 1 / len(prior)), turned])

    @torch.no_grad()
    def observe(self, nets: Nets, batch: Batch, clock: Clock, feats_l: Tensor | None) -> None:
        """At the start of a period: tau_t by the distances of the last one. It stays where they are infinite (AC6)."""
        due = begins(clock.step, self.config.every)
        if self.config.anchors is Anchors.three:
            shares = (self.distance / self.config.every).softmax(0)
            usable = due & (clock.step >= self.first) & self.distance.isfinite().all()
            renew(self.tau, usable, self.config.tau * shares[0])
        renew(self.distance, due, torch.zeros_like(self.distance))

    def adjust(self, z: Tensor, feats: Tensor, nets: Nets) -> Tensor:
        """Logits [Bu,C] less the log prior at the strength of the period."""
        return self._less(z, self.tau)

    def confident(self, target: Target, idx: Tensor, threshold: float, clock: Clock) -> Chosen:
        """Labels that are confident, with or without the adjustment."""
        assert target.plain is not None
        before = labels((target.plain / self.config.temperature).softmax(1)).conf
        return Chosen(target.label, (target.conf >= threshold) | (before >= threshold))

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
            self._follow(own, batch.idx, clock)
        offset = log_prior(self.prior(), self.config.tau_labeled)
        bal_cls = cross_entropy(z_l + offset.to(z_l.dtype), batch.y)
        bal_cons = cross_entropy(z_s, fixed.label.repeat(views), kept.repeat(views))
        return {"bal_cls": self.config.weight * bal_cls, "bal_cons": self.config.weight * bal_cons}

    def metrics(self) -> dict[str, Tensor]:
        """`tau`; `prior/estimate` [C]; `prior/missing`, its classes below 1e-6; distances to the anchors so far."""
        found = {"tau": self.tau.clone(), "prior/estimate": self.estimate.clone()}
        found["prior/missing"] = (self.estimate < 1e-6).sum()
        names = ("labeled", "uniform", "reversed")
        return found | {f"distance/{name}": d / self.config.every for name, d in zip(names, self.distance)}

    def _less(self, z: Tensor, tau: float | Tensor) -> Tensor:
        return (z - log_prior(self.prior(), tau).to(z.dtype)) / self.config.temperature

    def _follow(self, own: Labels, idx: Tensor, clock: Clock) -> None:
        """Move the estimate and the distances by the balanced classifier's labels of this step (AC1)."""
        members = one_hot(own.label, self.estimate)  # [Bu,C]
        counts = (own.conf >= self.threshold) & ~self.own[idx]
        if self.config.estimate_by is EstimateBy.counts:
            found = (members * counts[:, None]).sum(0)
        else:  # 1 for each class whose last label in the batch counts
            order = torch.arange(1, len(idx) + 1, device=idx.device)
            last = (members * order[:, None]).amax(0).to(torch.int64)  # [C], 0: the class has no label
            found = (last > 0) * counts[(last - 1).clamp(min=0)].to(members.dtype)
        now = (clock.step >= self.first) & (found.sum() > 0)
        renew(self.estimate, now, average(self.estimate, found / found.sum().clamp(min=1), self.config.momentum))
        anchors = self.anchors()
        apart = ((self.estimate - anchors) * (self.estimate.log() - anchors.log())).sum(1) / 2
        renew(self.distance, now, self.distance + apart)
