"""Optimizer, learning rate, ramp-up, exponential moving average."""

import math

import torch

from .network import parameters, statistics


class Sgd:
    """Nesterov SGD with weight decay on every parameter that has a gradient."""

    def __init__(self, net, momentum=0.9, decay=5e-4):
        self.parameters, self.momentum, self.decay = parameters(net), momentum, decay
        self.velocity = [None] * len(self.parameters)

    @torch.no_grad()
    def step(self, lr):
        for i, p in enumerate(self.parameters):
            if p.grad is None:
                continue
            g = p.grad + self.decay * p
            self.velocity[i] = g.clone() if self.velocity[i] is None else self.momentum * self.velocity[i] + g
            p -= lr * (g + self.momentum * self.velocity[i])
            p.grad = None


def learning_rate(cfg, t, steps):
    """Learning rate after `t` finished optimizer steps of `steps`."""
    base, warmup, factor = cfg["SOLVER.BASE_LR"], cfg["SOLVER.WARMUP_ITERS"], cfg["SOLVER.WARMUP_FACTOR"]
    if not cfg["SOLVER.APPLY_SCHEDULER"]:
        return base
    ramp = 1.0 if t >= warmup else factor * (1 - t / warmup) + t / warmup
    if cfg["SOLVER.LR_SCHEDULER"] == "cosine":
        return base * ramp * math.cos(cfg["SOLVER.COS_LR_RATIO"] * math.pi * t / (16 * steps))
    return base * ramp * cfg["SOLVER.GAMMA"] ** sum(m <= t for m in cfg["SOLVER.STEPS"])


def ramp_up(cfg, it, steps):
    """Factor of the consistency loss at iteration `it`."""
    x = min(it / (steps * cfg["ALGORITHM.CONS_RAMPUP_ITERS_RATIO"]), 1)
    return x if cfg["ALGORITHM.CONS_RAMPUP_SCHEDULE"] == "linear" else math.exp(-5 * (1 - x) ** 2)


@torch.no_grad()
def update_ema(ema, net, it, decay=0.999):
    """Move parameters and BatchNorm statistics of `ema` towards `net`'s after iteration `it`."""
    d = min(1 - 1 / (it + 1), decay)
    for mine, other in zip(parameters(ema) + statistics(ema), parameters(net) + statistics(net), strict=True):
        mine.copy_(d * mine + (1 - d) * other)
