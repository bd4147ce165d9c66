"""Distribution alignment against the recorded sequences, float64."""

from pathlib import Path

import numpy as np
import pytest
import torch

from daso.slots.align import DistributionAlignment

V = np.load(Path(__file__).parents[1] / "golden" / "dist_align_interleave.npz")


@pytest.mark.parametrize("window", [4, 128])
@pytest.mark.parametrize("goal", ["none", "prog"])
def test_aligned_predictions(window, goal):
    tag = f"C10_q{window}"
    align = DistributionAlignment(torch.from_numpy(V[f"{tag}_target"]), float(V["default_temperature"]), window)
    align.to(torch.float64)
    for step, p in enumerate(torch.from_numpy(V[f"{tag}_p"])):
        if goal == "prog":
            align.temperature.fill_(float(V["temps_prog"][step]))
        np.testing.assert_allclose(align.align(p), V[f"{tag}_{goal}_out"][step], rtol=1e-12)
