"""The teacher: an exponential moving average of the student (Tarvainen & Valpola 2017)."""

import torch
from torch import Tensor, nn


def ema_decay(step: Tensor, decay: float) -> Tensor:
    """min(1 - 1 / (step + 1), decay), float64 on the step's device: 0 at step 0, so that the teacher starts as a copy.

    Args:
        step: [] int64, 0-based index of the step just taken.
        decay: the limit.
    """
    return (1 - 1 / (step.to(torch.float64) + 1)).clamp(max=decay)


@torch.no_grad()
def update(student: nn.Module, teacher: nn.Module, step: Tensor, decay: float) -> None:
    """teacher <- d * teacher + (1 - d) * student, in place, with d = `ema_decay(step, decay)`; after each SGD step.

    Parameters and floating-point buffers (running means and variances) are averaged, integer buffers (the count of
    batches) copied: an average would turn a count into a fraction.
    """
    pairs = list(zip(_tensors(teacher), _tensors(student), strict=True))
    averages, sources = zip(*((t, s) for t, s in pairs if t.is_floating_point()))
    blend = blend_one_by_one if averages[0].is_cpu else blend_grouped
    blend(list(averages), list(sources), 1 - ema_decay(step, decay))
    counts = [(t, s) for t, s in pairs if not t.is_floating_point()]
    if counts:
        torch._foreach_copy_([t for t, _ in counts], [s for _, s in counts])


def blend_one_by_one(averages: list[Tensor], sources: list[Tensor], weight: Tensor) -> None:
    """Move each average towards its source by `weight` ([] float64), in place: one pass over memory, for the CPU."""
    torch._foreach_lerp_(averages, sources, [weight.to(averages[0].dtype)] * len(averages))


def blend_grouped(averages: list[Tensor], sources: list[Tensor], weight: Tensor) -> None:
    """The same as `blend_one_by_one` in a handful of launches whatever the number of tensors, for a GPU."""
    dtype = averages[0].dtype
    torch._foreach_mul_(averages, (1 - weight).to(dtype))
    torch._foreach_add_(averages, torch._foreach_mul(sources, weight.to(dtype)))


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]
