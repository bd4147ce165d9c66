"""Class-aware sampling against the recorded probabilities and draws."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from daso.data.streams import class_aware_round, class_weights

GOLDEN = Path(__file__).parents[1] / "golden" / "splits.npz"
CASES = [(case, beta) for case in "abc" for beta in ("0.999", "1.0")]


@pytest.fixture(scope="module")
def recorded():
    with np.load(GOLDEN) as vectors:
        return {key: vectors[key] for key in vectors.files}


@pytest.mark.parametrize(("case", "beta"), CASES)
def test_weights_equal_the_recorded_probabilities(recorded, case, beta):
    weights = class_weights(torch.from_numpy(recorded[f"{case}_labeled_counts"]).long(), float(beta))
    np.testing.assert_allclose(weights, recorded[f"{case}_cas_prob_beta{beta}"], rtol=1e-12)


@pytest.mark.parametrize(("case", "beta"), CASES)
def test_rounds_over_one_running_generator_hold_the_recorded_rows(recorded, case, beta):
    """The recording shuffles every round once more, which changes nothing about independent draws."""
    seed = json.loads(str(recorded[f"{case}_params"]))["seed"]
    labels = torch.from_numpy(recorded[f"{case}_labels"][recorded[f"{case}_labeled"]]).long()
    draw, running, shuffler = class_aware_round(labels, float(beta)), torch.Generator(), random.Random(seed)
    running.manual_seed(seed)
    rows = []
    while len(rows) < 500:
        round = draw(running).tolist()
        shuffler.shuffle(round)
        rows += round
    np.testing.assert_array_equal(rows[:500], recorded[f"{case}_cas_idx_beta{beta}"])
