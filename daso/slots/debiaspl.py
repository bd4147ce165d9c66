"""DebiasPL (Wang et al., CVPR 2022): pseudo-labels less the mean prediction, and a margin by it.

Shape legend: Bu unlabeled batch, V strong views, C classes, D features.
"""

import torch
from torch import Tensor

from daso.schema import Centroids, DebiasPlDebias
from daso.slots.base import Adjust, Auxiliary, Blend, Offset
from daso.slots.losses import cross_entropy, one_hot, wide
from daso.slots.priors import average
from daso.types import Batch, Clock, Facts, Feats, Flags, Nets, Noise, Target

LEAST = 1e-12  # of a class in the logarithm
TEMPERATURE = 0.07  # of the likeness to a centroid


class DebiasPl(Adjust, Offset, Auxiliary):
    """Weak logits less t * log q, with q of the steps before; strong logits plus t * log q, this step's mean in it.

    q is a moving average of the mean prediction of weak views, before any correction.

    Args:
        num_classes: C.
        config: strength t, momentum of q, and the weight of cross-level discrimination.
    """

    mean: Tensor
    flipped: Tensor

    def __init__(self, num_classes: int, config: DebiasPlDebias) -> None:
        super().__init__()
        self.strength, self.momentum = config.strength, config.momentum
        self.cld_weight, self.cld_by = config.cld_weight, config.cld_by
        self.register_buffer("mean", torch.full((num_classes,), 1 / num_classes, dtype=torch.float64))  # q
        self.register_buffer("flipped", torch.zeros((), dtype=torch.float64), persistent=False)  # of the last step

    @classmethod
    def of(cls, config: DebiasPlDebias, facts: Facts) -> "DebiasPl":
        """For the classes of the run."""
        return cls(facts.num_classes, config)

    def relabel(self, counts: Tensor) -> None:
        """Start afresh, from a uniform q."""
        self.mean.fill_(1 / len(self.mean))

    def margin(self) -> Tensor:
        """[C] t * log q."""
        return self.strength * self.mean.clamp(min=LEAST).log()

    @torch.no_grad()
    def adjust(self, z: Tensor, feats: Tensor, nets: Nets) -> Tensor:
        """Logits [Bu,C] less the margin; then q follows the predictions of `z` [Bu,C] as they are."""
        adjusted = z - self.margin().to(z.dtype) if self.strength else z
        self.flipped.copy_((adjusted.argmax(1) != z.argmax(1)).to(self.flipped.dtype).mean())
        self.mean.copy_(average(self.mean, z.softmax(1).mean(0).to(self.mean.dtype), self.momentum))
        return adjusted

    def offset_strong(self) -> Tensor | None:
        """[C] the margin, by q as `adjust` left it."""
        return self.margin() if self.strength else None

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
        """`cld`: cross-level discrimination, where it has a weight; nothing else."""
        if self.cld_weight == 0:
            return {}
        assert target is not None
        assert target.plain is not None
        z = wide(nets.student.classify(torch.cat(feats.s))) + self.margin()
        views = len(feats.s)
        return {"cld": self.cld_weight * discrimination(z, target.plain.repeat(views, 1), self.cld_by)}

    def metrics(self) -> dict[str, Tensor]:
        """`prior/estimate` [C]: q, and `prior/entropy`: its entropy, in nats; `bias/flipped`: the share of the last
        step's labels that the correction changes.
        """
        entropy = torch.special.entr(self.mean).sum()
        return {"prior/estimate": self.mean.clone(), "prior/entropy": entropy, "bias/flipped": self.flipped.clone()}


def discrimination(z: Tensor, plain: Tensor, by: Centroids) -> Tensor:
    """How hard it is to tell an image's group by the groups' mean predictions, as a 0-d loss (from the published code).

    Args:
        z: [N,C] logits of strong views, with gradient.
        plain: [N,C] logits of the weak views, without; their predictions make the centroids.
        by: which class an image's group is: the most likely one, or the least likely, as the published code has it.
    """
    p = plain.softmax(1)
    group = p.argmin(1) if by is Centroids.least else p.argmax(1)
    members = one_hot(group, p)
    centroids = members.T @ p / members.sum(0).clamp(min=1)[:, None]
    with torch.autocast(z.device.type, enabled=False):
        likeness = z.softmax(1) @ centroids.T / TEMPERATURE
    return cross_entropy(likeness, group)
