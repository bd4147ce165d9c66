"""A strength that follows how far an estimated class prior is from three anchors (Wei & Gan, CVPR 2023, Eq. 7).

Shape legend: Bl / Bu labeled / unlabeled batch, C classes.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from daso.slots.base import Observe
from daso.slots.losses import one_hot
from daso.slots.priors import average, begins, divergence, last_counts, renew, turned_by_rank
from daso.types import Batch, Clock, Nets


class Following(NamedTuple):
    """How the strength follows the estimate."""

    tau: float  # the largest strength
    every: int  # steps between two changes
    momentum: float  # of the estimate
    anchored: bool = True  # False: the strength stays at its largest
    by_rank: bool = False  # the labeled prior is reversed by its classes' ranks, not by their order
    by_number: bool = False  # a batch tells how many images each class has, not which classes are there


class AnchoredStrength(Observe):
    """tau_t = tau * the first entry of the softmax of the mean divergences to the labeled, uniform and reversed prior.

    Args:
        counts: [C] int64 labeled images per class, none zero; `relabel` replaces them.
        first: the step of a phase from which the estimate moves.
        following: the largest strength, period, momentum, anchors.
    """

    counts: Tensor
    estimate: Tensor
    distance: Tensor
    tau: Tensor

    def __init__(self, counts: Tensor, first: int, following: Following) -> None:
        super().__init__()
        self.following, self.first = following, first
        self.register_buffer("counts", counts.to(torch.int64, copy=True))
        self.register_buffer("estimate", torch.zeros(len(counts), dtype=torch.float64))  # of the unlabeled prior
        self.register_buffer("distance", torch.zeros(3, dtype=torch.float64))  # to each anchor, summed over this period
        self.register_buffer("tau", torch.zeros((), dtype=torch.float64))
        self.relabel(counts)

    def relabel(self, counts: Tensor) -> None:
        """Start afresh with the new labeled set: a uniform estimate, the full strength."""
        self.counts.copy_(counts)
        self.estimate.fill_(1 / len(counts))
        self.distance.zero_()
        self.tau.fill_(self.following.tau)

    def prior(self) -> Tensor:
        """[C] labeled class frequencies."""
        return self.counts.to(self.estimate.dtype) / self.counts.sum()

    def anchors(self) -> Tensor:
        """[3,C]: the labeled prior, uniform, the labeled prior reversed."""
        prior = self.prior()
        turned = turned_by_rank(prior) if self.following.by_rank else prior.flip(0)
        return torch.stack([prior, torch.full_like(prior, 1 / len(prior)), turned])

    @torch.no_grad()
    def observe(self, nets: Nets, batch: Batch, clock: Clock, feats_l: Tensor | None) -> None:
        """At the start of a period: tau_t by the distances of the last one. It stays where they are infinite (AC6)."""
        due = begins(clock.step, self.following.every)
        if self.following.anchored:
            shares = (self.distance / self.following.every).softmax(0)
            usable = due & (clock.step >= self.first) & self.distance.isfinite().all()
            renew(self.tau, usable, self.following.tau * shares[0])
        renew(self.distance, due, torch.zeros_like(self.distance))

    def follow(self, label: Tensor, counts: Tensor, clock: Clock) -> None:
        """Move the estimate and the distances by labels [Bu] of which those count that `counts` [Bu] says (AC1)."""
        members = one_hot(label, self.estimate)  # [Bu,C]
        found = (members * counts[:, None]).sum(0) if self.following.by_number else last_counts(members, counts)
        now = (clock.step >= self.first) & (found.sum() > 0)
        renew(self.estimate, now, average(self.estimate, found / found.sum().clamp(min=1), self.following.momentum))
        renew(self.distance, now, self.distance + divergence(self.estimate, self.anchors()))

    def metrics(self) -> dict[str, Tensor]:
        """`tau`; `tau/frozen`, 1 where it can no longer follow; `prior/estimate` [C], `prior/missing`, its classes
        below 1e-6; `distance/...` to each anchor, so far in the period.
        """
        found = {"tau": self.tau.clone(), "tau/frozen": (~self.distance.isfinite().all()).to(self.tau.dtype)}
        found |= {"prior/estimate": self.estimate.clone(), "prior/missing": (self.estimate < 1e-6).sum()}
        names = ("labeled", "uniform", "reversed")
        return found | {f"distance/{name}": d / self.following.every for name, d in zip(names, self.distance)}

    def alarms(self, measured: Mapping[str, float]) -> list[str]:
        """A strength that no longer follows the estimate (AC6)."""
        if not measured["tau/frozen"]:
            return []
        return ["A class has left the estimated prior, so the strength stays as it is (train/tau/frozen)."]
