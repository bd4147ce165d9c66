"""Evaluation and pseudo-label metrics against the recorded vectors and scikit-learn."""

import math

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from daso.train import evaluate
from daso.train.meters import Meters, PseudoLabelCounts, confusion, pseudo_label_metrics
from daso.types import Chosen, Labels, Outcome, Target

GOLDEN = np.load("tests/golden/eval_metrics.npz")
PSEUDO = np.load("tests/golden/pl_metrics.npz")


def measured(case: str, batch: int) -> dict[str, float]:
    logits, labels = torch.tensor(GOLDEN[f"{case}_logits"]), torch.tensor(GOLDEN[f"{case}_labels"])
    counts = torch.tensor(GOLDEN[f"{case}_counts"])
    tallies = evaluate.evaluate(lambda x: {"": x}, logits, labels, (counts / counts.sum()).log(), batch)[""]
    return evaluate.metrics(*tallies, evaluate.class_groups(counts.tolist()), "test")


@pytest.mark.parametrize("case", ["C10", "C100"])
@pytest.mark.parametrize("name", ["cost", "top1", "top5", "cost_la", "top1_la", "top5_la"])
def test_a_data_set_measures_as_recorded_whatever_the_batch(case, name):
    for batch in (int(GOLDEN[f"{case}_batch"]), 7, 1000):
        assert measured(case, batch)[f"test/{name}"] == pytest.approx(float(GOLDEN[f"{case}_result_{name}"]), rel=1e-6)


@pytest.mark.parametrize("case", ["C10", "C100"])
@pytest.mark.parametrize("suffix", ["", "_la"])
def test_class_recalls_are_as_recorded(case, suffix):
    out = measured(case, 64)
    for k, value in enumerate(GOLDEN[f"{case}_classwise_top1{suffix}"]):
        assert out[f"test/class{suffix}/{k}"] == pytest.approx(value, abs=1e-6, nan_ok=True)


def test_balanced_accuracy_and_geometric_mean_are_scikit_learns():
    logits, labels = GOLDEN["C10_logits"], GOLDEN["C10_labels"]
    recall = sk.recall_score(labels, logits.argmax(1), average=None)
    out = measured("C10", 64)
    assert out["test/bacc"] == pytest.approx(100 * sk.balanced_accuracy_score(labels, logits.argmax(1)))
    assert out["test/gm"] == 0.0  # class 8 is never right
    assert evaluate.geometric_mean(recall[:8] * 100) == pytest.approx(100 * np.prod(recall[:8]) ** (1 / 8))
    assert out["test/few"] == pytest.approx(100 * recall[7:].mean())


def test_the_running_median_of_the_last_twenty_is_as_recorded():
    history = evaluate.History()
    running = [history.add({"test/top1": float(v)})["test/top1_median20"] for v in GOLDEN["median_history"]]
    np.testing.assert_allclose(running, GOLDEN["median20_running"], rtol=1e-12)


def test_classes_fall_into_thirds_by_labeled_count():
    assert evaluate.class_groups([5, 50, 40, 3, 2, 30, 1, 20, 10, 4]) == {
        "many": [1, 2, 5, 7],
        "medium": [8, 0, 9],
        "few": [3, 4, 6],
    }


def test_confusion_counts_are_scikit_learns_and_unknown_truth_has_a_row_of_its_own():
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(-1, 5, 300), rng.integers(0, 5, 300)
    counts = confusion(torch.tensor(truth), torch.tensor(predicted), 5).numpy()
    known = truth >= 0
    np.testing.assert_array_equal(counts[:5], sk.confusion_matrix(truth[known], predicted[known], labels=range(5)))
    np.testing.assert_array_equal(counts[5], np.bincount(predicted[~known], minlength=5))


# recorded name -> (our kind, our metric)
KINDS = {"pl": "final", "main_pl": "final", "linear_pl": "linear", "sem_pl": "semantic", "semantic_pl": "semantic"}


