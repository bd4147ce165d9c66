"""Losses and similarities that several learners and slots share. B samples, C classes, D features."""

import torch
import torch.nn.functional as F
from torch import Tensor

from daso.types import Labels


def wide(x: Tensor) -> Tensor:
    """`x` in at least float32, for softmax, temperatures and thresholds (bf16 turns 0.95 into 0.949)."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def cross_entropy(logits: Tensor, target: Tensor, weight: Tensor | None = None, floor: float = 0.0) -> Tensor:
    """Cross entropy divided by the number of samples, never by the sum of their weights.

    Args:
        logits: [B,C].
        target: [B] int64 classes, or [B,C] probabilities.
        weight: [B], e.g. a confidence mask; all zero gives exactly zero, gradients included.
        floor: added to every probability inside the logarithm, so that the gradient of a class far below it fades.

    Returns:
        A 0-d tensor.
    """
    if target.is_floating_point():
        target = target.to(torch.promote_types(logits.dtype, torch.float32))
    if floor:
        log_p = (wide(logits).softmax(1) + floor).log()
        q = target if target.is_floating_point() else one_hot(target, log_p)
        loss = -(q * log_p).sum(1)
    else:
        loss = F.cross_entropy(wide(logits), target, reduction="none")
    return (loss if weight is None else weight * loss).mean()


def squared_error(p: Tensor, target: Tensor) -> Tensor:
    """Mean over all entries of (p - target)^2, both [B,C] (MixMatch, Eq. 4), as a 0-d tensor."""
    return F.mse_loss(p, target.to(p.dtype))


def mutual_information(a: Tensor, b: Tensor) -> Tensor:
    """Mutual information, in nats, of the classes of the logits `a` and `b` [B,C] of two views of the same images.

    Their joint distribution is that of the batch, made symmetric (Ji et al. 2019, Eq. 3); 0-d, at least float32.
    """
    with torch.autocast(a.device.type, enabled=False):
        joint = wide(a).softmax(1).T @ wide(b).softmax(1)
    joint = (joint + joint.T) / 2
    joint = joint / joint.sum()
    row, column = joint.sum(1, keepdim=True), joint.sum(0, keepdim=True)
    p, row, column = (x.clamp(min=torch.finfo(torch.float64).eps) for x in (joint, row, column))
    return (p * (p.log() - row.log() - column.log())).sum()


def one_hot(y: Tensor, like: Tensor) -> Tensor:
    """Classes `y` [B] as distributions [B,C], in the dtype and with the C of `like` [...,C]."""
    return (y[:, None] == torch.arange(like.shape[-1], device=y.device)).to(like.dtype)


def labels(p: Tensor) -> Labels:
    """The most likely classes of the distributions `p` [B,C], with their probabilities."""
    conf, label = p.max(1)
    return Labels(label, conf)


def last_of_equal(idx: Tensor) -> Tensor:
    """[B] for every entry of the rows `idx` [B], the position of the last equal one: what is written last stays."""
    return ((idx[:, None] == idx) * torch.arange(len(idx), device=idx.device)).amax(1)


def sharpen(p: Tensor, temperature: float) -> Tensor:
    """Raise the distributions `p` [B,C] to the power 1/temperature and renormalise them (MixMatch, Eq. 7)."""
    p = p ** (1 / temperature)
    return p / p.sum(1, keepdim=True)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine similarity of every row of `a` [B,D] with every row of `b` [C,D], as [B,C]; 0 where a row is zero.

    At least float32, whatever autocast says: it is divided by a small temperature afterwards.
    """
    dtype = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
    with torch.autocast(a.device.type, enabled=False):
        return F.normalize(a.to(dtype), dim=1, eps=1e-8) @ F.normalize(b.to(dtype), dim=1, eps=1e-8).T


def likenesses(views: tuple[Tensor, ...], y: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """0-d mean cosines of views [Bl,P] each, of classes `y` [Bl], with the centres [C,P] of their own and of others."""
    cosines = torch.cat(views) @ centres.T
    own = cosines.gather(1, y.repeat(len(views))[:, None])[:, 0]
    return own.mean(), ((cosines.sum(1) - own) / max(1, len(centres) - 1)).mean()
