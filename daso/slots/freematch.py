"""FreeMatch (Wang et al., ICLR 2023): thresholds that follow the network's confidence, and a fairness loss.

Shape legend: Bu unlabeled batch, V strong views, C classes.
"""

import torch
from torch import Tensor

from daso.schema import FreeMatchConfidence
from daso.slots.losses import one_hot, wide
from daso.slots.priors import average, quantile
from daso.slots.thresholds import ClassThresholds
from daso.types import Chosen, Clock, Facts, Target

SVHN = (0.9, 0.95)  # what the published codes clip by on SVHN: each threshold; the upper one also the global level
EPS = 1e-12  # of a class in the logarithm


class FreeMatch(ClassThresholds):
    """A class needs T * P_c / max P (Eq. 7): T the mean confidence, P the mean prediction, both moving averages that
    hold this step already (Algorithm 1).

    The fairness loss compares the strong views' mean prediction, by their labels, with P by the weak labels (Eq. 11).

    Args:
        counts: [C] int64 labeled images per class; they decide no number.
        config: momentum, clipping, quantile, and the weight of the fairness loss.
    """

    level: Tensor
    predicted: Tensor
    given: Tensor
    missing: Tensor

    def __init__(self, counts: Tensor, config: FreeMatchConfidence) -> None:
        super().__init__(counts)
        self.config = config
        uniform = torch.full((len(counts),), 1 / len(counts), dtype=torch.float64)
        self.register_buffer("level", uniform[0].clone())  # T
        self.register_buffer("predicted", uniform.clone())  # P
        self.register_buffer("given", uniform)  # h: shares of the weak labels
        self.register_buffer("missing", torch.zeros((), dtype=torch.int64), persistent=False)

    @classmethod
    def of(cls, config: FreeMatchConfidence, facts: Facts) -> "FreeMatch":
        """For the classes of the run."""
        return cls(facts.counts, config)

    def relabel(self, counts: Tensor) -> None:
        """Start afresh, from uniform averages."""
        for state in (self.level, self.predicted, self.given):
            state.fill_(1 / len(counts))

    def adapted(self) -> Tensor:
        """[C] T * P_c / max P."""
        return self.level * self.predicted / self.predicted.max()

    def thresholds(self) -> Tensor:
        """[C] `adapted`, each clipped where that is asked for."""
        theta = self.adapted()
        return theta.clamp(*SVHN) if self.config.clip == "sample" else theta

    @torch.no_grad()
    def confident(self, target: Target, idx: Tensor, threshold: float, clock: Clock) -> Chosen:
        """Those that reach the threshold of their class, once this step is averaged in."""
        conf, label, share = target.conf, target.label, self.config.quantile
        found = quantile(conf, share) if share else conf.mean()
        for old, new in (
            (self.level, found),
            (self.predicted, target.p.mean(0)),
            (self.given, one_hot(label, self.given).mean(0)),
        ):
            old.copy_(average(old, new.to(old.dtype), self.config.momentum))
        if self.config.clip == "global":
            self.level.clamp_(0, SVHN[1])
        return Chosen(label, conf >= self.thresholds().to(conf.dtype)[label])

    def consistency_losses(self, z: Tensor, weight: Tensor) -> dict[str, Tensor]:
        """`fair`: sum_c a_c log r_c, with a ~ P / h and r ~ mean prediction / labels of the strong views that count.

        0 where none counts; a class without a strong label has r = 0 and no gradient.
        """
        if self.config.fair_weight == 0:
            return {}
        q = wide(z).softmax(1)  # [V*Bu,C]
        counts = weight.to(q.dtype).repeat(len(z) // len(weight))[:, None]
        mass, number = (counts * q).sum(0), (counts * one_hot(q.argmax(1), q)).sum(0)
        some = number.sum() > 0
        r = torch.where(number > 0, mass / number.clamp(min=1), 0.0)
        r = r / torch.where(some, r.sum(), 1.0)
        a = self.predicted / self.given.clamp(min=torch.finfo(self.given.dtype).tiny)
        loss = ((a / a.sum()).to(q.dtype) * (r + EPS).log()).sum()
        self.missing.copy_((number == 0).sum())
        return {"fair": self.config.fair_weight * torch.where(some, loss, 0.0)}

    def metrics(self) -> dict[str, Tensor]:
        """`pl/threshold/global`: T; `pl/entropy/predicted`, `given`: of P and h, in nats; `pl/missing`: classes
        without a strong label that counts, in the last step.
        """
        found = {"pl/threshold/global": self.level.clone(), "pl/missing": self.missing.clone()}
        entropies = {name: torch.special.entr(getattr(self, name)).sum() for name in ("predicted", "given")}
        return super().metrics() | found | {f"pl/entropy/{name}": value for name, value in entropies.items()}
