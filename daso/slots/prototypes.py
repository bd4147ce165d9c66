"""Class prototypes: the mean of the last features of each class. B batch, C classes, L places a class, D features."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Prototypes(nn.Module):
    """One ring buffer of features per class, and the means of the rings (DASO paper, section 3.3).

    The cost of a push depends on B, D and L, not on C: a running sum per class takes the difference between what enters
    and what leaves, and one class a push, in turn, is summed afresh, so that rounding never adds up for long.

    Args:
        num_classes: C.
        dim: D.
        caps: L for every class, or one number per class.
    """

    bank: Tensor
    total: Tensor
    pushed: Tensor
    caps: Tensor
    turn: Tensor

    def __init__(self, num_classes: int, dim: int, caps: int | Sequence[int]) -> None:
        super().__init__()
        per_class = [caps] * num_classes if isinstance(caps, int) else list(caps)
        self.register_buffer("bank", torch.zeros(num_classes, max(per_class), dim))  # empty places are zero
        self.register_buffer("total", torch.zeros(num_classes, dim))  # sum of each class' places
        self.register_buffer("pushed", torch.zeros(num_classes, dtype=torch.int64))  # features ever pushed
        self.register_buffer("caps", torch.tensor(per_class, dtype=torch.int64))
        self.register_buffer("turn", torch.zeros((), dtype=torch.int64))  # pushes: whose sum is renewed next

    @torch.no_grad()
    def push(self, feats: Tensor, y: Tensor) -> None:
        """Append `feats` [B,D] to the rings of their classes `y` [B], in order; the oldest give way.

        Where a batch brings more of one class than its ring holds, the last of them stay.
        """
        cap = self.caps[y]
        order = torch.arange(len(y), device=y.device)
        same = y[:, None] == y  # [B,B]
        rank = (same & (order[:, None] > order)).sum(1)  # [B]: earlier ones of the class in this batch
        place = (self.pushed[y] + rank) % cap
        overtaken = same & ((rank[:, None] - rank) % cap[:, None] == 0)  # [B,B]: both go to the same place
        last = (overtaken * order).amax(1)
        new = feats.to(self.bank.dtype)[last]  # every writer of a place writes the same, so their order is of no matter
        change = (new - self.bank[y, place]) * (last == order)[:, None]
        add = add_in_order if change.is_cpu else add_grouped
        add(self.total, y, change)
        self.bank.index_put_((y, place), new)
        self.pushed.index_add_(0, y, torch.ones_like(y))
        turn = (self.turn % len(self.caps)).view(1)
        self.total.index_copy_(0, turn, self.bank.index_select(0, turn).sum(1))
        self.turn.add_(1)

    def fill(self) -> Tensor:
        """[C] int64: features held per class."""
        return self.pushed.minimum(self.caps)

    def means(self) -> Tensor:
        """[C,D] prototypes, in at least float32; the zero vector where a class has not been seen."""
        total = self.total.to(torch.promote_types(self.total.dtype, torch.float32))
        return total / self.fill().clamp(min=1)[:, None]

    def reset(self) -> None:
        """Forget all features."""
        for buffer in (self.bank, self.total, self.pushed, self.turn):
            buffer.zero_()


def add_in_order(total: Tensor, y: Tensor, change: Tensor) -> None:
    """Add each row of `change` [B,D] to the row of `total` [C,D] that `y` [B] names, in place: for the CPU."""
    total.index_put_((y,), change, accumulate=True)


def add_grouped(total: Tensor, y: Tensor, change: Tensor) -> None:
    """The same as `add_in_order`, for a GPU, where additions to one place would come in any order once compiled: every
    row of a class writes the sum of them all.
    """
    same = (y[:, None] == y)[:, :, None].to(change.dtype)
    total.index_put_((y,), total[y] + (same * change).sum(1))
