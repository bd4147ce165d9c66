"""Two class priors that are counted from pseudo-labels, window by window (Zhou, Fang et al., NeurIPS 2024).

Shape legend: N unlabeled set, Bu unlabeled batch, C classes.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from daso.slots.base import Census, Observe
from daso.slots.priors import average, renew
from daso.types import Batch, Chosen, Clock, Nets, Target

LEAST = 1e-6  # prior of a class below which it is as good as lost


class Window(nn.Module):
    """A class prior that moves once a window towards the class shares of what was counted in it, from 1 a class on.

    Args:
        classes: C.
        momentum: of the prior, at the end of a window.
    """

    prior: Tensor
    mass: Tensor

    def __init__(self, classes: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("prior", torch.full((classes,), 1 / classes, dtype=torch.float64))
        self.register_buffer("mass", torch.ones(classes, dtype=torch.float64))

    def start(self, prior: Tensor) -> None:
        """Begin with `prior` [C]."""
        self.prior.copy_(prior)
        self.mass.fill_(1)

    def begin(self, due: Tensor) -> None:
        """Count from 1 again where the 0-d `due` says so."""
        renew(self.mass, due, torch.ones_like(self.mass))

    def count(self, p: Tensor, weight: Tensor) -> None:
        """Add the distributions `p` [Bu,C] times `weight` [Bu]."""
        self.mass.add_((p * weight[:, None]).sum(0).to(self.mass.dtype))

    def move(self, due: Tensor) -> None:
        """The window ends where the 0-d `due` says so."""
        renew(self.prior, due, average(self.prior, self.mass / self.mass.sum(), self.momentum))
        self.begin(due)


class Periods(NamedTuple):
    """When windows end."""

    every: int  # steps of one
    epoch: int  # steps after which what is not full ends without a trace
    first: int  # the step of a phase from which the priors move


class TwoPriors(Observe, Census):
    """The prior of the unlabeled images, by those of low energy, and that of all, by those that train.

    Args:
        counts: [C] int64 labeled images per class; `relabel` replaces them.
        own: [N] bool, unlabeled images that are labeled ones too: they tell nothing of the unlabeled prior.
        rows: Bu.
        energy: pseudo-labels of at most this energy, -log sum exp of the logits, count for the unlabeled prior.
        momenta: of both priors.
        periods: of both.
    """

    counts: Tensor
    own: Tensor
    low: Tensor
    kept: Tensor
    label: Tensor

    def __init__(
        self, counts: Tensor, own: Tensor, rows: int, energy: float, momenta: tuple[float, float], periods: Periods
    ) -> None:
        super().__init__()
        self.energy, self.periods = energy, periods
        self.unlabeled, self.all = (Window(len(counts), momentum) for momentum in momenta)
        self.register_buffer("counts", counts.to(torch.int64, copy=True))
        self.register_buffer("own", own.clone(), persistent=False)
        for name, dtype in (("low", torch.bool), ("kept", torch.float64), ("label", torch.int64)):  # [Bu] of this step
            self.register_buffer(name, torch.zeros(rows, dtype=dtype), persistent=False)
        self.relabel(counts)

    def relabel(self, counts: Tensor) -> None:
        """Start afresh: a uniform prior of the unlabeled images, that of `counts` [C] for all."""
        self.counts.copy_(counts)
        self.unlabeled.start(torch.full_like(self.unlabeled.prior, 1 / len(counts)))
        self.all.start(self.labeled())

    def labeled(self) -> Tensor:
        """[C] labeled class frequencies."""
        return self.counts.to(self.all.prior.dtype) / self.counts.sum()

    @torch.no_grad()
    def observe(self, nets: Nets, batch: Batch, clock: Clock, feats_l: Tensor | None) -> None:
        """An epoch begins with fresh windows."""
        for window in (self.unlabeled, self.all):
            window.begin(clock.step % self.periods.epoch == 0)

    @torch.no_grad()
    def note(self, target: Target, idx: Tensor) -> None:
        """Count the images of low energy, but those that are labeled."""
        assert target.logits is not None
        self.low.copy_(-target.logits.logsumexp(1) <= self.energy)
        self.unlabeled.count(target.p, self.low & ~self.own[idx])

    @torch.no_grad()
    def note_chosen(self, target: Target, chosen: Chosen) -> None:
        """Count the images that train."""
        self.label.copy_(chosen.label)
        self.kept.copy_(chosen.weight)
        self.all.count(target.p, chosen.weight)

    @torch.no_grad()
    def follow(self, clock: Clock) -> None:
        """The end of a step: where a window ends, both priors move."""
        due = (clock.step % self.periods.epoch + 1) % self.periods.every == 0
        for window in (self.unlabeled, self.all):
            window.move(due & (clock.step >= self.periods.first))

    def alarms(self, measured: Mapping[str, float]) -> list[str]:
        """A class that the unlabeled prior has given up."""
        least = min(measured[f"prior/estimate/class/{k}"] for k in range(len(self.counts)))
        if least >= LEAST:
            return []
        return ["The estimated unlabeled prior has given a class up (train/prior/estimate): it is taken for no image."]

    def metrics(self) -> dict[str, Tensor]:
        """`prior/estimate` [C] of the unlabeled images, `prior/all` [C]; of this window so far, how many images count
        for each; of the last step, the share of low energy.
        """
        masses = (window.mass.sum() - len(self.counts) for window in (self.unlabeled, self.all))
        found = {"prior/estimate": self.unlabeled.prior.clone(), "prior/all": self.all.prior.clone()}
        found |= zip(("energy/mass", "pl/mass"), masses, strict=True)
        return found | {"energy/share": self.low.to(torch.float64).mean()}
