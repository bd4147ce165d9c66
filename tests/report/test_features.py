"""What the report takes from a checkpoint, of a run of seconds."""

import numpy as np
import pytest
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_info

from daso.report.collect import collect
from daso.report.figures.features import confusion, embed
from daso.run.start import run
from tests.compose import NOWHERE, tiny


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    run(tiny("train.steps=20", "train.eval_every=10", "daso.warmup_steps=10", f"out_root={root}"), NOWHERE)
    (found,) = collect([root])
    return found


def test_the_confusion_matrix_of_a_checkpoint_has_the_class_accuracies_of_the_summary(trained):
    matrix = confusion(trained)
    assert matrix.sum(1) == pytest.approx(1.0)
    assert 100 * np.diag(matrix) == pytest.approx(trained.per_class("test/class"))


def test_an_embedding_has_a_point_and_the_true_class_of_each_drawn_unlabeled_image(trained):
    points, classes = embed(trained, samples=60)
    assert points.shape == (60, 2)
    assert np.isfinite(points).all()
    assert set(classes.tolist()) <= set(range(10))
    assert len(set(classes.tolist())) > 5


def test_an_embedding_takes_one_thread_of_a_machine_with_other_work(trained, monkeypatch):
    threads = []

    def fit(self, features):
        threads.extend(pool["num_threads"] for pool in threadpool_info())
        return features[:, :2]

    monkeypatch.setattr(TSNE, "fit_transform", fit)
    embed(trained, samples=60)
    assert set(threads) == {1}


def test_the_settings_of_a_run_are_those_that_it_was_made_with(trained):
    assert trained.settings.run_key == trained.key
    assert trained.settings.train.steps == 20
