"""SimPro (Du, Han & Huang, ICML 2024): expectation and maximisation of the class prior of unlabeled images.

Shape legend: Bl / Bu labeled / unlabeled batch, C classes.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from daso.schema import AllPrior, SimProDebias, require
from daso.slots.base import Adjust, Census, LabeledLoss, Observe, Offset
from daso.slots.losses import cross_entropy
from daso.slots.priors import average, begins, log_prior, renew
from daso.types import Batch, Chosen, Clock, Facts, Flags, Nets, Target


class SimPro(LabeledLoss, Observe, Adjust, Offset, Census):
    """The network models P(x|y) alone, up to P(x).

    Losses put the prior of all training data on its logits, pseudo-labels that of the unlabeled images; a prediction is
    by a uniform one, hence by the plain logits.

    Both priors move once a period, from the soft mass of the confident pseudo-labels and the labeled images seen.

    Args:
        counts: [C] int64 labeled images per class; `relabel` replaces them.
        unlabeled: N.
        sizes: of the batches, labeled and unlabeled.
        config: strength, period, momentum, and the labeled loss's weight.
    """

    counts: Tensor
    unlabeled_prior: Tensor
    prior: Tensor
    mass: Tensor
    seen: Tensor
    weight: Tensor

    def __init__(self, counts: Tensor, unlabeled: int, sizes: tuple[int, int], config: SimProDebias) -> None:
        super().__init__()
        self.config, self.unlabeled, self.sizes = config, unlabeled, sizes
        self.register_buffer("counts", counts.to(torch.int64, copy=True))
        empty = torch.zeros(len(counts), dtype=torch.float64)
        self.register_buffer("unlabeled_prior", empty.clone())
        self.register_buffer("prior", empty.clone())  # of all training data
        self.register_buffer("mass", empty.clone())  # soft labels of confident images in this period
        self.register_buffer("seen", empty)  # labeled images in this period
        self.register_buffer("weight", torch.ones((), dtype=torch.float64))  # of the labeled loss
        self.relabel(counts)

    @classmethod
    def of(cls, config: SimProDebias, facts: Facts) -> "SimPro":
        """For the labeled and unlabeled images of the run.

        Raises:
            UserError: the unlabeled images do not fill a batch.
        """
        size = facts.sizes.unlabeled
        right = f"the {facts.unlabeled} unlabeled images do not fill a batch of {size}, so a smaller train.mu"
        enough = config.labeled_weight != "batches" or facts.unlabeled >= size
        require(enough, "debias.labeled_weight", config.labeled_weight, right)
        return cls(facts.counts, facts.unlabeled, facts.sizes, config)

    @torch.no_grad()
    def relabel(self, counts: Tensor) -> None:
        """Start afresh: a uniform prior of the unlabeled images, that of `counts` [C] for all."""
        self.counts.copy_(counts)
        self.unlabeled_prior.fill_(1 / len(counts))
        self.prior.copy_(self.counts.to(torch.float64) / self.counts.sum())
        self.mass.zero_()
        self.seen.zero_()
        self.weight.fill_(self._labeled_weight())

    @torch.no_grad()
    def observe(self, nets: Nets, batch: Batch, clock: Clock, feats_l: Tensor | None) -> None:
        """Take a finished period into use, and count the labeled images of this step, each once whatever its views."""
        due, momentum = begins(clock.step, self.config.every), self.config.momentum
        found = self.mass / (self.mass.sum() + 1)
        renew(self.unlabeled_prior, due, average(self.unlabeled_prior, found, momentum))
        if self.config.prior is AllPrior.visited:
            total = self.mass + self.seen
            everything = average(self.prior, total / total.sum().clamp(min=1), momentum)
        else:
            everything = self.counts + self.unlabeled * self.unlabeled_prior / self.unlabeled_prior.sum()
            everything = everything / everything.sum()
        renew(self.prior, due, everything)
        for sums in (self.mass, self.seen):
            renew(sums, due, torch.zeros_like(sums))
        self.seen.index_add_(0, batch.y, torch.ones_like(batch.y, dtype=self.seen.dtype))

    def adjust(self, z: Tensor, feats: Tensor, nets: Nets) -> Tensor:
        """Logits [Bu,C] under the prior of the unlabeled images."""
        return z + log_prior(self.unlabeled_prior, self.config.tau).to(z.dtype)

    def offset_labeled(self) -> Tensor:
        """[C] the prior of all training data, as are both losses'."""
        return log_prior(self.prior, self.config.tau)

    def offset_strong(self) -> Tensor:
        """[C] the same as `offset_labeled`."""
        return self.offset_labeled()

    def supervised(self, logits: Tensor, y: Tensor, flags: Flags, weight: Tensor | None = None) -> Tensor:
        """The weighed mean cross entropy of `logits` [.,C], offset already, against `y`."""
        loss = cross_entropy(logits, y, weight)
        return self.weight.to(loss.dtype) * loss

    @torch.no_grad()
    def note_chosen(self, target: Target, chosen: Chosen) -> None:
        """Add the distributions of the images that count."""
        self.mass.add_((target.p * chosen.weight[:, None]).sum(0).to(self.mass.dtype))

    def _labeled_weight(self) -> float:
        """Batches of one pass over the labeled images, by those of one over the unlabeled images (SP1)."""
        fixed, (labeled, unlabeled) = self.config.labeled_weight, self.sizes
        if fixed != "batches":
            return float(fixed)
        return float(self.counts.sum() // labeled) / (self.unlabeled // unlabeled)

    def metrics(self) -> dict[str, Tensor]:
        """`prior/estimate` [C] of the unlabeled images, `prior/mass`, what it summed to, and `prior/entropy`, in nats;
        `prior/fresh` [C], what the period has seen so far; `prior/all` [C]; `labeled_weight`.
        """
        mass, seen = self.unlabeled_prior.sum(), self.mass.sum()
        estimate = self.unlabeled_prior / mass
        return {
            "prior/estimate": estimate,
            "prior/mass": mass,
            "prior/entropy": torch.special.entr(estimate).sum(),
            "prior/fresh": self.mass / seen.clamp(min=torch.finfo(seen.dtype).tiny),
            "prior/all": self.prior.clone(),
            "labeled_weight": self.weight.clone(),
        }

    def alarms(self, measured: Mapping[str, float]) -> list[str]:
        """Hardly any confident image, period after period."""
        if measured["prior/mass"] >= 0.1:
            return []
        return ["Hardly any pseudo-label is confident, so SimPro learns from labeled images alone (train/prior/mass)."]
