"""Turns a step number into a batch: the host draws rows and augmentation, the device gathers and augments.

Legend: n labeled set, N all training images, Bl / Bu labeled / unlabeled batch.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Generator, Tensor

from daso.data.pool import LABELED, UNLABELED, AnyPool, RaggedPool
from daso.data.streams import Stream
from daso.data.views import Ragged, Views, draw, kind_of
from daso.types import Aside, Batch, Flags, Given, Sizes, View, Wanted

LABELED_VIEW = "views/labeled"


class Feed:
    """Batches by step number; nothing here is saved: a resumed run is fed what the undisturbed one would have been.

    Args:
        pool: the images.
        views: the augmentation, on the pool's device.
        unlabeled_views: the learner's views, in order; empty for a learner without unlabeled data.
        labeled: (labels [n] of the labeled set, number of its phase) -> index stream.
        unlabeled: index stream; None where the learner has no unlabeled views.
        sizes: batch sizes.
        labeled_views: the learner's views of labeled images, in order.
        further_views: those that slots ask for, likewise.
        wants: batches of parts' own, by name.
        aside: (name, labels [n] of the labeled set, number of all images) -> index stream of such a batch.
        generator: (stream name, step) -> CPU generator of the augmentation draws.
        dtype: of the image tensors.
    """

    def __init__(
        self,
        pool: AnyPool,
        views: Views,
        unlabeled_views: tuple[View, ...],
        labeled: Callable[[Tensor, int], Stream],
        unlabeled: Stream | None,
        sizes: Sizes,
        generator: Callable[[str, int], Generator],
        dtype: torch.dtype = torch.float32,
        labeled_views: tuple[View, ...] = (View.WEAK,),
        further_views: tuple[View, ...] = (),
        wants: Mapping[str, Wanted] | None = None,
        aside: Callable[[str, Tensor, int], Stream] | None = None,
    ) -> None:
        self.pool = pool
        self.views = views
        self.stream = labeled
        self.unlabeled = unlabeled
        self.sizes = sizes
        self.generator = generator
        self.dtype = dtype
        views_l = enumerate((*labeled_views, *further_views))
        self.labeled_views = {LABELED_VIEW + f"/{k}" * (k > 0): view for k, view in views_l}
        self.own = len(labeled_views)  # of them the learner's
        self.unlabeled_views = {f"views/unlabeled/{k}": view for k, view in enumerate(unlabeled_views)}
        self.wants, self.aside = wants or {}, aside
        nothing = pool.labeled_y[:0]
        self.extend(nothing, nothing)

    def extend(self, rows: Tensor, labels: Tensor, phase: int = 0, start: int = 0) -> Tensor:
        """From step `start` on, the labeled set is the initial one followed by `rows` [k] of the unlabeled set.

        No image moves: the set is a list of rows, kept on the host.

        Args:
            rows, labels: [k] int64: which, and what they count as from now on.
            phase: number of the phase: its stream of rows is its own.

        Returns:
            Images per class of the new labeled set, [C] int64, on the pool's device.
        """
        initial = self.pool.labeled_y.cpu()
        added = len(initial) - self.pool.shared + rows.cpu()
        self.labeled_rows = torch.cat([torch.arange(len(initial)), added])  # [n], of all images
        self.labeled_y = torch.cat([initial, labels.cpu()])  # [n]
        self.labeled, self.start = self.stream(self.labeled_y, phase), start
        self.asides = {}
        for name in self.wants:
            assert self.aside is not None, "a batch of its own has a stream of rows"
            self.asides[name] = self.aside(name, self.labeled_y, self.total)
        counts = torch.bincount(self.labeled_y, minlength=len(self.pool.counts))
        return counts.to(self.pool.counts.device)

    def __call__(self, step: int) -> tuple[Batch, Tensor | None]:
        """The batch of `step`, and the true labels of its unlabeled rows."""
        return self.batch(self.draw(step))

    def draw(self, step: int) -> Given:
        """What `batch` needs for `step`, on the CPU: rows, labels and the random numbers of every view."""
        rows, labels = self._rows(step)
        given = {f"rows/{name}": some for name, some in rows.items()} | {**labels, **self.pool.bring(rows)}
        for following in range(step + 1, step + 1 + self.pool.ahead):
            self.pool.expect(self._rows(following)[0])
        size = {name: self.pool.sizes(name, some) for name, some in rows.items()}
        views = {stream: (view, LABELED) for stream, view in self.labeled_views.items()}
        if self.unlabeled is not None:
            views |= {stream: (view, UNLABELED) for stream, view in self.unlabeled_views.items()}
        views |= {f"views/{name}": (wanted.view, name) for name, wanted in self.wants.items()}
        for stream, (view, name) in views.items():
            draws = draw(view, len(rows[name]), self.generator(stream, step), self.views.spec, size[name])
            given |= {f"{stream}/{name}": values for name, values in draws._asdict().items()}
        return given

    def _rows(self, step: int) -> tuple[dict[str, Tensor], Given]:
        """Row numbers of `step` by set, and the labels of the labeled ones and of balanced batches."""
        at = self.labeled.rows(step - self.start, self.sizes.labeled)
        rows = {LABELED: self.labeled_rows[at]}
        if self.unlabeled is not None:
            rows[UNLABELED] = self.unlabeled.rows(step, self.sizes.unlabeled)
        labels = {"labels": self.labeled_y[at]}
        for name, stream in self.asides.items():
            rows[name] = stream.rows(step, self.sizes.labeled)
            if self.wants[name].balanced:
                rows[name], labels[f"labels/{name}"] = self.labeled_rows[rows[name]], self.labeled_y[rows[name]]
        return rows, labels

    def batch(self, given: Given, flags: Flags = ()) -> tuple[Batch, Tensor | None]:
        """The batch, and the true labels [Bu] of its unlabeled rows (-1 unknown) for the meters alone.

        A function of `given` and the resident images without any state, so that it can be traced and captured. `flags`
        are those of the step: batches of parts' own are made where they want them.
        """
        rows = given["rows/labeled"]
        images, y = self.pool.pick(LABELED, rows, given), given["labels"]
        x, *others = (self._view(images, view, stream, given) for stream, view in self.labeled_views.items())
        extra, further = tuple(others[: self.own - 1]), tuple(others[self.own - 1 :])
        aside = {name: self._aside(name, given) for name, wanted in self.wants.items() if wanted.flag in flags}
        if self.unlabeled is None or self.pool.unlabeled_y is None:
            return Batch(x, y, (), rows[:0], extra, further, aside), None
        idx = given["rows/unlabeled"]
        images = self.pool.pick(UNLABELED, idx, given)
        u = tuple(self._view(images, view, stream, given) for stream, view in self.unlabeled_views.items())
        return Batch(x, y, u, idx, extra, further, aside), self.pool.unlabeled_y[idx]

    def _aside(self, name: str, given: Given) -> Aside:
        images = self.pool.pick(name, given[f"rows/{name}"], given)
        x = self._view(images, self.wants[name].view, f"views/{name}", given)
        return Aside(x, given.get(f"labels/{name}"))

    @property
    def unlabeled_count(self) -> int:
        """Images in the unlabeled set."""
        return 0 if self.pool.unlabeled_y is None else len(self.pool.unlabeled_y)

    @property
    def total(self) -> int:
        """All training images, labeled or not."""
        return len(self.pool.labeled_y) - self.pool.shared + self.unlabeled_count

    @property
    def at_once(self) -> int:
        """Images of the unlabeled set that `looked_at` can give in one call; as many wherever unequal images are,
        since a network's outputs differ in their last bits with the number of images in a pass.
        """
        ragged = isinstance(self.pool, RaggedPool)
        return self.sizes.labeled + self.sizes.unlabeled if ragged else max(self.unlabeled_count, 1)

    def plain(self, rows: Tensor) -> Tensor:
        """Images of the unlabeled set as they are evaluated: rows [B] on the CPU to uint8 [B,c,r,r] on the device."""
        return self.looked_at(rows, View.IDENTITY, Generator())

    def looked_at(self, rows: Tensor, view: View, generator: Generator) -> Tensor:
        """A view of images of the unlabeled set, drawn from `generator`: rows [B] on the CPU, as `plain`.

        Where they are read from the disk, the rows that follow are expected next.
        """
        images = self._brought(UNLABELED, rows)
        if self.pool.far:
            following = torch.arange(int(rows[-1]) + 1, min(int(rows[-1]) + 1 + len(rows), self.unlabeled_count))
            self.pool.expect({UNLABELED: following})
        draws = draw(view, len(rows), generator, self.views.spec, self.pool.sizes(UNLABELED, rows))
        out: Tensor = self.views.augment(images, view, draws)
        return out

    def seen(self, rows: Tensor, view: View, generator: Generator) -> Tensor:
        """Images as a view: `rows` [B] of all training images, on the CPU, to the network's input."""
        draws = draw(view, len(rows), generator, self.views.spec, self.pool.sizes(LABELED, rows))
        out: Tensor = self.views(self._brought(LABELED, rows), view, draws, self.dtype)
        return out

    def _brought(self, name: str, rows: Tensor) -> Tensor | Ragged:
        """Images of a set, of rows on the CPU."""
        device = self.pool.counts.device
        there = {key: values.to(device) for key, values in self.pool.bring({name: rows}).items()}
        return self.pool.pick(name, rows.to(device), there)

    def _view(self, images: Tensor | Ragged, view: View, stream: str, given: Given) -> Tensor:
        kind = kind_of(view)
        draws = kind(*(given[f"{stream}/{name}"] for name in kind._fields))
        out: Tensor = self.views(images, view, draws, self.dtype)
        return out
