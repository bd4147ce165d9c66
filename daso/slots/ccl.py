"""CCL (Zhou, Fang et al., NeurIPS 2024): two classifiers label together; contrastive losses on soft labels.

Shape legend: N unlabeled set, Bl / Bu labeled / unlabeled batch, C classes, D features.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from daso.nn.net import mlp
from daso.schema import CclDebias, Centres, ContrastPrior
from daso.slots.base import Adjust, Auxiliary, Blend, Reading, Scale
from daso.slots.contrast import Contrast, Projected, contrastive, unit
from daso.slots.losses import cross_entropy, labels, wide
from daso.slots.priors import log_prior
from daso.slots.windows import Periods, TwoPriors
from daso.types import Batch, Clock, Facts, Feats, Flags, Head, Nets, Noise, Sizes, Target, View

SEEN = ("sharpness", "alone", "own", "other")  # what contrastive losses saw, by the names of `Seen`
ASLEEP, LATE = 0.01, 0.2  # smoothed labels of less sharpness say nothing, which matters from this progress on
LEAST_RATIO = 1.5  # weight of the consistency losses, however few unlabeled images there are


class Ccl(TwoPriors, Adjust, Scale, Reading, Auxiliary):
    """Pseudo-labels are the mean of both classifiers' logits, the standard one's with the prior of its training data
    taken out and the unlabeled one put in. Confident ones train both; those of low energy tell of the unlabeled prior.

    Args:
        counts: [C] int64 labeled images per class; `relabel` replaces them.
        own: [N] bool, unlabeled images that are labeled ones too.
        sizes: of the batches.
        features: D.
        first: the step of a phase from which the priors move.
        config: strengths, periods, weights.
    """

    agreed: Tensor
    seen: Tensor
    late: Tensor

    def __init__(self, counts: Tensor, own: Tensor, sizes: Sizes, features: int, first: int, config: CclDebias) -> None:
        periods, momenta = Periods(config.every, config.epoch, first), (config.momentum, config.momentum_all)
        super().__init__(counts, own, sizes.unlabeled, config.energy, momenta, periods)
        self.config, weight = config, config.unlabeled_weight
        self.share = sizes.unlabeled / sum(sizes)
        weight = max(LEAST_RATIO, sizes.unlabeled / sizes.labeled) if weight == "ratio" else float(weight)
        self.weights = config.weight, config.weight * weight  # of the labeled and the consistency losses
        self.head = self.answers = "bal" if config.balanced else "cls"
        self.heads = {self.head: Head()}
        if config.contrastive:
            self.heads = {**self.heads, **dict.fromkeys(("proj", "centre"), Head(2 * features, mlp))}
            self.further_views = (View.SIM, View.SIM)
        self.register_buffer("agreed", torch.zeros((), dtype=torch.float64), persistent=False)  # of the last step
        self.register_buffer("seen", torch.zeros(len(SEEN), dtype=torch.float64), persistent=False)  # likewise
        self.register_buffer("late", torch.zeros((), dtype=torch.bool), persistent=False)  # likewise

    @classmethod
    def of(cls, config: CclDebias, facts: Facts) -> "Ccl":
        """For the images of the run."""
        own, first = facts.own, round(config.start * facts.phase_steps)
        return cls(facts.counts, own, facts.sizes, facts.features, first, config)

    def adjust(self, z: Tensor, feats: Tensor, nets: Nets) -> Tensor:
        """Logits [Bu,C] of both classifiers."""
        if self.config.balanced:
            mixed = (1 - self.share) * self.labeled() + self.share * self.all.prior
            moved = log_prior(self.unlabeled.prior, 1 + self.config.tau / 2) - log_prior(mixed, 1.0)
            own = wide(nets.student.classify(feats, self.head))
            self.agreed.copy_((z.argmax(1) == own.argmax(1)).to(self.agreed.dtype).mean())
            z = (z + moved.to(z.dtype) + own) / 2
        return z / self.config.temperature

    def scales(self) -> tuple[float, float]:
        """Of the standard classifier's losses, as of the balanced one's."""
        return self.weights

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
        """`bal_cls` and `bal_cons`, the balanced classifier's; `smooth` and `reliable`. Then the priors move."""
        assert feats.l is not None
        assert target is not None
        losses: dict[str, Tensor] = {}
        if self.config.balanced:
            losses |= self._balanced(nets, feats.l, torch.cat(feats.s), batch.y)
        if self.config.contrastive:
            losses |= self._contrastive(nets, feats, batch.y, target)
            self.late.copy_(clock.progress >= LATE)
        self.follow(clock)
        return losses

    def _balanced(self, nets: Nets, feats_l: Tensor, feats_s: Tensor, y: Tensor) -> dict[str, Tensor]:
        views, (labeled, unlabeled) = len(feats_s) // len(self.label), self.weights
        z_l, z_s = (wide(nets.student.classify(f, self.head)) for f in (feats_l, feats_s))
        z_l = z_l + log_prior(self.labeled(), self.config.tau).to(z_l.dtype)
        z_s = z_s + log_prior(self.all.prior, self.config.tau).to(z_s.dtype)
        cons = cross_entropy(z_s, self.label.repeat(views), self.kept.to(z_s.dtype).repeat(views))
        return {"bal_cls": labeled * cross_entropy(z_l, y), "bal_cons": unlabeled * cons}

    def _contrastive(self, nets: Nets, feats: Feats, y: Tensor, target: Target) -> dict[str, Tensor]:
        """The weak labeled view counts in the batch statistics alone."""
        assert feats.l is not None
        assert target.aside is not None
        net, config, own = nets.student, self.config, (feats.l, *feats.extra)
        parts = (*own, feats.w, *feats.s, *feats.further)
        rows = torch.split(unit(net.classify(torch.cat(parts), "proj")), [len(f) for f in parts])
        weak, strong, further = rows[len(own)], rows[len(own) + 1 : -len(feats.further)], rows[-len(feats.further) :]
        centres = unit(net.classify(net.weight(self.head), "centre"))
        bias = log_prior(self.unlabeled.prior, 1.0) if config.contrast_prior is ContrastPrior.unlabeled else None
        numbers = config.contrast_temperature, config.graph_temperature, config.share, config.sharpen
        how = Contrast(*numbers, config.centres is Centres.floor)
        found = Projected(centres, further, weak, strong)
        smooth, reliable, seen = contrastive(found, y, target.p, self.low, how, bias)
        self.seen.copy_(torch.stack([getattr(seen, name) for name in SEEN]))
        target.aside["graph"] = labels(seen.label)
        return {"smooth": config.smooth_weight * smooth, "reliable": (1 - config.weight) * reliable}

    def read(self, features: Tensor, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`co`: the mean of both classifiers, the standard one's less the mean of its priors."""
        if not self.config.balanced:
            return {}
        off = log_prior((self.labeled() + self.all.prior) / 2, 1.0)
        return {"co": (own["cls"] - off.to(own["cls"].dtype) + own[self.head]) / 2}

    def alarms(self, measured: Mapping[str, float]) -> list[str]:
        """Beside those of the priors, smoothed labels that say nothing."""
        silent = "Smoothed labels are as good as uniform (train/contrast/sharpness), and their loss teaches nothing."
        return super().alarms(measured) + ([silent] if measured.get("contrast/asleep") else [])

    def metrics(self) -> dict[str, Tensor]:
        """Beside the priors, of the last step: `agree/balanced`, the share where both classifiers say the same;
        `contrast/...`, what the contrastive losses saw (`Seen`): at a sharpness of 0 smoothed labels say nothing,
        which is `asleep` later than `LATE`.
        """
        found = {"agree/balanced": self.agreed.clone()} if self.config.balanced else {}
        if self.config.contrastive:
            seen = dict(zip(SEEN, self.seen.clone().unbind()))
            found |= {f"contrast/{name}": seen[name] for name in SEEN if self.config.share or name != "alone"}
            found["contrast/asleep"] = (self.late & (seen["sharpness"] < ASLEEP)).to(torch.float64)
        return super().metrics() | found
