"""What corrections by a class prior share. C classes."""

import torch
from torch import Tensor


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
