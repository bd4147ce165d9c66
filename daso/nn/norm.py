"""Batch normalisation (Ioffe & Szegedy 2015), exact in float32 on a CPU whatever the layout of the images.

Shape legend: B batch, C channels, H W image, R = B*H*W rows of one channel vector each.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

SUMMED = 64  # rows whose sum is taken one after the other; the sums are then summed
PIECE = 2**17  # numbers that are worked on at a time: half a megabyte, which a core's cache holds


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation that can be told, per call, to use its running statistics and leave them as they are.

    torch sums the R rows of images that lie channels last one after the other: at 256 images of 32x32 the statistics,
    and with them the output, are off by some 2e-5 of the largest value, 300 times as much as for images that lie
    channels first. So float32 statistics of such images are taken here on a CPU, in pieces; all else is torch's.
    """

    def forward(self, x: Tensor, running_stats: bool = False) -> Tensor:
        """Normalise [B,C,H,W]; with `running_stats` whatever the mode, without moving a buffer."""
        if running_stats:
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
            )
        if not self.training or not _summed_row_by_row(x):
            return super().forward(x)
        mean, var = statistics(x.detach())
        self._follow(mean, var, x.numel() // x.shape[1])
        out: Tensor = _Normalise.apply(x, self.weight, self.bias, mean, var, self.eps)
        return out

    @torch.no_grad()
    def _follow(self, mean: Tensor, var: Tensor, rows: int) -> None:
        """Move the running statistics as torch does: the variance is the unbiased one."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(var * (rows / (rows - 1)), self.momentum)


def statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance [C] each of images [B,C,H,W] that lie channels last; one pass over memory."""
    channels = x.shape[1]
    rows = x.permute(0, 2, 3, 1).reshape(-1, channels)
    shift = rows[:SUMMED].mean(0)  # near the mean, so that a variance beside a large mean is not lost
    size = max(SUMMED, PIECE // channels // SUMMED * SUMMED)
    buffer = rows.new_empty(min(size, len(rows)), channels)
    sums, squares = [], []
    for piece in torch.split(rows, size):
        moved = torch.sub(piece, shift, out=buffer[: len(piece)])
        sums.append(_sum(moved))
        squares.append(_sum(moved.mul_(moved)))
    mean = torch.stack(sums).sum(0) / len(rows)
    return mean + shift, torch.stack(squares).sum(0) / len(rows) - mean * mean


def _sum(rows: Tensor) -> Tensor:
    """Sum [C] of rows [r,C] in two levels."""
    whole = len(rows) // SUMMED * SUMMED
    total = rows[:whole].view(whole // SUMMED, SUMMED, rows.shape[1]).sum(1).sum(0)
    return total if whole == len(rows) else total + rows[whole:].sum(0)


def _summed_row_by_row(x: Tensor) -> bool:
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    several = x.numel() > x.shape[1]  # else torch refuses
    return x.is_cpu and x.dtype is torch.float32 and last and several and not torch.compiler.is_compiling()


class _Normalise(torch.autograd.Function):
    """Normalisation by statistics at hand; the gradient is torch's own, of normalisation by a batch's statistics."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, eps: float) -> Tensor:
        ctx.save_for_backward(x, weight, mean, (var + eps).rsqrt())
        ctx.eps = eps
        return F.batch_norm(x, mean, var, weight, bias, training=False, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale = ctx.saved_tensors
        wanted = list(ctx.needs_input_grad[:3])
        grads = torch.ops.aten.native_batch_norm_backward(
            grad, x, weight, None, None, mean, scale, True, ctx.eps, wanted
        )
        return (*(g if want else None for g, want in zip(grads, wanted)), None, None, None)
