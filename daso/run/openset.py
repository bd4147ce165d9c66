"""The open-set measurement of a run: one look at its unlabeled images, for people alone."""

import io

import numpy as np
from torch import Generator

from daso.outputs.files import replace_file
from daso.outputs.rundir import RunDir
from daso.train.engine import explained
from daso.train.loop import Parts, evaluated, over_unlabeled, predictor
from daso.train.openset import OpenSet, entropy, open_set
from daso.types import View


def open_set_of(parts: Parts) -> OpenSet | None:
    """How uncertain the evaluated network is about unlabeled images of the classes and of none, in evaluation view.

    None where no unlabeled image is known to be of none of the classes. The network's answer is that of the tests.
    """
    truth = parts.feed.pool.unlabeled_y
    if truth is None or not parts.meters.outside:
        return None
    with explained(parts.engine.mode):
        logits = over_unlabeled(parts, predictor(parts, evaluated(parts)), View.IDENTITY, Generator())
        uncertainty = entropy(logits.softmax(1)).cpu().double().numpy()
    return open_set(uncertainty, truth.cpu().numpy(), parts.config.dataset.num_classes)


def save_open_set(folder: RunDir, found: OpenSet) -> None:
    """Write the histograms into the run's folder: `edges` [K+1] in nats, images `inside` and `outside` [K]."""
    content = io.BytesIO()
    np.savez_compressed(content, edges=found.edges, inside=found.inside, outside=found.outside)
    replace_file(folder.openset, content.getvalue())
