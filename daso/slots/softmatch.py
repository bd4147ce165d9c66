"""SoftMatch (Chen et al., ICLR 2023): every pseudo-label counts, by a Gaussian of its confidence.

Shape legend: Bl / Bu labeled / unlabeled batch, C classes.
"""

import torch
from torch import Tensor

from daso.schema import SoftMatchConfidence
from daso.slots.base import Census, Confidence
from daso.slots.losses import labels, one_hot, wide
from daso.slots.priors import average
from daso.types import Chosen, Clock, Facts, Target

EPS = 1e-6  # of a class in the alignment


class SoftMatch(Census, Confidence):
    """A label counts fully if its aligned confidence c is above the mean mu; below, by exp(-(c - mu)^2 n^2 / 2v), with
    the variance v (Eq. 6). Both are moving averages that hold this step already.

    Alignment, to a uniform distribution, is for the weights alone: labels stay as they are.

    Args:
        num_classes: C.
        config: momentum, n, what to align to, and whether mu and v are each class's own.
    """

    predicted: Tensor
    goal: Tensor
    begun: Tensor
    mean: Tensor
    variance: Tensor
    low: Tensor
    moved: Tensor

    def __init__(self, num_classes: int, config: SoftMatchConfidence) -> None:
        super().__init__()
        self.config = config
        own = (num_classes,) if config.per_class else ()
        self.register_buffer("predicted", torch.zeros(num_classes, dtype=torch.float64))  # mean prediction
        self.register_buffer("goal", torch.zeros(num_classes, dtype=torch.float64))
        self.register_buffer("begun", torch.zeros((), dtype=torch.bool))  # whether a step has been averaged
        self.register_buffer("mean", torch.zeros(own, dtype=torch.float64))  # mu
        self.register_buffer("variance", torch.zeros(own, dtype=torch.float64))  # v
        for name in ("low", "moved"):
            self.register_buffer(name, torch.zeros((), dtype=torch.float64), persistent=False)
        self.relabel(self.goal)

    @classmethod
    def of(cls, config: SoftMatchConfidence, facts: Facts) -> "SoftMatch":
        """For the classes of the run."""
        return cls(facts.num_classes, config)

    def relabel(self, counts: Tensor) -> None:
        """Start afresh: a uniform goal, mu = 1 / C, v = 1, and a mean prediction that the first step gives."""
        for buffer, value in ((self.goal, 1 / len(counts)), (self.mean, 1 / len(counts)), (self.variance, 1.0)):
            buffer.fill_(value)
        self.predicted.fill_(1 / len(counts))
        self.begun.fill_(False)

    @torch.no_grad()
    def note_labeled(self, logits: Tensor) -> None:
        """The goal follows the mean prediction of the labeled images, if it is to."""
        if self.config.goal == "labeled_ema":
            found = wide(logits).softmax(1).mean(0).to(self.goal.dtype)
            self.goal.copy_(average(self.goal, found, self.config.momentum))

    @torch.no_grad()
    def confident(self, target: Target, idx: Tensor, threshold: float, clock: Clock) -> Chosen:
        """All labels, each with its weight."""
        found = target.p.mean(0).to(self.predicted.dtype)
        self.predicted.copy_(torch.where(self.begun, average(self.predicted, found, self.config.momentum), found))
        self.begun.fill_(True)
        aligned = target.p * ((self.goal + EPS) / (self.predicted + EPS)).to(target.p.dtype)
        label, conf = labels(aligned / aligned.sum(1, keepdim=True))
        mean, variance = self._by_class(label, conf) if self.config.per_class else moments(conf)
        self.mean.copy_(average(self.mean, mean.to(self.mean.dtype), self.config.momentum))
        self.variance.copy_(average(self.variance, variance.to(self.variance.dtype), self.config.momentum))
        mu, v = self.mean.to(conf.dtype), self.variance.to(conf.dtype)
        if self.config.per_class:
            mu, v = mu[label], v[label]
        below = (conf - mu).clamp(max=0)
        width = 2 * v.clamp(min=torch.finfo(v.dtype).tiny) / self.config.n_sigma**2
        weight = (-(below**2) / width).exp()
        self.low.copy_((weight < 0.5).to(self.low.dtype).mean())
        self.moved.copy_((label != target.label).to(self.moved.dtype).mean())
        return Chosen(target.label, weight)

    def _by_class(self, label: Tensor, conf: Tensor) -> tuple[Tensor, Tensor]:
        """[C] mean and variance; 0 and 1 of a class with fewer than two images, as in USB's code (SM3)."""
        members = one_hot(label, conf.new_empty(0, len(self.mean)))  # [Bu,C]
        number = members.sum(0)
        mean = (members * conf[:, None]).sum(0) / number.clamp(min=1)
        apart = (members * (conf[:, None] - mean) ** 2).sum(0) / (number - 1).clamp(min=1)
        return torch.where(number > 1, mean, 0.0), torch.where(number > 1, apart, 1.0)

    def metrics(self) -> dict[str, Tensor]:
        """`pl/confidence/mean`, `deviation`: mu and the root of v, [C] where they are a class's own; of the last step,
        `pl/low`: the share with a weight below 1/2, `pl/realigned`: the share whose aligned label is another.
        """
        found = {"pl/confidence/mean": self.mean.clone(), "pl/confidence/deviation": self.variance.sqrt()}
        return found | {"pl/low": self.low.clone(), "pl/realigned": self.moved.clone()}


def moments(conf: Tensor) -> tuple[Tensor, Tensor]:
    """0-d mean and unbiased variance of confidences [Bu]."""
    mean = conf.mean()
    return mean, ((conf - mean) ** 2).sum() / max(len(conf) - 1, 1)
