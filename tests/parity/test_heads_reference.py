"""Whole trajectories of the methods with three classifiers, of which nothing whole was recorded, against a second
implementation, in float64: composed from the option files, through the real loop, with its evaluation and its survey.
"""

import numpy as np
import pytest

from tests.reference.cases import BATCH, FILL_SEED, GAIN, pool
from tests.reference.heads import Cpe, ScSsl, run
from tests.trajectories_compared import THRESHOLD, ours, same

COMMON = ("dataset=cifar10", "dataset.source_size=8", "dataset.resolution=8", "imb.m1=31", "imb.gamma_l=7", "imb.n1=50")
MOVING = ("debias.gamma=0", "debias.rate=0.07", "debias.bias_above=0.02", "debias.floor=0.1")
STEPS, LOOK = 6, 2
METHODS = {
    "cpe": (("algorithm=cpe",), lambda counts: Cpe(counts, 0.4, (2, 4)), 0),
    "scssl": (
        ("algorithm=fixmatch_scssl", *MOVING, f"debias.start={LOOK / STEPS}"),
        lambda counts: ScSsl(counts, 0.4, 0.07, 0.02, 0.1),
        LOOK,
    ),
}

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", METHODS)
def test_whole_trajectory(name, tmp_path):
    overrides, method, first = METHODS[name]
    images, rng = pool("c10"), np.random.RandomState(0)
    n, m = len(images["labeled_y"]), len(images["unlabeled_y"])
    labeled = np.stack([rng.permutation(n)[:BATCH] for _ in range(STEPS)])
    unlabeled = np.stack([rng.permutation(m)[: 2 * BATCH] for _ in range(STEPS)])
    given = labeled, unlabeled, FILL_SEED, GAIN
    theirs = run(method(np.bincount(images["labeled_y"]).astype(float)), images, *given, first=first)
    mine = ours((*COMMON, *overrides, THRESHOLD), STEPS, BATCH, images, *given[:2], {}, *given[2:], tmp_path)
    for key, expected in theirs.items():
        if key.startswith("loss_"):
            assert (expected > 0).any()
            same(mine[key][0], expected[0], key, 1e-9)
        same(mine[key], expected, key)
