"""The teacher: an exponential moving average of the student (Tarvainen & Valpola 2017)."""

import torch
from torch import Tensor, nn


def ema_decay(step: Tensor, decay: float, warmup: bool = True) -> Tensor:
    """min(1 - 1 / (step + 1), decay), float64 on the step's device: 0 at step 0, so that the teacher starts as a copy.

    Args:
        step: [] int64, 0-based index of the step just taken.
        decay: the limit.
        warmup: False: `decay` from the first step on.
    """
    ramp = 1 - 1 / (step.to(torch.float64) + 1)
    return ramp.clamp(max=decay) if warmup else torch.full_like(ramp, decay)


@torch.no_grad()
def update(
    student: nn.Module,
    teacher: nn.Module,
    step: Tensor,
    decay: float,
    warmup: bool = True,
    copy_buffers: bool = False,
) -> None:
    """teacher <- d * teacher + (1 - d) * student, in place, with d = `ema_decay(step, decay)`; after each SGD step.

    Parameters and floating-point buffers (running means and variances) are averaged, integer buffers (the count of
    batches) copied: an average would turn a count into a fraction.

    Args:
        student, teacher: networks alike.
        step, decay, warmup: as for `ema_decay`.
        copy_buffers: copy the floating-point buffers too.
    """
    averaged: list[tuple[Tensor, Tensor]] = list(zip(teacher.parameters(), student.parameters(), strict=True))
    copied: list[tuple[Tensor, Tensor]] = []
    for pair in zip(teacher.buffers(), student.buffers(), strict=True):
        (copied if copy_buffers or not pair[0].is_floating_point() else averaged).append(pair)
    averages, sources = zip(*averaged)
    blend = blend_one_by_one if averages[0].is_cpu else blend_grouped
    blend(list(averages), list(sources), 1 - ema_decay(step, decay, warmup))
    if copied:
        torch._foreach_copy_([t for t, _ in copied], [s for _, s in copied])


def blend_one_by_one(averages: list[Tensor], sources: list[Tensor], weight: Tensor) -> None:
    """Move each average towards its source by `weight` ([] float64), in place: one pass over memory, for the CPU."""
    torch._foreach_lerp_(averages, sources, [weight.to(averages[0].dtype)] * len(averages))


def blend_grouped(averages: list[Tensor], sources: list[Tensor], weight: Tensor) -> None:
    """The same as `blend_one_by_one` in a handful of launches whatever the number of tensors, for a GPU."""
    dtype = averages[0].dtype
    torch._foreach_mul_(averages, (1 - weight).to(dtype))
    torch._foreach_add_(averages, torch._foreach_mul(sources, weight.to(dtype)))