def our_name(recorded: str) -> str:
    head, tail = recorded.split("/")
    if recorded == "imb_factors/gt_label":
        return "pl/labeled/imbalance"
    if head in ("avg_prec", "avg_recall"):
        return f"pl/{KINDS[tail]}/{'precision_official' if head == 'avg_prec' else 'recall'}"
    if head == "imb_factors":
        return f"pl/{KINDS[tail]}/imbalance"
    kind, metric = head.rsplit("_", 1)
    return f"pl/{KINDS[kind]}/{metric}/class/{tail}"


@pytest.mark.parametrize("case", ["c10", "c10_nosem", "c10_unknown"])
def test_pseudo_label_metrics_of_a_window_are_as_recorded(case):
    def vector(name: str) -> torch.Tensor:
        return torch.tensor(PSEUDO[f"{case}/{name}"]).long()

    n, classes = len(vector("final_pl")), 10
    truth = torch.full((n,), -1) if PSEUDO[f"{case}/unknown"] else vector("ul_labels")
    conf = torch.ones(n)
    semantic = Labels(vector("semantic_pl"), conf) if f"{case}/semantic_pl" in PSEUDO else None
    final, linear = vector("final_pl"), Labels(vector("linear_pl"), conf)
    target = Target(torch.zeros(n, classes), final, conf, linear, semantic)
    meters = Meters(classes, 0.95, torch.device("cpu"))
    y = vector("gt_labels")
    meters.add(Outcome({"cls": torch.tensor(1.0)}, torch.zeros(len(y), classes), target), y, truth)
    ours = meters.read_labels().get()
    names, values = PSEUDO[f"{case}/metric_names"], PSEUDO[f"{case}/metric_values"]
    compared = 0
    for name, value in zip(names, values, strict=True):
        if not np.isnan(value):
            mine = ours[our_name(str(name))]
            mine = -1.0 if "precision/" in name and math.isnan(mine) else mine  # Q32: ours is NaN
            assert mine == pytest.approx(value, rel=1e-9), name
            compared += 1
    assert compared > (3 if case == "c10_unknown" else 60)


def test_precision_leaves_never_predicted_classes_out_and_recall_absent_ones():
    truth, predicted = np.array([0, 0, 1, 1]), np.array([0, 0, 0, 0])
    pairs = confusion(torch.tensor(truth), torch.tensor(predicted), 3).numpy()
    out = pseudo_label_metrics(PseudoLabelCounts(pairs, confident=3), "pl/final")
    assert out["pl/final/precision"] == pytest.approx(sk.precision_score(truth, predicted, labels=[0], average="macro"))
    assert out["pl/final/precision_official"] == pytest.approx((0.5 - 1 - 1) / 3)
    assert out["pl/final/recall"] == pytest.approx(sk.recall_score(truth, predicted, labels=[0, 1], average="macro"))
    assert math.isnan(out["pl/final/recall/class/2"])
    assert out["pl/final/coverage"] == 0.75


def test_utilisation_is_the_mean_weight_of_all_of_a_class_and_of_right_labels():
    r = np.random.default_rng(0)
    made, used, truth, weight = r.integers(0, 3, 40), r.integers(0, 3, 40), r.integers(0, 3, 40), r.random(40)
    labels = Labels(torch.tensor(made), torch.ones(40))
    chosen = Chosen(torch.tensor(used), torch.tensor(weight))
    meters = Meters(4, 0.95, torch.device("cpu"))
    for half in (slice(0, 24), slice(24, 40)):
        part = Labels(*(value[half] for value in labels))
        target = Target(torch.zeros(len(part.label), 4), *part, part)
        few = Chosen(*(value[half] for value in chosen))
        meters.add(Outcome({}, torch.eye(4), target, few), torch.arange(4), torch.tensor(truth[half]))
    ours = meters.read_labels().get()
    mass = [weight[used == k].sum() for k in range(3)]
    assert ours["pl/utilisation"] == pytest.approx(weight.mean())
    assert ours["pl/utilisation_right"] == pytest.approx(weight[used == truth].mean())
    assert ours["pl/used/right"] == pytest.approx(weight[used == truth].sum() / weight.sum())
    assert ours["pl/used/imbalance"] == pytest.approx(max(mass) / min(mass))
    for k in range(3):
        assert ours[f"pl/utilisation/class/{k}"] == pytest.approx(weight[used == k].mean())
    assert math.isnan(ours["pl/utilisation/class/3"])
    assert ours["pl/final/count/class/0"] == (used == 0).sum()  # as used, not as made
    assert ours["pl/linear/count/class/0"] == (made == 0).sum()


