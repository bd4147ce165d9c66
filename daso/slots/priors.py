"""What corrections by a class prior share. C classes."""

import math

import torch
from torch import Tensor, nn


def log_prior(prior: Tensor, tau: float | Tensor) -> Tensor:
    """[C] log(prior^tau + 1e-12), element by element: -27.6 where a class has none; 0 at `tau` 0."""
    return (prior**tau + 1e-12).log()


def average(old: Tensor, new: Tensor, momentum: float) -> Tensor:
    """The exponential moving average `old`, moved towards `new` by 1 - `momentum`."""
    return momentum * old + (1 - momentum) * new


def renew(buffer: Tensor, due: Tensor, new: Tensor) -> None:
    """`buffer` <- `new` where the 0-d `due` says so, in place and without a branch."""
    buffer.copy_(torch.where(due, new.to(buffer.dtype), buffer))


def begins(step: Tensor, every: int) -> Tensor:
    """[] bool: a period of `every` steps ended with the step before this one."""
    return (step > 0) & (step % every == 0)


def turned_by_rank(prior: Tensor) -> Tensor:
    """The prior [C] with its classes' shares exchanged: the rarest class has the most frequent one's, and so on."""
    order = prior.argsort(descending=True, stable=True)
    return torch.empty_like(prior).index_copy_(0, order, prior[order.flip(0)])


def divergence(p: Tensor, others: Tensor) -> Tensor:
    """[K] mean of both Kullback-Leibler divergences, in nats, of the distribution `p` [C] and others [K,C]."""
    return ((p - others) * (p.log() - others.log())).sum(1) / 2


def last_counts(members: Tensor, counts: Tensor) -> Tensor:
    """[C] 1 for each class whose last image in the batch counts; else 0.

    Args:
        members: [B,C] 1 at the class of each image, else 0.
        counts: [B] bool.
    """
    order = torch.arange(1, len(counts) + 1, device=counts.device)
    last = (members * order[:, None]).amax(0).to(torch.int64)  # [C], 0: the class has no image
    return (last > 0) * counts[(last - 1).clamp(min=0)].to(members.dtype)


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """[] Pearson's correlation of `a` and `b` [C]; 0 where one of them is constant."""
    return torch.corrcoef(torch.stack([a, b]))[0, 1].nan_to_num()


def quantile(values: Tensor, share: float) -> Tensor:
    """The `share` quantile of `values` [B], between two of them where it falls there; 0-d, of static shapes."""
    ranked = values.sort().values
    place = share * (len(values) - 1)
    below = math.floor(place)
    above = min(below + 1, len(values) - 1)
    return ranked[below] + (place - below) * (ranked[above] - ranked[below])


class Window(nn.Module):
    """A class prior that moves once a window towards the class shares of what was counted in it, from 1 a class on.

    Args:
        classes: C.
        momentum: of the prior, at the end of a window.
    """

    prior: Tensor
    mass: Tensor
    counted: Tensor

    def __init__(self, classes: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("prior", torch.full((classes,), 1 / classes, dtype=torch.float64))
        self.register_buffer("mass", torch.ones(classes, dtype=torch.float64))
        # what was counted in the window, that of the last step included
        self.register_buffer("counted", torch.zeros((), dtype=torch.float64), persistent=False)

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
        """The end of a step; the window ends where the 0-d `due` says so."""
        self.counted.copy_(self.mass.sum() - len(self.mass))
        renew(self.prior, due, average(self.prior, self.mass / self.mass.sum(), self.momentum))
        self.begin(due)
