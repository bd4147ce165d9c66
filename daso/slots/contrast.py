"""Losses between unit vectors whose labels are distributions (Zhou, Fang et al., NeurIPS 2024, section 4).

Shape legend: Bl / Bu labeled / unlabeled batch, V strong views, R rows, A anchors, P width of a projection, C classes.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from daso.slots.losses import likenesses, one_hot, sharpen, wide


class Projected(NamedTuple):
    """The unit vectors of a step."""

    centres: Tensor  # [C,P] of the classes
    labeled: tuple[Tensor, ...]  # [Bl,P] each
    weak: Tensor  # [Bu,P]
    strong: tuple[Tensor, ...]  # V x [Bu,P]


class Rows(NamedTuple):
    """Unit vectors, and what they are of."""

    at: Tensor  # [R,P]
    label: Tensor  # [R,C], at least 0


class Seen(NamedTuple):
    """What there is to look at beside the losses; without gradient."""

    label: Tensor  # [Bu,C] smoothed labels of the weak views
    sharpness: Tensor  # 0-d: log C less the mean entropy of the strong views' labels, in nats
    alone: Tensor  # 0-d: mean share of a weak view in its own smoothed label's graph
    own: Tensor  # 0-d: mean cosine of a labeled view and the centre of its class
    other: Tensor  # 0-d: the same of all other centres


class Contrast(NamedTuple):
    """Numbers of both losses."""

    temperature: float = 0.1  # of likeness
    graph_temperature: float = 1.0  # of likeness between the rows that labels are spread over
    share: float = 0.2  # of a row's label that comes from the rows that are like it
    power: float = 4.0  # of labels that are trained towards
    floor: bool = True  # whether a class's centre counts for every class alike, not for its own


def unit(x: Tensor) -> Tensor:
    """[R,P] of length 1, in at least float32."""
    return F.normalize(wide(x), dim=1, eps=1e-12)


def contrastive(
    found: Projected, y: Tensor, p: Tensor, chosen: Tensor, how: Contrast, bias: Tensor | None = None
) -> tuple[Tensor, Tensor, Seen]:
    """The smoothed loss (Eq. 18 to 21) and the reliable one (Eq. 16, 17), and what is seen on the way.

    Args:
        found: the vectors, with gradient.
        y: [Bl] classes of the labeled images.
        p: [Bu,C] distributions of the unlabeled ones.
        chosen: [Bu] bool, which of them the reliable loss is trained with.
        how: the numbers.
        bias: [C] added to the logits of the posteriors, such as a log prior.
    """
    with torch.autocast(p.device.type, enabled=False):
        anchors = anchors_of(found.centres, found.labeled, y, how.floor)
        with torch.no_grad():
            weak = smoothed(found.weak, anchors, how, bias)
            aim = sharpen(weak, 1 / how.power)
        labels = [smoothed(rows, anchors, how, bias) for rows in found.strong]
        mean = torch.stack(labels).mean(0)
        views = len(labels)
        smooth = sum((cross(aim, label) for label in labels), cross(mean, mean)) / (views + 1)
        sharp = sharpen(p, 1 / how.power).to(mean.dtype)
        rows = Rows(torch.cat(found.strong), sharp.repeat(views, 1))
        reliable = reliable_loss(anchors, rows, chosen.repeat(views), len(found.centres), how.temperature, bias)
        with torch.no_grad():
            entropy = torch.stack([cross(label, label) for label in labels]).mean()
            alone = graph(found.weak, how).diagonal().mean()
            seen = Seen(weak, math.log(p.shape[1]) - entropy, alone, *likenesses(found.labeled, y, found.centres))
    return smooth, reliable, seen


def anchors_of(centres: Tensor, views: tuple[Tensor, ...], y: Tensor, floor: bool) -> Rows:
    """Centres [C,P] of the classes, then views [Bl,P] each of images of classes `y` [Bl]."""
    label = torch.eye(len(centres), dtype=centres.dtype, device=centres.device)
    label = torch.ones_like(label) if floor else label
    return Rows(torch.cat([centres, *views]), torch.cat([label, *[one_hot(y, label)] * len(views)]))


def posterior(likeness: Tensor, label: Tensor, count: Tensor, bias: Tensor | None) -> Tensor:
    """[R,C] logits: the mean likeness [R,A] to what is of a class by `label` [A,C], `count` of it in all."""
    z = ((likeness @ label) / count).log()
    return z if bias is None else z + bias.to(z.dtype)


def smoothed(rows: Tensor, anchors: Rows, how: Contrast, bias: Tensor | None = None) -> Tensor:
    """[R,C] distributions of unit vectors [R,P]: by the anchors, then smoothed over the graph of the rows (Eq. 19, 20).

    (I - kS)^-1 (1 - k) Q as a sum of powers of kS, to the precision of the dtype: no factorisation, no wait.
    """
    k = how.share
    likeness = (rows @ anchors.at.T / how.temperature).exp()
    q = posterior(likeness, anchors.label, anchors.label.sum(0), bias).softmax(1)
    s = graph(rows, how)
    p = q
    for _ in range(terms(k, q.dtype)):
        p = k * (s @ p) + (1 - k) * q
    return p


def graph(rows: Tensor, how: Contrast) -> Tensor:
    """[R,R] how much of a smoothed label is by which of the unit vectors [R,P]; each row sums to 1."""
    return (rows @ rows.T / how.graph_temperature).softmax(1)


def terms(share: float, dtype: torch.dtype) -> int:
    """Terms of a sum of powers of `share` after which the rest is lost in rounding."""
    return math.ceil(math.log(torch.finfo(dtype).eps / 16) / math.log(share)) if share else 0


def reliable_loss(
    anchors: Rows, rows: Rows, chosen: Tensor, centres: int, temperature: float, bias: Tensor | None
) -> Tensor:
    """Each row is told its label by all others, its own left out (Eq. 16, 17); 0-d.

    Args:
        anchors: rows that always count, the first `centres` of them as keys alone.
        rows: the others.
        chosen: [R] bool, which of the others count.
        centres, temperature, bias: as above.
    """
    at, label = (torch.cat(pair) for pair in zip(anchors, rows, strict=True))
    weight = torch.cat([label.new_ones(len(anchors.at)), chosen.to(label.dtype)])
    kept = weight[:, None] * label
    own = torch.eye(len(at), dtype=torch.bool, device=at.device)
    likeness = (at @ at.T / temperature).exp().masked_fill(own, 0)
    z = posterior(likeness, kept, kept.sum(0) - kept, bias)[centres:]
    each = F.cross_entropy(z, label[centres:], reduction="none")
    return (weight[centres:] * each).sum() / weight[centres:].sum()


def cross(a: Tensor, b: Tensor) -> Tensor:
    """0-d mean over the rows of the cross entropy of distributions `b` [R,C] under `a` [R,C]."""
    return -(a * b.log()).sum(1).mean()
