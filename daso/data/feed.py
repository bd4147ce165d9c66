"""Turns a step number into a batch: which rows, which augmentation, on the device."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from daso.data.pool import Pool
from daso.data.streams import Stream
from daso.data.views import Views, draw
from daso.types import Batch, Sizes, View


class Feed:
    """Batches by step number; nothing here is saved: a resumed run is fed what the undisturbed one would have been.

    Args:
        pool: the resident images.
        views: the augmentation, on the pool's device.
        unlabeled_views: the learner's views, in order; empty for a learner without unlabeled data.
        labeled: (labels [N] of the labeled set, number of its phase) -> index stream.
        unlabeled: index stream; None where the learner has no unlabeled views.
        sizes: batch sizes.
        generator: (stream name, step) -> CPU generator of the augmentation draws.
        dtype: of the image tensors.
    """

    def __init__(
        self,
        pool: Pool,
        views: Views,
        unlabeled_views: tuple[View, ...],
        labeled: Callable[[Tensor, int], Stream],
        unlabeled: Stream | None,
        sizes: Sizes,
        generator: Callable[[str, int], Generator],
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.pool = pool
        self.views = views
        self.unlabeled_views = unlabeled_views
        self.stream = labeled
        self.unlabeled = unlabeled
        self.sizes = sizes
        self.generator = generator
        self.dtype = dtype
        nothing = pool.labeled_y[:0]
        self.extend(nothing, nothing)

    def extend(self, rows: Tensor, labels: Tensor, phase: int = 0, start: int = 0) -> Tensor:
        """From step `start` on, the labeled set is the initial one followed by `rows` [n] of the unlabeled set.

        Args:
            rows, labels: [n] int64: which, and what they count as from now on.
            phase: number of the phase: its stream of rows is its own.

        Returns:
            Images per class of the new labeled set, [C] int64.
        """
        pool = self.pool
        self.labeled_x, self.labeled_y = pool.labeled_x, pool.labeled_y  # lets go of an earlier extension
        if len(rows):
            assert pool.unlabeled_x is not None
            self.labeled_x = torch.cat([pool.labeled_x, pool.unlabeled_x[rows.to(pool.labeled_x.device)]])
            self.labeled_y = torch.cat([pool.labeled_y, labels.to(pool.labeled_y.device)])
        self.labeled, self.start = self.stream(self.labeled_y, phase), start
        return torch.bincount(self.labeled_y, minlength=len(pool.counts))

    def __call__(self, step: int) -> tuple[Batch, Tensor | None]:
        """The batch of `step`, and the true labels [Bu] of its unlabeled rows (-1 unknown) for the meters alone."""
        rows = self._to_device(self.labeled.rows(step - self.start, self.sizes.labeled))
        x = self._view(self.labeled_x[rows], View.WEAK, "views/labeled", step)
        y = self.labeled_y[rows]
        if self.unlabeled is None or self.pool.unlabeled_x is None or self.pool.unlabeled_y is None:
            return Batch(x, y, (), rows[:0]), None
        idx = self._to_device(self.unlabeled.rows(step, self.sizes.unlabeled))
        images = self.pool.unlabeled_x[idx]
        u = tuple(self._view(images, view, f"views/unlabeled/{k}", step) for k, view in enumerate(self.unlabeled_views))
        return Batch(x, y, u, idx), self.pool.unlabeled_y[idx]

    def _view(self, images: Tensor, view: View, stream: str, step: int) -> Tensor:
        draws = draw(view, images.shape[0], self.generator(stream, step), self.views.spec)
        out: Tensor = self.views(images, view, draws, self.dtype)
        return out

    def _to_device(self, rows: Tensor) -> Tensor:
        return rows.to(self.pool.labeled_x.device, non_blocking=True)
