"""Loss weights that grow from the start of a run on."""

import math
from typing import TypeVar

from torch import Tensor

from daso.schema import RampedAlgorithm
from daso.types import Clock

Progress = TypeVar("Progress", float, Tensor)


def ramp_up(progress: Progress, ratio: float, kind: str) -> Progress:
    """The weight of a consistency loss that grows from the start of a run on and is 1 from `ratio` of it.

    `linear`: x; `exp`: exp(-5 (1 - x)^2) (Laine & Aila 2017), with x = min(progress / ratio, 1).

    Args:
        progress: step / steps; a number, or a [] tensor (then so is the result).
        ratio: above 0.
        kind: `linear` or `exp`.
    """
    if isinstance(progress, Tensor):
        x = (progress / ratio).clamp(max=1)
        return x if kind == "linear" else (-5 * (1 - x) ** 2).exp()
    y = min(progress / ratio, 1.0)
    return y if kind == "linear" else math.exp(-5 * (1 - y) ** 2)


def ramped(loss: Tensor, clock: Clock, config: RampedAlgorithm) -> Tensor:
    """`loss` [] times the learner's ramp-up, in the dtype of the loss."""
    return ramp_up(clock.progress, config.ramp_up, config.ramp_shape.value).to(loss.dtype) * loss
