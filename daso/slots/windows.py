"""Two class priors that are counted from pseudo-labels, window by window (Zhou, Fang et al., NeurIPS 2024).

Shape legend: N unlabeled set, Bu unlabeled batch, C classes.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from daso.slots.base import Census, Observe
from daso.slots.priors import Window, quantile
from daso.types import Batch, Chosen, Clock, Nets, Target

QUANTILES = {"tenth": 0.1, "median": 0.5, "nine_tenths": 0.9}  # of the energies of a step
LEAST = 1e-6  # prior of a class below which it is as good as lost


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
    energies: Tensor
    ended: Tensor

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
        self.register_buffer("energies", torch.zeros(len(QUANTILES)), persistent=False)  # of this step
        self.register_buffer("ended", torch.zeros((), dtype=torch.bool), persistent=False)  # this step ends a window
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
        energy = -target.logits.logsumexp(1)
        self.low.copy_(energy <= self.energy)
        self.energies.copy_(torch.stack([quantile(energy, share) for share in QUANTILES.values()]))
        self.unlabeled.count(target.p, self.low & ~self.own[idx])

    @torch.no_grad()
    def note_chosen(self, target: Target, chosen: Chosen) -> None:
        """Count the images that train; tell the meters which have a low energy, which train, and which do both."""
        self.label.copy_(chosen.label)
        self.kept.copy_(chosen.weight)
        self.all.count(target.p, chosen.weight)
        low, sure = self.low, chosen.weight > 0
        if target.groups is not None:
            target.groups.update(both=low & sure, energy=low & ~sure, confident=~low & sure, neither=~low & ~sure)

    @torch.no_grad()
    def follow(self, clock: Clock) -> None:
        """The end of a step: where a window ends, both priors move."""
        due = (clock.step % self.periods.epoch + 1) % self.periods.every == 0
        self.ended.copy_(due & (clock.step >= self.periods.first))
        for window in (self.unlabeled, self.all):
            window.move(self.ended)

    def alarms(self, measured: Mapping[str, float]) -> list[str]:
        """A class that the unlabeled prior has given up, and a window without a single image."""
        found = []
        if min(measured[f"prior/estimate/class/{k}"] for k in range(len(self.counts))) < LEAST:
            found.append(
                "The estimated unlabeled prior has given a class up (train/prior/estimate): it is taken for no image."
            )
        if measured["energy/empty"]:
            found.append(
                f"No image had an energy of at most {self.energy:g} in a whole window (train/energy/empty): the "
                "estimated unlabeled prior moves towards the uniform one."
            )
        return found

    def metrics(self) -> dict[str, Tensor]:
        """`prior/estimate` [C] of the unlabeled images, `prior/all` [C]; of this window so far, how many images count
        for each; `energy/empty`: it has ended, and none did for the first; of the last step, the share of low energy,
        that of images which train as well, and `QUANTILES`.
        """
        masses = (window.counted.clone() for window in (self.unlabeled, self.all))
        found = {"prior/estimate": self.unlabeled.prior.clone(), "prior/all": self.all.prior.clone()}
        found |= zip(("energy/mass", "pl/mass"), masses, strict=True)
        found |= {f"energy/{name}": value for name, value in zip(QUANTILES, self.energies.clone().unbind())}
        found["energy/empty"] = (self.ended & (self.unlabeled.counted == 0)).to(torch.float64)
        low = self.low.to(torch.float64)
        return found | {"energy/share": low.mean(), "energy/both": (low * (self.kept > 0)).mean()}
