"""DARP: predictions of the whole unlabeled set, refined so that their class counts meet a target."""

import math

import torch
from scipy.optimize import newton


def scaled(p, target, alpha):
    """Keep the most confident int(alpha * T_k) of each class, rescale to the target counts, renormalise rows."""
    selected, scale = torch.zeros_like(p), torch.zeros_like(target)
    for k in range(p.shape[1]):
        best = p[:, k].argsort(descending=True)[: int(alpha * target[k])]
        selected[best, k] = 1
        scale[k] = (target[k] + 1e-6) / (p[best, k].sum() + 1e-6)
    out = p * (selected * scale) + 1e-6
    return out / out.sum(1, keepdim=True)


def solved(p, target, rounds):
    """The dual ascent with a loose secant solve per class."""
    w = 1 / -(p * (p + 1e-6).log()).sum(1)
    a = p / math.e
    y = (-1 / w)[:, None].exp().repeat(1, p.shape[1])
    x = [0.0] * p.shape[1]
    for _ in range(rounds):
        rows = 1 / (a * y).sum(1)
        for k in range(p.shape[1]):
            load = a[:, k] * rows
            x[k] = newton(
                lambda v, load=load, k=k: float((load * (-v / w).exp()).sum() - target[k]), x[k], tol=0.1, maxiter=30
            )
            y[:, k] = (-x[k] / w).exp()
    rows = 1 / (a * y).sum(1)
    return a * rows[:, None] * y


class Darp:
    """The store of predictions and its refinement, by steps."""

    def __init__(self, cfg, target, rows, steps):
        self.target, self.alpha, self.rounds = target, cfg["ALGORITHM.DARP.ALPHA"], cfg["ALGORITHM.DARP.NUM_DARP_ITERS"]
        self.warmup, self.period = int(cfg["ALGORITHM.DARP.WARMUP_RATIO"] * steps), cfg["ALGORITHM.DARP.PER_ITERS"]
        self.store = torch.full((rows, len(target)), 1 / len(target), dtype=torch.float64)
        self.refined = self.store.clone()
        self.calls = 0

    def __call__(self, p, idx):
        self.calls += 1
        self.store[idx] = p
        if self.calls <= self.warmup:
            return p
        if self.calls % self.period == 0:
            self.refined = solved(scaled(self.store, self.target, self.alpha), self.target, self.rounds)
        return self.refined[idx]
