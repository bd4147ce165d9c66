"""Learning rate and ramp-up as functions of the position in a run. Nothing here has state.

Positions are fractions of the run, so that a short run is the same method as a long one.
"""

import math

from daso.learners.ramp import ramp_up
from daso.schema import OptimConfig, Schedule

__all__ = ["learning_rate", "lr_factor", "ramp_up"]


def learning_rate(optim: OptimConfig, step: int, steps: int) -> float:
    """The learning rate of step `step`, i.e. after `step` finished steps, of a schedule `steps` long."""
    return optim.lr * lr_factor(optim, step, steps)


def lr_factor(optim: OptimConfig, step: int, steps: int) -> float:
    """`learning_rate` as a multiple of `optim.lr`.

    A linear warm-up from 0 over the first `warmup * steps` steps (the very first step then has rate 0), times
    1 (constant), gamma ** (milestones reached) (multistep), or cos(cosine_ratio / 16 * pi * step / steps) (cosine,
    FixMatch with its 7; with `cosine_after_warmup` of the steps behind the warm-up alone). A milestone m takes effect
    at step `round(m * steps)`: 0.799996 and 0.9 are exactly the paper's 199,999 and 225,000 of 250,000.
    """
    warmup = optim.warmup * steps
    factor = step / warmup if step < warmup else 1.0
    if optim.schedule is Schedule.multistep:
        factor *= optim.gamma ** sum(step >= round(m * steps) for m in optim.milestones)
    elif optim.schedule is Schedule.cosine:
        begin = warmup if optim.cosine_after_warmup else 0.0
        if step > begin:
            factor *= math.cos(optim.cosine_ratio * math.pi * (step - begin) / (16 * (steps - begin)))
    return factor
