"""What only a run's checkpoint holds: its confusion counts, and the features of its network. Imports torch."""

from typing import Any

import numpy as np

from daso.errors import UserError
from daso.report.collect import Run

SAMPLES = 2000  # unlabeled images of an embedding: enough to see clusters, seconds of t-SNE
Array = np.ndarray[Any, Any]


def confusion(run: Run) -> Array:
    """The confusion matrix [C,C] of the last evaluation on the test set: rows = truth, each of sum 1.

    Raises:
        UserError: the run has no readable checkpoint.
    """
    counts: Array = _saved(run)["confusion"].numpy().astype(float)
    images = counts.sum(1, keepdims=True)
    share: Array = np.divide(counts, images, out=np.zeros_like(counts), where=images > 0)
    return share


def embed(run: Run, samples: int = SAMPLES) -> tuple[Array, Array] | None:
    """t-SNE of the averaged encoder's features of unlabeled images (Figures 4 and 11).

    The same images are drawn for equal splits, whatever the method.

    Returns:
        Points [N,2] and true classes [N], -1 where unknown; None for a run without unlabeled images.

    Raises:
        UserError: the run has no readable checkpoint, or its data is not there.
    """
    import torch
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    from daso.run.training import prepare
    from daso.train.evaluate import BATCH

    saved = _saved(run)
    parts = prepare(run.settings, run.folder, torch.device("cpu"))
    pool = parts.feed.pool
    if pool.unlabeled_y is None:
        return None
    parts.nets.teacher.load_state_dict(saved["teacher"])
    rows = torch.from_numpy(np.sort(np.random.default_rng(0).permutation(len(pool.unlabeled_y))[:samples]))
    with torch.no_grad():
        chunks = [
            parts.nets.teacher.encode(parts.views.normalise(parts.feed.plain(some), torch.float32), running_stats=True)
            for some in torch.split(rows, min(BATCH, parts.feed.at_once))
        ]
    features = torch.cat(chunks).numpy()
    perplexity = min(30.0, (len(features) - 1) / 3)
    with threadpool_limits(1):  # more wait for each other, for minutes on a machine with other work
        points = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(features)
    return points, pool.unlabeled_y[rows].numpy()


def _saved(run: Run) -> dict[str, Any]:
    from daso.train import checkpoint

    if not run.folder.checkpoint.exists():
        raise UserError(f"Run {run.key} has no checkpoint at {run.folder.checkpoint}: this picture needs one.")
    return checkpoint.load(run.folder.checkpoint, run.key)
