"""The estimate of the unlabeled class distribution against recorded ones, and its hold-out."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from daso.data.split import first_of_each
from daso.protocol.estimate import estimate

GOLDEN = Path(__file__).parents[1] / "golden"
V = np.load(GOLDEN / "darp_estim.npz")
SPLITS = np.load(GOLDEN / "splits.npz")
HOLDOUTS = [name.removesuffix("_params") for name in SPLITS.files if name.endswith("_params")]
HOLDOUTS = [name for name in HOLDOUTS if any(key.startswith(f"{name}_holdout2") for key in SPLITS.files)]


@pytest.mark.parametrize("case", sorted({name.split("/")[0] for name in V.files}))
def test_estimate_and_condition_number(case):
    logits, labels, unlabeled = (
        torch.from_numpy(V[f"{case}/{name}"]) for name in ("valid_logits", "valid_labels", "unlabeled_logits")
    )
    q, condition = estimate(logits.softmax(1), labels, unlabeled.softmax(1))
    np.testing.assert_allclose(q, V[f"{case}/q_est"], rtol=1e-8)
    np.testing.assert_allclose(condition, V[f"{case}/cond"], rtol=1e-8)


@pytest.mark.parametrize("name", HOLDOUTS)
def test_rows_held_out_and_rows_left(name):
    classes = json.loads(str(SPLITS[f"{name}_params"]))["C"]
    valid, rest = first_of_each(SPLITS[f"{name}_labeled"], SPLITS[f"{name}_labels"], [2] * classes)
    np.testing.assert_array_equal(valid, SPLITS[f"{name}_holdout2_val"])
    np.testing.assert_array_equal(rest, SPLITS[f"{name}_holdout2_train"])
