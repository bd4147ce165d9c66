"""Selection and progressive alignment against the recorded generations."""

from pathlib import Path

import numpy as np
import pytest
import torch

from daso.protocol.crest import select, temperature

GOLDEN = Path(__file__).parents[1] / "golden" / "crest.npz"


@pytest.fixture(scope="module")
def recorded():
    with np.load(GOLDEN) as vectors:
        return {key: vectors[key] for key in vectors.files}


@pytest.mark.parametrize("case", ["c10", "c10_stl"])
def test_selected_rows_and_their_labels_in_their_order(recorded, case):
    counts = torch.from_numpy(recorded[f"{case}/label_counts"])
    p = torch.from_numpy(recorded[f"{case}/predictions"])
    rows, labels = select(p, counts, float(recorded[f"{case}/alpha"]))
    np.testing.assert_array_equal(rows, recorded[f"{case}/selected_unlabeled_idx"])
    np.testing.assert_array_equal(labels, recorded[f"{case}/selected_pseudo_label"])
    np.testing.assert_array_equal(counts + torch.bincount(labels, minlength=10), recorded[f"{case}/new_label_counts"])


@pytest.mark.parametrize("generations", [3, 5])
def test_temperature_of_every_generation(recorded, generations):
    expected = recorded[f"da_temperature_{generations}generations_tmin0.5"]
    np.testing.assert_allclose([temperature(g, generations, 0.5) for g in range(generations)], expected, atol=1e-6)
