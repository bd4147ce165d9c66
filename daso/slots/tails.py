"""Features for rare classes, made of theirs and of those that are like them (Fan et al., CVPR 2022, TFE).

Shape legend: n labeled images, m unlabeled ones, D features, C classes.
"""

from collections.abc import Callable
from collections.abc import Generator as Pieces

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from daso.types import Scene, View

Mix = Callable[[int, int, int], tuple[Tensor, Tensor]]
"""(class, its images, features missing) -> which of its images, and its share in the mix, [missing] each; CPU."""


def imprinted(features: Tensor, y: Tensor, classes: int) -> Tensor:
    """[C,D] a classifier without training: the classes' mean features [n,D], of length 1. No class is empty."""
    sums = features.new_zeros(classes, features.shape[1]).index_add_(0, y, features)
    means = sums / torch.bincount(y, minlength=classes)[:, None]
    return F.normalize(means, dim=1)


def levelled(labeled: Tensor, y: Tensor, weak: Tensor, strong: Tensor, classes: int, mix: Mix) -> tuple[Tensor, Tensor]:
    """As many features of every class as the largest has labeled ones: those, then the mixed ones, class by class.

    A mixed feature is of an image of the class and of one of those that the imprinted classifier finds most like it,
    each of which is taken once: labeled ones of other classes, by their own view, and strong views of unlabeled ones,
    by their weak one.

    Args:
        labeled: [n,D], of classes `y` [n].
        weak, strong: [m,D].
        classes: C.
        mix: draws for each class.

    Returns:
        [C * largest,D] features and their classes.
    """
    counts = torch.bincount(y, minlength=classes).tolist()
    centres = imprinted(labeled, y, classes)
    own, scores = ((f @ centres.T).softmax(1) for f in (labeled, weak))
    order = y.argsort(stable=True)
    parts, kinds = [labeled], [y]
    for k, count in enumerate(counts):
        missing = max(counts) - count
        if not missing:
            continue
        others = order[y[order] != k]
        likeness = torch.cat([own[others, k], scores[:, k]])
        best = likeness.argsort(descending=True, stable=True)[:missing]
        from_labeled = best < len(others)
        mate = torch.where(
            from_labeled[:, None],
            labeled[others[best.clamp(max=len(others) - 1)]],
            strong[(best - len(others)).clamp(min=0)],
        )
        which, share = (drawn.to(y.device) for drawn in mix(k, count, missing))
        share = share.to(labeled.dtype)[:, None]
        parts.append(share * labeled[y == k][which] + (1 - share) * mate)
        kinds.append(torch.full_like(best, k))
    return torch.cat(parts), torch.cat(kinds)


def levelled_over(scene: Scene, classes: int, alpha: float, stream: str) -> Pieces[None, None, tuple[Tensor, Tensor]]:
    """`levelled` features of all images of a run, as its average network sees them; yields after each batch of them.

    Args:
        scene: of the run.
        classes: C.
        alpha: shares are a sample of Beta(alpha, alpha).
        stream: what the random numbers are called.
    """

    def seen(rows: Tensor, view: View, name: str) -> Pieces[None, None, Tensor]:
        found = []
        for features in scene.features(rows, view, f"{stream}/{name}"):
            found.append(features)
            yield
        return torch.cat(found)

    def mix(k: int, count: int, missing: int) -> tuple[Tensor, Tensor]:
        generator = scene.generator(f"{stream}/mix", k)
        which = torch.randint(count, (missing,), generator=generator)
        numbers = np.random.default_rng(generator.initial_seed())  # torch's own Beta takes no generator
        return which, torch.from_numpy(numbers.beta(alpha, alpha, missing))

    labeled = yield from seen(scene.labeled, View.WEAK, "labeled")
    weak = yield from seen(scene.unlabeled, View.WEAK, "weak")
    strong = yield from seen(scene.unlabeled, View.STRONG, "strong")
    return levelled(labeled, scene.y.to(labeled.device), weak, strong, classes, mix)
