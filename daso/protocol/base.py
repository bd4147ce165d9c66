"""Phases of a run: what a protocol does on the host, between two steps."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn

from daso.data.feed import Feed
from daso.learners.base import Method
from daso.types import Facts, Nets


class Phase(NamedTuple):
    """A stretch of a run. Clock, flags, learning rate, ramp-ups and the EMA's warm-up restart with it."""

    number: int  # from 0
    start: int  # its first step
    steps: int  # its length


class Stage(NamedTuple):
    """What a protocol may touch when a phase begins, all in place."""

    nets: Nets
    method: Method
    optimizer: torch.optim.Optimizer
    feed: Feed
    predict_unlabeled: Callable[[], Tensor]  # [N,C] class distributions of the evaluated network over the unlabeled set
    generator: Callable[[str, int], Generator]  # (stream, index) -> CPU generator of the run
    predict_valid: Callable[[], tuple[Tensor, Tensor]]  # of the validation set: class distributions [n,C], labels [n]


class Protocol(nn.Module):
    """One phase from the first step to the last, and nothing in between; the base of all others.

    State lives in registered buffers, so that a checkpoint holds it.

    Args:
        steps: of the whole run.
    """

    current: Tensor

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.register_buffer("current", torch.tensor(-1))  # number of the phase that has begun; -1: none has

    @classmethod
    def of(cls, config: Any, facts: Facts) -> "Protocol":
        """The protocol that a configuration node describes, for a run of these facts."""
        return cls(facts.steps)

    def phase(self, step: int) -> Phase:
        """The phase that `step` belongs to."""
        return Phase(0, 0, self.steps)

    def enter(self, step: int, stage: Stage) -> Phase:
        """The phase of `step`; begins it if it is a new one. To be called before every step."""
        phase = self.phase(step)
        if phase.number != int(self.current):
            self.begin(phase, stage)
            self.current.fill_(phase.number)
        return phase

    def begin(self, phase: Phase, stage: Stage) -> None:
        """Prepare `stage` for `phase`; the first one begins on networks fresh from their initialisation."""

    def measured(self, stage: Stage) -> dict[str, float]:
        """What there is to measure whenever the run is evaluated, by name."""
        return {}

    def restore(self, stage: Stage) -> None:
        """Bring the parts of `stage` that no checkpoint holds (the feed) to where this state says they are."""

    def metrics(self) -> dict[str, float]:
        """What there is to report of the phase, by name."""
        return {}
