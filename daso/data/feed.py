"""Turns a step number into a batch: which rows, which augmentation, on the device."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from daso.data.pool import Pool
from daso.data.streams import Stream
from daso.data.views import Views, draw
from daso.types import Batch, Sizes, View


class Feed:
    """Batches by step number; it keeps no state, so a resumed run is fed what the undisturbed one would have been.

    Args:
        pool: the resident images.
        views: the augmentation, on the pool's device.
        unlabeled_views: the learner's views, in order; empty for a learner without unlabeled data.
        labeled, unlabeled: index streams; `unlabeled` is None where the learner has no unlabeled views.
        sizes: batch sizes.
        generator: (stream name, step) -> CPU generator of the augmentation draws.
        dtype: of the image tensors.
    """

    def __init__(
        self,
        pool: Pool,
        views: Views,
        unlabeled_views: tuple[View, ...],
        labeled: Stream,
        unlabeled: Stream | None,
        sizes: Sizes,
        generator: Callable[[str, int], Generator],
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.pool = pool
        self.views = views
        self.unlabeled_views = unlabeled_views
        self.labeled = labeled
        self.unlabeled = unlabeled
        self.sizes = sizes
        self.generator = generator
        self.dtype = dtype

    def __call__(self, step: int) -> tuple[Batch, Tensor | None]:
        """The batch of `step`, and the true labels [Bu] of its unlabeled rows (-1 unknown) for the meters alone."""
        rows = self._to_device(self.labeled.rows(step, self.sizes.labeled))
        x = self._view(self.pool.labeled_x[rows], View.WEAK, "views/labeled", step)
        y = self.pool.labeled_y[rows]
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
