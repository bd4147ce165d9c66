"""Splits and class counts against the recorded vectors of the paper's code."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from daso.data.sizes import class_counts
from daso.data.split import make_split
from daso.data.streams import Stream, permutation_round
from daso.schema import DatasetConfig, ImbalanceConfig

GOLDEN = Path(__file__).parents[1] / "golden"
COUNTS = json.loads((GOLDEN / "class_counts.json").read_text())
CASES = ["a", "b", "c", "fmnist"]  # plain, reversed unlabeled, uniform unlabeled with C = 100, full size


@pytest.fixture(scope="module")
def recorded():
    with np.load(GOLDEN / "splits.npz") as vectors:
        return {key: vectors[key] for key in vectors.files}


def split_of(recorded, case, **changes):
    params = json.loads(str(recorded[f"{case}_params"]))
    labels = recorded[f"{case}_labels"].astype(np.int64)
    dataset = DatasetConfig(
        name=case,
        num_classes=params["C"],
        class_size=int(np.bincount(labels).min()),
        num_valid=params["num_valid"],
        channels=1,
        source_size=28,
        resolution=28,
        mean=[0.5],
        std=[0.5],
    )
    gamma_u = f"1/{params['gu']}" if params["rev"] else params["gu"]
    settings = {"n1": params["N1"], "m1": params["M1"], "gamma_l": params["gl"], "gamma_u": gamma_u} | changes
    return make_split(labels, dataset, ImbalanceConfig(**settings), params["seed"], with_unlabeled=True, n_extra=0)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("part", ["labeled", "unlabeled", "valid"])
def test_split_equals_the_recorded_one_index_for_index(recorded, case, part):
    np.testing.assert_array_equal(getattr(split_of(recorded, case), part), recorded[f"{case}_{part}"])


@pytest.mark.parametrize("case", CASES)
def test_uniform_split_equals_the_recorded_sets_before_thinning(recorded, case):
    split = split_of(recorded, case, gamma_l=1, gamma_u=1)
    np.testing.assert_array_equal(split.labeled, recorded[f"{case}_labeled_before_imb"])
    np.testing.assert_array_equal(split.unlabeled, recorded[f"{case}_unlabeled_before_imb"])


@pytest.mark.parametrize("case", CASES)
def test_validation_and_pool_partition_the_recorded_training_images(recorded, case):
    everything = np.concatenate([split_of(recorded, case).valid, recorded[f"{case}_trainpool"]])
    np.testing.assert_array_equal(np.sort(everything), np.arange(len(recorded[f"{case}_labels"])))


@pytest.mark.parametrize("setting", COUNTS)
def test_class_counts_equal_the_recorded_ones(setting):
    name, _, size, gamma, *is_reversed = setting.split("/")
    gamma = float(gamma.removeprefix("gamma="))
    classes = 100 if name == "cifar100" else 10
    counts = class_counts(int(size[3:]), 1 / gamma if is_reversed else gamma, classes)
    assert counts == COUNTS[setting]


@pytest.mark.parametrize("case", ["a", "b", "c"])
def test_stream_over_one_running_generator_equals_the_recorded_sampler(recorded, case):
    running = torch.Generator().manual_seed(json.loads(str(recorded[f"{case}_params"]))["seed"])
    stream = Stream(lambda number: running, permutation_round(len(recorded[f"{case}_labeled"])))
    rows = torch.cat([stream.rows(step, 20) for step in range(25)])
    np.testing.assert_array_equal(rows.numpy(), recorded[f"{case}_random_sampler"])
