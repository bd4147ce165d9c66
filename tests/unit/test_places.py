"""The places that the paper's own zoo leaves empty: what the facade makes of a filling, and of none."""

import numpy as np
import pytest
import torch

from daso.learners.fixmatch import FixMatch
from daso.slots.base import Adjust, Balance, Confidence, Observe, Offset, PostHoc, Survey
from daso.slots.slots import Slots
from daso.slots.supervised import CrossEntropy
from daso.train.loop import State, predictor, train
from daso.types import Chosen, Guess, View
from tests import toy
from tests.training import CPU, Rows, composed

U, C = toy.UNLABELED, toy.CLASSES


def logits(rows=U, seed=0):
    return torch.randn(rows, C, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


class Shift(Adjust, Offset, Balance):
    """Fills three places with constants."""

    vector = torch.tensor([0.5, -1.0, 0.25, 2.0], dtype=torch.float64)

    def adjust(self, z, feats, nets):
        return z + self.vector

    def offset_labeled(self):
        return 2 * self.vector

    def offset_strong(self):
        return 3 * self.vector

    def balance(self):
        return self.vector.abs()


def test_what_adjusts_logits_comes_before_the_softmax():
    z = logits()
    guess = Slots(CrossEntropy(), Shift()).guess(z, None, None)
    np.testing.assert_allclose(guess.p, softmax((z + Shift.vector).numpy()))
    assert torch.equal(guess.plain, z)
    assert torch.equal(guess.logits, z + Shift.vector)


def test_an_offset_is_added_inside_the_labeled_loss_alone():
    z, y = logits(), torch.arange(U) % C
    ours = Slots(CrossEntropy(), Shift()).supervised(z, y, ())
    p = softmax((z + 2 * Shift.vector).numpy())
    np.testing.assert_allclose(ours, -np.log(p[np.arange(U), y]).mean())


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("views", [1, 2])
def test_the_consistency_loss_adds_the_offset_and_weighs_classes(soft, views):
    slots, z_w, z = Slots(CrossEntropy(), Shift()), logits(), logits(views * U, 1)
    target = slots.pseudo(Guess(z_w.softmax(1)), None, torch.arange(U), toy.clock(0), ())
    ours = slots.consistency(z, target, slots.chosen(target, torch.arange(U), 0.5, toy.clock(0)), soft)["cons"]

    q, share = softmax(z_w.numpy()), Shift.vector.abs().numpy()
    kept = q.max(1) >= 0.5
    log_p = np.log(softmax((z + 3 * Shift.vector).numpy())).reshape(views, U, C)
    if soft:
        per_image = -(log_p * (q * share)).sum(2)
    else:
        label = q.argmax(1)
        per_image = -log_p[:, np.arange(U), label] * share[label]
    np.testing.assert_allclose(ours, (per_image * kept).mean())


def test_a_confidence_slot_chooses_label_and_weight_and_may_add_a_loss():
    class Other(Confidence):
        def confident(self, target, idx, threshold, clock):
            return Chosen(torch.zeros_like(target.label), torch.full_like(target.conf, 0.25))

        def consistency_losses(self, z, weight):
            return {"more": z.sum() * weight.sum()}

    slots, z = Slots(CrossEntropy(), Other()), logits(seed=1)
    target = slots.pseudo(Guess(logits().softmax(1)), None, torch.arange(U), toy.clock(0), ())
    losses = slots.consistency(z, target, slots.chosen(target, torch.arange(U), 0.95, toy.clock(0)))
    np.testing.assert_allclose(losses["cons"], -0.25 * np.log(softmax(z.numpy())[:, 0]).mean())
    np.testing.assert_allclose(losses["more"], z.sum() * 0.25 * U)


def test_every_observer_sees_the_step_begin():
    class Watcher(Observe):
        def __init__(self):
            super().__init__()
            self.seen = []

        def observe(self, nets, batch, clock, feats_l):
            self.seen.append(int(clock.step))

    first, second = Watcher(), Watcher()
    toy.train(FixMatch(0.3), Slots(CrossEntropy(), first, second), 3)
    assert first.seen == second.seen == [0, 1, 2]


def test_strong_views_share_a_label_and_a_strong_labeled_view_its_class():
    plain = FixMatch(0.3)
    richer = FixMatch(0.3, strong_views=2, soft=True, labeled_strong=True)
    assert [v.value for v in richer.views] == ["weak", "strong", "strong"]
    assert [v.value for v in richer.labeled_views] == ["weak", "strong"]
    (first, *_), _ = toy.train(richer, Slots(CrossEntropy()), 1)
    (base, *_), _ = toy.train(plain, Slots(CrossEntropy()), 1)
    assert first.logits_l.shape == base.logits_l.shape  # the weak view's: training accuracy means one thing
    assert first.target.p.shape == base.target.p.shape


def test_a_slot_corrects_every_prediction_that_is_used(tmp_path):
    from daso.run.build import build, data_of

    class Off(PostHoc):
        def posthoc(self, net, head):
            return torch.arange(10.0)

    config = composed("algorithm=fixmatch")
    parts = build(config, CPU, *data_of(config))
    raw = predictor(parts, parts.nets.teacher)(parts.splits["test"][0])
    parts.slots.correction = Off()
    assert torch.equal(predictor(parts, parts.nets.teacher)(parts.splits["test"][0]), raw - torch.arange(10.0))


def test_a_prediction_may_be_asked_of_another_classifier_than_the_one_that_answers():
    from daso.run.build import build, data_of

    config = composed("algorithm=fixmatch_abc")
    parts = build(config, CPU, *data_of(config))
    net, images = parts.nets.student, parts.splits["test"][0]
    features = net.encode(parts.views.normalise(images, torch.float32), running_stats=True)
    for head, wanted in (("", "abc"), ("abc", "abc"), ("cls", "cls")):
        assert torch.equal(predictor(parts, net, head)(images), net.classify(features, wanted))


@pytest.mark.parametrize("teacher", [False, True])
def test_surveys_see_the_whole_unlabeled_set_and_change_nothing_else(tmp_path, teacher):
    from daso.run.build import build, data_of

    class Look(Survey):
        surveys_teacher = teacher

        def __init__(self, view=View.IDENTITY):
            super().__init__()
            self.seen, self.surveys_view = [], view

        def due(self, step):
            return step % 5 == 0

        def survey(self, logits):
            self.seen.append(logits)

    config, rows = composed("algorithm=fixmatch", "train.eval_every=100"), [Rows(), Rows()]
    plain, weak, again = looks = Look(), Look(View.WEAK), Look(View.WEAK)
    for report, surveyors in zip(rows, ((), looks)):
        parts = build(config, CPU, *data_of(config))
        parts.slots.surveyors = surveyors
        train(parts, State(), report, tmp_path / "checkpoint.pt", {})
    for look in looks:
        assert [tuple(z.shape) for z in look.seen] == [(len(parts.feed.pool.unlabeled_y), 10)] * 2
    for at in range(2):  # what a random view draws is decided by the step
        assert torch.equal(weak.seen[at], again.seen[at])
        assert not torch.equal(weak.seen[at], plain.seen[at])
    assert rows[0].kept == rows[1].kept
