"""DARP (Kim et al., NeurIPS 2020): pseudo-labels of the whole unlabeled set, moved as little as possible so that their
sums follow an assumed class distribution.

Shape legend: N unlabeled set, Bu unlabeled batch, C classes.
"""

import torch
from torch import Tensor

from daso.schema import DarpConfig
from daso.slots.base import Refine
from daso.slots.losses import last_of_equal
from daso.types import Clock, Facts, Flags

EPS = 1e-6
SECANT_STEPS = 30  # at most; more than a handful are rare
SECANT_TOLERANCE = 0.1
SECANT_STEP = 1e-4


class Darp(Refine):
    """Remembers the last prediction of every row and refines them all together, every few steps after a warm-up.

    Before the first refinement a row's refined distribution is uniform (Q44); in between, rows get what the last
    refinement gave them.

    Args:
        goal: [C] images per class that the unlabeled set is assumed to hold, with the sum N.
        rows: N.
        steps: of the phase.
        config: warm-up, period, and the solver's settings.
    """

    switches = ("solve",)
    raw: Tensor
    refined: Tensor
    goal: Tensor
    quota: Tensor

    def __init__(self, goal: Tensor, rows: int, steps: int, config: DarpConfig) -> None:
        super().__init__()
        self.warmup_steps = int(config.warmup * steps)
        self.every, self.iterations, self.refine_on_first = config.every, config.iterations, config.refine_on_first
        uniform = torch.full((rows, len(goal)), 1 / len(goal), dtype=torch.float64)
        self.register_buffer("raw", uniform)
        self.register_buffer("refined", uniform.clone())
        self.register_buffer("goal", goal.to(torch.float64))
        self.register_buffer("quota", (config.alpha * goal.to(torch.float64)).to(torch.int64))  # rows kept per class

    @classmethod
    def of(cls, config: DarpConfig, facts: Facts) -> "Darp":
        """For the unlabeled set of the run and what it is assumed to hold."""
        return cls(facts.assumed(), facts.unlabeled, facts.phase_steps, config)

    def flags(self, step: int) -> Flags:
        """`solve`: the warm-up is over and a refinement is due."""
        due = (step + 1) % self.every == 0 or (self.refine_on_first and step == self.warmup_steps)
        return self.switches if step >= self.warmup_steps and due else ()

    def relabel(self, counts: Tensor) -> None:
        """Start afresh: the predictions were those of a network that is gone."""
        for buffer in (self.raw, self.refined):
            buffer.fill_(1 / buffer.shape[1])

    @torch.no_grad()
    def refine(self, p: Tensor, idx: Tensor, clock: Clock, flags: Flags) -> Tensor:
        """The refined distributions of the rows `idx` [Bu]; `p` [Bu,C] itself during the warm-up."""
        self.raw.index_copy_(0, idx, p.index_select(0, last_of_equal(idx)).to(self.raw.dtype))
        if "solve" in flags:
            self.refined.copy_(refine(self.raw, self.quota, self.goal, self.iterations))
        return torch.where(clock.step < self.warmup_steps, p, self.refined.index_select(0, idx).to(p.dtype))


@torch.library.custom_op("pseudo_labels::refine", mutates_args=())
def refine(raw: Tensor, quota: Tensor, goal: Tensor, iterations: int) -> Tensor:
    """Refined distributions [N,C] of `raw` [N,C] whose class sums are about `goal` [C] (Algorithm 1).

    One operation to a tracing compiler, in float64 inside. Per class the `quota` [C] largest entries are kept and
    scaled to the goal (section 3.3); what is removed stays as a trace of 1e-6.
    """
    p, goal = raw.to(torch.float64), goal.to(torch.float64)
    return solve(rescale(p, quota, goal), goal, iterations).to(raw.dtype)


@refine.register_fake
def _(raw: Tensor, quota: Tensor, goal: Tensor, iterations: int) -> Tensor:
    return torch.empty_like(raw)


def rescale(p: Tensor, quota: Tensor, goal: Tensor) -> Tensor:
    """`p` [N,C] with only the `quota` [C] largest entries of each class, times goal / their sum; rows sum to 1.

    Which of equal entries are kept is the choice of the sort; one that keeps their order takes a third longer.
    """
    values, order = p.sort(dim=0, descending=True)
    kept = (torch.arange(len(p), device=p.device)[:, None] < quota).to(p.dtype)
    scale = (goal + EPS) / ((values * kept).sum(0) + EPS)
    scaled = p * (torch.zeros_like(p).scatter_(0, order, kept) * scale) + EPS
    return scaled / scaled.sum(1, keepdim=True)


def solve(p: Tensor, goal: Tensor, iterations: int) -> Tensor:
    """The distributions nearest to `p` [N,C] whose class sums are `goal` [C]: coordinate ascent in the dual (Eq. 5-6).

    A row is the nearer to its prediction the smaller its entropy is. Each iteration normalises the rows, then solves
    one equation per class for its multiplier, starting from the last one.
    """
    entropy = -(p * (p + EPS).log()).sum(1, keepdim=True)
    a = p / torch.e
    y = (-entropy).exp()
    multiplier = torch.zeros_like(goal)
    for _ in range(iterations):
        multiplier = secant(a / (a * y).sum(1, keepdim=True), entropy, goal, multiplier)
        y = torch.mul(entropy, -multiplier).exp_()
    refined = a * y
    return refined / refined.sum(1, keepdim=True)


def secant(weight: Tensor, rate: Tensor, goal: Tensor, start: Tensor) -> Tensor:
    """x [C] with sum_i weight[i,c] * exp(-x[c] * rate[i]) = goal[c], all classes at once, each in its own iterations.

    The tolerance is loose, so the result depends on the path: steps and stopping are those of SciPy's `newton` without
    a derivative. A class that has stopped is left alone; one that does not converge keeps its last finite point.
    On the CPU the loop ends with the last class; elsewhere looking would make the host wait, so it goes on idly.
    """

    def miss(x: Tensor) -> Tensor:
        return torch.mul(rate, -x).exp_().mul_(weight).sum(0) - goal

    second = start * (1 + SECANT_STEP)
    second = second + SECANT_STEP * torch.where(second >= 0, 1, -1).to(second.dtype)
    x, q = torch.stack([start, second]), torch.stack([miss(start), miss(second)])  # [2,C]: the last two points
    x, q = _flip(x, q, q[1].abs() < q[0].abs())
    root, live = x[1], torch.ones_like(start, dtype=torch.bool)
    for _ in range(SECANT_STEPS):
        (far, near), (q_far, q_near) = _flip(x, q, q[1].abs() > q[0].abs())
        slope = q_near / q_far
        point = torch.where(q[0] == q[1], x.mean(0), (near - slope * far) / (1 - slope))
        usable = live & point.isfinite()
        root = torch.where(usable, point, root)
        live = usable & (q[0] != q[1]) & ((point - x[1]).abs() > SECANT_TOLERANCE)
        if root.device.type == "cpu" and not live.any():
            break
        x, q = torch.stack([x[1], point]), torch.stack([q[1], miss(point)])
    return root


def _flip(x: Tensor, q: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """The rows of `x` and `q` [2,C] swapped in the columns `where` [C]."""
    return torch.where(where, x.flip(0), x), torch.where(where, q.flip(0), q)