def test_utilisation_without_known_labels_says_nothing_of_right_ones():
    meters, labels = Meters(2, 0.95, torch.device("cpu")), Labels(torch.tensor([0, 1]), torch.ones(2))
    target = Target(torch.eye(2), *labels, labels)
    chosen = Chosen(labels.label, torch.tensor([True, False]))
    meters.add(Outcome({}, torch.eye(2), target, chosen), torch.arange(2), torch.tensor([-1, -1]))
    ours = meters.read_labels().get()
    assert (ours["pl/utilisation"], ours["pl/used/imbalance"]) == (0.5, 1.0)
    assert not {"pl/utilisation_right", "pl/used/right"} & ours.keys()


def test_labels_of_a_group_of_images_are_judged_apart_wherever_the_truth_is_known():
    r = np.random.default_rng(0)
    label, truth, group = r.integers(0, 3, 40), r.integers(-1, 3, 40), r.random(40) < 0.4
    meters = Meters(3, 0.95, torch.device("cpu"))
    for half in (slice(0, 24), slice(24, 40)):
        made, known, which = (torch.tensor(values[half]) for values in (label, truth, group))
        labels = Labels(made, torch.ones(len(made)))
        groups = {"some": which, "none": torch.zeros_like(which)}
        target = Target(torch.zeros(len(made), 3), *labels, labels, groups=groups)
        meters.add(Outcome({}, torch.eye(3), target), torch.arange(3), known)
    seen = group & (truth >= 0)
    found = meters.read_train().get()
    assert found["pl/right/some"] == pytest.approx((label == truth)[seen].mean())
    assert "pl/right/none" not in found


def test_meters_continue_from_their_saved_state():
    def step(meters: Meters, loss: float) -> None:
        labels = Labels(*[torch.tensor([0, 1])] * 2)
        target = Target(torch.zeros(2, 3), labels.label, torch.tensor([0.99, 0.5]), labels)
        target = target._replace(groups={"sure": torch.tensor([True, loss > 1])})
        meters.add(Outcome({"cls": torch.tensor(loss)}, torch.eye(3), target), torch.arange(3), torch.tensor([0, 2]))

    whole, first, second = (Meters(3, 0.95, torch.device("cpu")) for _ in range(3))
    for loss in (1.0, 2.0, 4.0):
        step(whole, loss)
    step(first, 1.0)
    second.load_state_dict(first.state_dict())
    step(second, 2.0)
    step(second, 4.0)
    assert whole.read_train().get() == second.read_train().get()
    assert str(whole.read_labels().get()) == str(second.read_labels().get())


def test_labels_of_images_of_none_of_the_classes_are_counted_apart_and_hit_nothing():
    random = np.random.RandomState(0)
    label, conf = random.randint(0, 3, 40), random.rand(40).astype(np.float32)
    truth = random.randint(-2, 3, 40)
    target = Target(torch.zeros(40, 3), torch.tensor(label), torch.tensor(conf), Labels(torch.tensor(label), None))
    found = []
    for seen, outside in ((truth, True), (np.where(truth == -2, -1, truth), False)):
        meters = Meters(3, 0.5, torch.device("cpu"), outside=outside)
        meters.add(Outcome({}, torch.eye(3), target._replace(linear=None)), torch.arange(3), torch.tensor(seen))
        found.append(meters.read_labels().get())
    out, confident = truth == -2, conf >= 0.5
    assert found[0]["pl/out/coverage"] == pytest.approx((out & confident).sum() / out.sum())
    assert found[0]["pl/out/share"] == pytest.approx((out & confident).sum() / confident.sum())
    assert [found[0][f"pl/out/count/class/{k}"] for k in range(3)] == [(label[out] == k).sum() for k in range(3)]
    rest = {name: value for name, value in found[0].items() if not name.startswith("pl/out/")}
    assert rest == found[1]
