"""Prototypes and pseudo-label histogram against the recorded sequences, float64."""

from pathlib import Path

import numpy as np
import pytest
import torch

from daso.schema import DasoConfig
from daso.slots.daso import Daso
from daso.slots.prototypes import Prototypes
from daso.types import Batch, Clock

V = np.load(Path(__file__).parents[1] / "golden" / "feature_queue_hist.npz")


@pytest.mark.parametrize(
    ("tag", "classes", "dim", "caps"),
    [
        ("C10_D6_max5", 10, 6, 5),
        ("C100_D8_max3", 100, 8, 3),
        ("C10_D6_max5_classwise", 10, 6, [5 * int(n) for n in V["C10_D6_max5_classwise_labeled_counts"]]),
    ],
)
def test_prototypes_are_the_means_of_the_last_features(tag, classes, dim, caps):
    prototypes = Prototypes(classes, dim, caps).to(torch.float64)
    for step, (feats, y) in enumerate(zip(V[f"{tag}_features"], V[f"{tag}_labels"], strict=True)):
        prototypes.push(torch.from_numpy(feats), torch.from_numpy(y))
        np.testing.assert_allclose(prototypes.means(), V[f"{tag}_prototypes"][step], rtol=1e-12, atol=1e-14)
        np.testing.assert_array_equal(prototypes.fill(), V[f"{tag}_lengths"][step])


@pytest.mark.parametrize("classes", [10, 100])
def test_histogram_holds_the_last_full_period(classes):
    daso = Daso(classes, 2, DasoConfig(name="daso", update_every=2, queue_size=2, t_dist=1.0)).to(torch.float64)
    counts = V[f"hist_C{classes}_counts_after_step_update_every2"]
    none = Batch(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64), (), torch.zeros(0, dtype=torch.int64))

    def begin(step):
        daso.observe(None, none, Clock(torch.tensor(step), torch.tensor(0.0)), none.x)

    begin(0)
    for step, pushed in enumerate(V[f"hist_C{classes}_pushed"]):
        daso.count(torch.from_numpy(pushed))
        begin(step + 1)  # what is counted by the end of a step is in force at the start of the next
        np.testing.assert_array_equal(daso.hist, counts[step])
        share = V[f"hist_C{classes}_normalised"][step]
        expected = np.zeros(classes) if np.isnan(share).all() else share / share.max()
        np.testing.assert_allclose(daso.weights(torch.float64), expected, rtol=1e-6)
