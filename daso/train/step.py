"""One optimisation step: forward, backward, optimizer, EMA. Nothing here waits for the device."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from daso.learners.base import Learner
from daso.nn import ema
from daso.schema import EmaBuffers, OptimConfig
from daso.slots.slots import Slots
from daso.train.optimizer import shrink, shrunk_by
from daso.types import Batch, Clock, Flags, Nets, Noise, Outcome


class TrainStep:
    """Callable on one batch; updates the networks, the optimizer and every slot's buffers in place.

    Args:
        nets: student (trained) and teacher (its EMA).
        learner, slots: the method.
        optimizer: over the student's parameters; its learning rate is a 0-d tensor that the loop fills.
        optim: the EMA's decay, and weight decay that acts after the step.
        autocast: makes the context of the forward pass, for reduced precision.
        compiled: trace the forward pass with torch.compile.
    """

    def __init__(
        self,
        nets: Nets,
        learner: Learner,
        slots: Slots,
        optimizer: torch.optim.Optimizer,
        optim: OptimConfig,
        autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
        compiled: bool = False,
    ) -> None:
        self.nets = nets
        self.learner = learner
        self.slots = slots
        self.optimizer = optimizer
        self.optim = optim
        self._copies_buffers = optim.ema_buffers is EmaBuffers.copy
        self._shrunk = shrunk_by(nets.student, optim)
        self.autocast = autocast
        self._forward = torch.compile(learner.__call__, fullgraph=True, dynamic=False) if compiled else learner.__call__

    def __call__(self, batch: Batch, noise: Noise, clock: Clock, flags: Flags) -> Outcome:
        """Take one step. The outcome's tensors carry no gradient any more."""
        with self.autocast():
            outcome: Outcome = self._forward(self.nets, batch, self.slots, noise, clock, flags)
        total_loss(outcome.losses).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        nets, optim = self.nets, self.optim
        ema.update(nets.student, nets.teacher, clock.step, optim.ema_decay, optim.ema_warmup, self._copies_buffers)
        if self._shrunk:
            shrink(self._shrunk, self.optimizer.param_groups[0]["lr"], optim.weight_decay)
        losses = {name: loss.detach() for name, loss in outcome.losses.items()}
        return outcome._replace(losses=losses, logits_l=outcome.logits_l.detach())


def total_loss(losses: dict[str, Tensor]) -> Tensor:
    """The plain sum of a step's losses, in their order."""
    return torch.stack(list(losses.values())).sum()
