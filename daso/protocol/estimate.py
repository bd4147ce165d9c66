"""The class distribution of the unlabeled set, estimated from what a supervised network gets wrong on held-out images
(DARP: Kim et al., NeurIPS 2020, section 4.1, after Lipton et al. 2018).

Shape legend: n held-out images, N unlabeled images, C classes.
"""

import math

import torch
from torch import Tensor

from daso.protocol.base import Protocol, Stage
from daso.schema import EstimateProtocol
from daso.types import Facts


class Estimate(Protocol):
    """An estimate at every evaluation of the run, and the mean of those that are acceptable.

    Args:
        steps: of the whole run.
        classes: C.
        max_condition: an estimate from a confusion matrix with this condition number or more is not acceptable, nor is
            one with a negative class.
    """

    total: Tensor
    accepted: Tensor

    def __init__(self, steps: int, classes: int, max_condition: float) -> None:
        super().__init__(steps)
        self.max_condition = max_condition
        self.register_buffer("total", torch.zeros(classes, dtype=torch.float64))
        self.register_buffer("accepted", torch.zeros((), dtype=torch.int64))

    @classmethod
    def of(cls, config: EstimateProtocol, facts: Facts) -> "Estimate":
        """For the classes of the run."""
        return cls(facts.steps, facts.num_classes, config.max_condition)

    def measured(self, stage: Stage) -> dict[str, float]:
        """This evaluation's condition number, and how many estimates were acceptable so far; if any, their mean: images
        per class.
        """
        q, condition = estimate(*stage.predict_valid(), stage.predict_unlabeled())
        if condition < self.max_condition and bool((q >= 0).all()):
            self.total += q
            self.accepted += 1
        found = {"estimate/condition": condition, "estimate/accepted": float(self.accepted)}
        if self.accepted > 0:
            found |= {f"estimate/class/{k}": float(n) for k, n in enumerate(self.total / self.accepted)}
        return found


def estimate(p: Tensor, y: Tensor, unlabeled: Tensor) -> tuple[Tensor, float]:
    """Images per class [C] of an unlabeled set, float64 on the CPU, and the condition number that they came with.

    Args:
        p: [n,C] class distributions of held-out images; column k of the confusion matrix is the mean of class k.
        y: [n] their labels, each class at least once.
        unlabeled: [N,C] class distributions of the unlabeled set.
    """
    truth = torch.eye(p.shape[1], dtype=torch.float64)[y.cpu()]
    confusion = p.cpu().to(torch.float64).T @ truth
    confusion = confusion / confusion.sum(0)
    condition = float(torch.linalg.cond(confusion))
    found, failed = torch.linalg.solve_ex(confusion, unlabeled.cpu().to(torch.float64).sum(0))
    if failed or not math.isfinite(condition):  # rounding decides which of them notices
        return torch.full_like(truth[0], math.nan), math.inf
    return found, condition
