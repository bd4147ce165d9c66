"""The run that estimates the unlabeled class distribution, and the run that is built on it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from daso.data.sizes import class_counts
from daso.data.split import Split, hold_out
from daso.errors import UserError
from daso.outputs.rundir import RunDir
from daso.protocol.estimate import Estimate, estimate
from daso.run import stages
from daso.run.start import run
from daso.schema import ALGORITHMS
from daso.settings.assumed import SHIPPED
from tests.compose import NOWHERE, config_of

SHORT = [
    "experiment=quickstart",
    "track=none",
    "train.steps=12",
    "train.batch_size=4",
    "train.eval_every=3",
    "train.log_every=3",
]


def rows(*values):
    return np.array(values, dtype=np.int64)


class Predictions:
    """A stage that predicts what it is told."""

    def __init__(self, p, y, unlabeled):
        self.p, self.y, self.unlabeled = p, y, unlabeled

    def predict_valid(self):
        return self.p, self.y

    def predict_unlabeled(self):
        return self.unlabeled


PERFECT = Predictions(torch.eye(3), torch.arange(3), torch.eye(3)[[0, 0, 1, 2]])


# --- the estimate


def test_a_known_confusion_is_undone():
    confusion = torch.tensor([[0.7, 0.2, 0.1], [0.2, 0.6, 0.2], [0.1, 0.2, 0.7]], dtype=torch.float64)
    p = confusion.T[[0, 1, 1, 2]]
    truth = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    q, condition = estimate(p, torch.tensor([0, 1, 1, 2]), confusion.T[truth])
    torch.testing.assert_close(q, torch.tensor([60.0, 30.0, 10.0], dtype=torch.float64))
    assert condition == pytest.approx(np.linalg.cond(confusion.numpy()))


def test_acceptable_estimates_are_averaged():
    protocol = Estimate(10, 3, 100)
    protocol.measured(PERFECT)
    found = protocol.measured(Predictions(PERFECT.p, PERFECT.y, torch.eye(3)[[0, 1, 1, 1]]))
    assert found["estimate/accepted"] == 2
    assert [found[f"estimate/class/{k}"] for k in range(3)] == [1.5, 2, 0.5]


@pytest.mark.parametrize(
    ("p", "unlabeled"),
    [
        (torch.full((3, 3), 1 / 3), torch.eye(3)),  # singular
        (torch.eye(3) * 0.01 + 1 / 3 - 0.01 / 3, torch.eye(3)),  # ill-conditioned
        (torch.eye(3) * 0.5 + 1 / 6, torch.eye(3)[[0, 0, 0]]),  # negative classes
    ],
)
def test_an_unacceptable_estimate_is_left_out(p, unlabeled):
    found = Estimate(10, 3, 100).measured(Predictions(p, torch.arange(3), unlabeled))
    assert found["estimate/accepted"] == 0
    assert not any(name.startswith("estimate/class") for name in found)


def test_estimates_survive_a_stop():
    first, second = Estimate(10, 3, 100), Estimate(10, 3, 100)
    first.measured(PERFECT)
    second.load_state_dict(first.state_dict())
    assert second.measured(PERFECT)["estimate/accepted"] == 2


# --- the images held out


LABELS = rows(*[k for k in range(3) for _ in range(20)])


def split(sizes, valid=()):
    labeled = np.concatenate([np.flatnonzero(k == LABELS)[:n] for k, n in enumerate(sizes)])
    return Split(labeled, rows(), rows(*valid))


def per_class(found):
    return np.bincount(LABELS[found], minlength=3).tolist()


def test_labeled_images_are_held_out_where_every_class_has_more_than_enough():
    found = hold_out(split([12, 8, 6], valid=range(15, 20)), LABELS, 3, 5)
    assert (per_class(found.valid), per_class(found.labeled)) == ([5, 5, 5], [7, 3, 1])


def test_the_validation_set_is_taken_where_a_class_is_small():
    valid = [15, 16, 17, 35, 36, 37, 55, 56, 57]
    found = hold_out(split([12, 8, 5], valid), LABELS, 3, 2 + 3)
    assert (per_class(found.valid), per_class(found.labeled)) == ([3, 3, 3], [12, 8, 5])


def test_at_most_half_a_class_is_held_out_without_a_validation_set():
    found = hold_out(split([12, 8, 3]), LABELS, 3, 5)
    assert (per_class(found.valid), per_class(found.labeled)) == ([5, 4, 1], [7, 4, 2])
    assert not set(found.valid) & set(found.labeled)


# --- the stage


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    config = config_of(*SHORT, "algorithm=fixmatch_darp", f"out_root={tmp_path_factory.mktemp('darp')}")
    run(config, NOWHERE)
    return config


def test_one_command_estimates_first(finished):
    [needed] = stages.prerequisites(finished)
    assert RunDir(finished.out_root, needed.run_key).done.exists()
    assert RunDir(finished.out_root, finished.run_key).done.exists()


def test_the_estimating_run_is_one_that_can_be_asked_for(finished):
    [needed] = stages.prerequisites(finished)
    asked = config_of(*SHORT, "algorithm=supervised", "protocol=estimate")
    assert needed.run_key == asked.run_key
    assert asked.train.mu == ALGORITHMS["supervised"].unlabeled_ratio


def test_all_learners_share_one_estimate(finished):
    others = [
        config_of(*SHORT, f"algorithm={preset}", *more)
        for preset, more in [("fixmatch_la_darp", []), ("remixmatch_darp", []), ("pseudolabel", ["darp=paper"])]
    ]
    keys = {stages.estimation(config).run_key for config in [finished, *others]}
    assert len(keys) == 1


def changed(config, tmp_path, **summary):
    """The configuration with an estimating run of this summary."""
    config = replace(config, out_root=str(tmp_path))
    run = RunDir(tmp_path, stages.estimation(config).run_key)
    run.path.mkdir()
    run.summary.write_text(json.dumps(summary))
    run.done.touch()
    return config


def test_the_estimate_is_scaled_to_the_unlabeled_set(finished, tmp_path):
    config = changed(
        finished, tmp_path, **{"estimate/accepted": 2.0}, **{f"estimate/class/{k}": 2.0 for k in range(10)}
    )
    assert stages.assumed_counts(config, 50) == [5.0] * 10
    assert stages.remarks(config) == []


def test_without_an_acceptable_estimate_the_labeled_distribution_is_assumed_and_said_so(finished, tmp_path):
    config = changed(finished, tmp_path, **{"estimate/accepted": 0.0})
    expected = np.array(class_counts(100, 10, 10))
    np.testing.assert_allclose(stages.assumed_counts(config, 1000), expected * 1000 / expected.sum())
    [remark] = stages.remarks(config)
    assert "distributed as the labeled ones" in remark


def test_a_missing_estimate_is_named(finished, tmp_path):
    with pytest.raises(UserError, match=r"darp\.goal=estimate .* is not finished or damaged"):
        stages.assumed_counts(replace(finished, out_root=str(tmp_path)), 50)


# --- what is assumed without a run


def test_matched_settings_assume_the_formula_s_counts():
    config = config_of("algorithm=fixmatch_darp", "imbalance=cifar10_n500_m4000_g100")
    assert stages.prerequisites(config) == []
    assert stages.assumed_counts(config, 9922) == [4000, 2397, 1437, 861, 516, 309, 185, 111, 66, 40]


def test_unknown_unlabeled_images_can_be_assumed_to_be_as_the_labeled_ones():
    config = config_of("dataset=stl10", "algorithm=fixmatch_darp", "darp.goal=labeled", "imbalance=stl10_n150_g10")
    counts = np.array(class_counts(150, 10, 10))
    np.testing.assert_allclose(stages.assumed_counts(config, 100000), counts * 100000 / counts.sum())


@pytest.mark.parametrize(
    ("dataset", "imbalance"),
    [
        ("cifar10", f"cifar10_{sizes}_g100_{kind}")
        for sizes in ("n1500_m3000", "n500_m4000")
        for kind in ("uniform", "reversed")
    ]
    + [("stl10", f"stl10_{sizes}") for sizes in ("n150_g10", "n150_g20", "n450_g10", "n450_g20")],
)
def test_the_shipped_estimate_of_every_published_setting_is_found(dataset, imbalance):
    config = config_of(f"dataset={dataset}", "algorithm=fixmatch_darp", f"imbalance={imbalance}", "darp.goal=shipped")
    assert stages.prerequisites(config) == []
    assert sum(stages.assumed_counts(config, 1000)) == pytest.approx(1000)


def test_shipped_estimates_cover_ten_classes_each():
    assert len(SHIPPED) == 8
    assert {len(values) for values in SHIPPED.values()} == {10}


def test_a_setting_without_a_shipped_estimate_is_refused():
    with pytest.raises(UserError, match=r"darp\.goal=shipped .* no estimate for this setting"):
        config_of("algorithm=fixmatch_darp", "darp.goal=shipped")
