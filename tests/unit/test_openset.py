"""How uncertain a network is about images of none of its classes."""

import numpy as np
import pytest
import torch
from scipy.stats import entropy as reference_entropy
from sklearn.metrics import roc_auc_score

from daso.published.numbers import points
from daso.train.openset import auroc, entropy, open_set


def test_entropy_is_in_nats_and_zero_where_the_network_is_certain():
    p = torch.tensor([[1.0, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.25, 0.25]], dtype=torch.float64)
    np.testing.assert_allclose(entropy(p), reference_entropy(p.numpy(), axis=1), atol=1e-12)
    assert entropy(p.bfloat16()).dtype == torch.float32


def test_the_area_under_the_curve_is_scikit_learn_s_also_with_equal_values():
    random = np.random.RandomState(0)
    below, above = random.randint(0, 20, 300) / 10, random.randint(5, 25, 200) / 10
    truth = np.repeat([0, 1], [300, 200])
    assert auroc(below, above) == pytest.approx(roc_auc_score(truth, np.concatenate([below, above])), abs=1e-12)


def test_histograms_have_bins_of_a_twelfth_from_zero_to_the_uniform_prediction():
    entropies = np.array([0.0, 1 / 24, 1 / 12, 0.5, np.log(200) + 1e-9, 1.0])
    found = open_set(entropies, np.array([0, 3, 7, -2, -2, -1]), 200)
    assert found.edges[1] == 1 / 12
    assert found.edges[-2] < np.log(200) <= found.edges[-1]
    assert found.inside[:2].tolist() == [2, 1]
    assert (found.inside.sum(), found.outside.sum()) == (3, 2)
    assert (found.outside[6], found.outside[-1]) == (1, 1)


def test_images_of_unknown_class_count_as_inside_only_where_no_class_is_known():
    entropies = np.array([0.2, 0.4, 0.9])
    assert open_set(entropies, np.array([-1, 1, -2]), 3).metrics["openset/entropy/in"] == pytest.approx(0.4)
    assert open_set(entropies, np.array([-1, -1, -2]), 3).metrics["openset/entropy/in"] == pytest.approx(0.3)


def test_without_images_of_both_kinds_there_is_nothing_to_tell():
    assert open_set(np.ones(3), np.array([0, 1, -1]), 3) is None
    assert open_set(np.ones(3), np.array([-2, -2, -2]), 3) is None


def test_the_paper_s_histograms_give_the_areas_computed_from_them():
    """Fig. 12, by bins: 0.626 for FixMatch, 0.650 for DASO."""
    areas = {}
    for panel, method in (("a", "fixmatch"), ("b", "fixmatch+daso")):
        middles = {}
        for kind in ("U_in", "U_out"):
            bars = [p for p in points() if p.figure == "fig12" and p.panel == panel and p.series.endswith(f":{kind}")]
            counts = [round(bar.y) for bar in bars]
            middles[kind] = np.repeat([float(bar.x.split("-")[0]) for bar in bars], counts)
        areas[method] = auroc(middles["U_in"], middles["U_out"])
    assert areas["fixmatch"] == pytest.approx(0.626, abs=0.001)
    assert areas["fixmatch+daso"] == pytest.approx(0.650, abs=0.001)
