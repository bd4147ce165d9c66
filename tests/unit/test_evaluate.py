"""Evaluation in batches of one size counts each image once."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss

from daso.train import evaluate

CLASSES = 4
G = torch.Generator().manual_seed(0)
LOGITS = torch.randn(23, CLASSES, generator=G)
LABELS = torch.randint(CLASSES, (23,), generator=G)
IMAGES = torch.arange(1, 24, dtype=torch.uint8)[:, None]  # an image holds its number, from 1


def predict(images: torch.Tensor) -> torch.Tensor:
    """The logits of the numbered images; what fills a batch up is all zero, and has logits as well."""
    return torch.cat([torch.full((1, CLASSES), 9.0), LOGITS])[images[:, 0].long()]


@pytest.mark.parametrize("batch", [1, 5, 8, 22, 23, 100])
def test_a_batch_that_is_filled_up_changes_no_metric(batch):
    tallies = {"test": evaluate.evaluate(lambda x: {"": predict(x)}, IMAGES, LABELS, torch.zeros(CLASSES), batch)[""]}
    measured = evaluate.measure(tallies, [3, 2, 2, 1]).get()
    p, y = LOGITS.softmax(1).double().numpy(), LABELS.numpy()
    p /= p.sum(1, keepdims=True)
    assert measured.metrics["test/top1"] == pytest.approx(100 * accuracy_score(y, p.argmax(1)))
    assert measured.metrics["test/bacc"] == pytest.approx(100 * balanced_accuracy_score(y, p.argmax(1)))
    assert measured.metrics["test/top5"] == 100
    assert measured.metrics["test/cost"] == pytest.approx(log_loss(y, p), rel=1e-5)
    assert measured.confusion.sum() == len(LABELS)


def test_what_stands_beside_the_answer_is_measured_in_the_same_pass_and_in_short():
    both = evaluate.evaluate(lambda x: {"": predict(x), "raw": -predict(x)}, IMAGES, LABELS, torch.zeros(CLASSES), 5)
    tallies = {"test": both[""], "test/raw": both["raw"]}
    measured = evaluate.measure(tallies, [3, 2, 2, 1]).get().metrics
    assert measured["test/top1"] == pytest.approx(100 * accuracy_score(LABELS, LOGITS.argmax(1)))
    assert measured["test/raw/top1"] == pytest.approx(100 * accuracy_score(LABELS, LOGITS.argmin(1)))
    assert {name for name in measured if "raw" in name} == {"test/raw/top1", "test/raw/bacc", "test/raw/gm"}


@pytest.mark.parametrize("batch", [1, 5, 23, 100])
def test_distributions_come_in_the_order_of_the_images(batch):
    np.testing.assert_array_equal(evaluate.distributions(predict, IMAGES, batch), LOGITS.softmax(1))


def test_all_batches_have_one_size():
    assert {len(batch) for batch in evaluate.equal_batches(IMAGES, 5)} == {5}
    assert [len(batch) for batch in evaluate.equal_batches(IMAGES, 100)] == [23]


@pytest.mark.filterwarnings("error")
def test_classes_that_a_set_does_not_hold_are_left_out_of_means():
    counts = np.array([[3, 1, 0, 0], [0, 2, 2, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    tally = evaluate.Tally(torch.from_numpy(np.vstack([counts, [0] * 4])), torch.tensor(8), torch.tensor(1.0))
    found = evaluate.metrics(tally, tally, evaluate.class_groups([4, 3, 2, 1]), "test")
    assert found["test/bacc"] == (75 + 50) / 2
    assert found["test/many"] == (75 + 50) / 2
    assert np.isnan([found["test/medium"], found["test/few"], found["test/class/3"]]).all()
