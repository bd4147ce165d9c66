"""Endless row numbers for training, without a list of them: a round is drawn when a step needs it."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

Round = Callable[[Generator], Tensor]
"""Draws one round, [n] int64 row numbers; every round has the same length."""


def permutation_round(n: int) -> Round:
    """Each of n rows once per round, in random order (the paper's random sampler)."""
    return lambda generator: torch.randperm(n, generator=generator)


def class_aware_round(labels: Tensor, beta: float) -> Round:
    """As many draws with replacement as there are rows, rare classes more often (behaviour: ClassAwareSampler).

    Args:
        labels: [n] int64 classes of the rows.
        beta: a row of a class with m rows weighs (1 - beta) / (1 - beta^m), the inverse effective number (Cui et al.
            2019); at 1 it weighs 1 / m.
    """
    weights = class_weights(torch.bincount(labels), beta)[labels]
    return lambda generator: torch.multinomial(weights, len(weights), replacement=True, generator=generator)


def class_weights(counts: Tensor, beta: float) -> Tensor:
    """Inverse effective numbers of `counts` [C], float64, with sum 1; a class without rows weighs nothing."""
    n = counts.to(torch.float64)
    weights = 1 / n if beta == 1 else (1 - beta) / (1 - beta**n)
    weights = torch.where(n > 0, weights, 0)
    return weights / weights.sum()


class Stream:
    """Rounds laid end to end and cut into batches: no batch is short, epochs run on across batch borders.

    Which rows a step gets depends on the step alone, so a resumed run needs no saved position.

    Args:
        generators: round number -> CPU generator. Read step after step, each round is drawn once, in order, so one
            generator that runs on may also be given.
        round: draws a round from its generator.
    """

    def __init__(self, generators: Callable[[int], Generator], round: Round) -> None:
        self._generators, self._round = generators, round
        self._number, self._rows = 0, round(generators(0))
        self.length = len(self._rows)
        assert self.length > 0, "a stream needs at least one row"

    def rows(self, step: int, batch: int) -> Tensor:
        """[batch] int64 on the CPU: the rows at positions step * batch, ..., of the endless stream."""
        parts = []
        number, start = divmod(step * batch, self.length)
        while batch > 0:
            parts.append(self._at(number)[start : start + batch])
            batch -= len(parts[-1])
            number, start = number + 1, 0
        return torch.cat(parts)

    def _at(self, number: int) -> Tensor:
        if number != self._number:
            self._number, self._rows = number, self._round(self._generators(number))
            assert len(self._rows) == self.length, "rounds differ in length"
        return self._rows
