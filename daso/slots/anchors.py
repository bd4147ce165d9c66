"""Thresholds of confidence by class that begin by an anchor: the distribution, of five, that unlabeled images are like.

Shape legend: K classifiers, C classes.
"""

import torch
from torch import Tensor, nn

BENDS = (4, 5, 6, 4, 6)  # c of each anchor: the larger, the lower thresholds begin
NONE = -1


class AnchoredThresholds(nn.Module):
    """Of two classifiers; those of the frequent half of the classes stay at `highest`, the others begin below it.

    They begin at highest - (c - 4) / 10 * min(g / 50, 1) and at highest - (c - 3) / 5 * min(g / 20, 1), with the
    anchor's c and its largest over smallest class g.

    Args:
        counts: [C] int64 labeled images per class, none zero.
        highest: all thresholds until there is an anchor.
        gamma: imbalance of the anchors; 1 or less for that of `counts`.
    """

    counts: Tensor
    rank: Tensor  # [C] int64, 0: most labeled images
    values: Tensor  # [2,C]
    share: Tensor  # [C] of the unlabeled images
    distance: Tensor  # [5] KL of that from each anchor, in nats
    anchor: Tensor  # [] int64

    def __init__(self, counts: Tensor, highest: float, gamma: float) -> None:
        super().__init__()
        self.highest, self.gamma = highest, gamma
        for name in ("counts", "rank"):
            self.register_buffer(name, counts.to(torch.int64, copy=True))
        for name, shape in {"values": (2, len(counts)), "share": (len(counts),), "distance": (len(BENDS),)}.items():
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("anchor", torch.tensor(NONE))
        self.restart(counts)

    def restart(self, counts: Tensor) -> None:
        """No anchor, and `counts` [C] labeled images per class."""
        self.counts.copy_(counts)
        self.rank.copy_(counts.argsort(descending=True, stable=True).argsort())
        self.values.fill_(self.highest)
        self.share.fill_(1 / len(counts))
        self.distance.zero_()
        self.anchor.fill_(NONE)

    def rare(self) -> Tensor:
        """[C] bool: the half of the classes with fewer labeled images."""
        return self.rank >= len(self.rank) // 2

    def anchors(self) -> Tensor:
        """[5,C]: the labeled prior, uniform, the labeled prior reversed, a bell over the ranks, that bell inverted."""
        counts, dtype = self.counts, self.share.dtype
        gamma = self.gamma if self.gamma > 1 else counts.max().to(dtype) / counts.min()
        return anchors(self.rank.to(dtype), gamma)

    def look(self, counts: Tensor) -> None:
        """Begin by the anchor that is nearest to `counts` [C] unlabeled images per class; in place."""
        self.share.copy_(counts.to(self.share.dtype) / counts.sum())
        self.distance.copy_(torch.xlogy(self.share, self.share / self.anchors()).sum(1))
        self.begin(self.distance.argmin())

    def begin(self, anchor: Tensor) -> None:
        """Begin by the anchor of this number ([] int64); in place."""
        points = self.anchors()
        g, c = points.amax(1) / points.amin(1), torch.tensor(BENDS).to(points)
        below = torch.stack([(c - 4) / 10 * (g / 50).clamp(max=1), (c - 3) / 5 * (g / 20).clamp(max=1)])
        self.values.copy_(self.highest - self.rare() * below.index_select(1, anchor[None]))
        self.anchor.copy_(anchor)

    def fall(self, where: Tensor, rate: float, floor: float) -> None:
        """Lower those of the rare classes `where` [C] bool by `rate`, once there is an anchor; none below `floor`."""
        falling = where & self.rare() & (self.anchor > NONE)
        self.values.copy_((self.values - rate * falling.to(self.values.dtype)).clamp(min=floor))

    def metrics(self) -> dict[str, Tensor]:
        """What is known of the unlabeled images: `prior/estimate` [C]; `anchor`, by number, and `anchor/margin`, by
        how much it is nearer than the next one.
        """
        nearest, second = self.distance.topk(2, largest=False).values
        return {"prior/estimate": self.share.clone(), "anchor": self.anchor.clone(), "anchor/margin": second - nearest}


def anchors(rank: Tensor, gamma: float | Tensor) -> Tensor:
    """[5,C] distributions over classes of `rank` [C] floating, from the most labeled images to the fewest.

    Geometric with largest over smallest `gamma`; uniform; geometric the other way round; a bell of mean (C - 1) / 2 and
    deviation C / 6; that bell's largest plus its smallest entry less itself.
    """
    classes = len(rank)
    tail = gamma ** (-rank / max(1, classes - 1))
    bell = (-(((rank - (classes - 1) / 2) * 6 / classes) ** 2) / 2).exp()
    bell = bell / bell.sum()
    rows = torch.stack([tail, torch.ones_like(tail), 1 / tail, bell, bell.max() + bell.min() - bell])
    return rows / rows.sum(1, keepdim=True)
