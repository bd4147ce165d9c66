"""How uncertain a network is about unlabeled images of its classes and of none of them (paper, App. E.5, Fig. 12).

For people to look at; no learner sees any of it.
Legend: N unlabeled images, C classes, K bins.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from daso.data.images.listing import OUT

Numbers = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

BINS_PER_NAT = 12  # the width of the paper's bins is 1/12


class OpenSet(NamedTuple):
    """Entropies (nats) of the predictions for unlabeled images inside and outside the classes."""

    edges: Numbers  # [K+1], from 0 on
    inside: Integers  # [K] images
    outside: Integers  # [K]
    metrics: dict[str, float]


def entropy(distributions: Tensor) -> Tensor:
    """[N] in nats, of class distributions [N,C], in at least float32."""
    p = distributions.to(torch.promote_types(distributions.dtype, torch.float32))
    total: Tensor = torch.special.entr(p).sum(1)
    return total


def open_set(entropies: Numbers, truth: Integers, classes: int) -> OpenSet | None:
    """Histograms, means, and how well entropy tells the two kinds apart; None where one of them has no image.

    Args:
        entropies: [N] of the predictions.
        truth: [N] classes, -1 unknown, -2 none. Where no class is known at all, whatever is not known to be outside
            counts as inside.
        classes: C; a uniform prediction has the entropy ln C.
    """
    outside = truth == OUT
    inside = truth >= 0 if (truth >= 0).any() else ~outside
    if not outside.any() or not inside.any():
        return None
    bins = math.ceil(math.log(classes) * BINS_PER_NAT)
    edges = np.arange(bins + 1) / BINS_PER_NAT
    within = entropies.clip(0, edges[-1])  # rounding may pass the ends by a hair
    own, others = (np.histogram(within[which], edges)[0].astype(np.int64) for which in (inside, outside))
    metrics = {
        "openset/entropy/in": float(entropies[inside].mean()),
        "openset/entropy/out": float(entropies[outside].mean()),
        "openset/auroc": auroc(entropies[inside], entropies[outside]),
    }
    return OpenSet(edges, own, others, metrics)


def auroc(below: Numbers, above: Numbers) -> float:
    """The probability that a value of `above` is larger than one of `below`; equal ones count half."""
    ordered = np.sort(below)
    smaller = np.searchsorted(ordered, above, "left")
    equal = np.searchsorted(ordered, above, "right") - smaller
    return float((smaller + equal / 2).mean() / len(below))
