"""The bias of an image without a pattern."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from daso.errors import UserError
from daso.run.build import build, data_of
from daso.schema import Blank, BlankBn, CdmadDebias
from daso.slots.cdmad import Cdmad
from daso.slots.losses import cross_entropy
from daso.train.loop import evaluated, opinions_of, predictor, tallies
from daso.train.meters import prior_distances
from tests import toy
from tests.training import CPU, composed


def make(first=0, **knobs):
    return Cdmad(torch.ones(toy.CLASSES), torch.ones(3), toy.SIDE, first, CdmadDebias(**knobs))


def statistics(net):
    return [buffer.clone() for buffer in net.buffers()]


@pytest.mark.parametrize(
    ("knobs", "moves"), [({}, False), ({"blank_bn": BlankBn.running}, False), ({"blank_moves_stats": True}, True)]
)
def test_the_blank_image_moves_running_statistics_only_where_it_is_told_to(knobs, moves):
    nets, part = toy.nets(), make(**knobs)
    before = statistics(nets.student)
    part.observe(nets, toy.batch(0), toy.clock(0), None)
    assert moves is not all(map(torch.equal, before, statistics(nets.student)))
    assert part.bias.abs().sum() > 0


def test_an_image_aside_is_normalised_by_its_own_statistics():
    net, x = toy.nets(torch.float64).student, torch.randn(1, 3, toy.SIDE, toy.SIDE, dtype=torch.float64)
    moved = copy.deepcopy(net)
    np.testing.assert_allclose(net.encode_aside(x).detach(), moved.encode(x).detach(), rtol=1e-12)


def test_pseudo_labels_are_corrected_from_the_first_step_on_that_is_told_so():
    nets, part, z = toy.nets(), make(first=3), torch.randn(5, toy.CLASSES)
    for step in range(5):
        part.observe(nets, toy.batch(step), toy.clock(step), None)
        expected = z - part.bias if step >= 3 else z
        assert torch.equal(part.adjust(z, z, nets), expected)


def test_a_blank_image_is_what_its_name_says():
    facts = toy.facts(composed("algorithm=fixmatch_cdmad"), torch.ones(10))
    white = (1 - 0.3053) / 0.3759  # of digits
    for blank, value in ((Blank.ones, 1.0), (Blank.zeros, 0.0), (Blank.white, white)):
        image = Cdmad.of(CdmadDebias(blank=blank), facts).image
        assert image.shape == (1, 1, 8, 8)
        np.testing.assert_allclose(image, value, rtol=1e-6)


def test_an_evaluation_shows_the_answer_before_and_after_the_correction():
    config = composed("algorithm=fixmatch_cdmad")
    parts = build(config, CPU, *data_of(config))
    net, (images, _) = evaluated(parts), parts.splits["test"]
    torch.nn.init.normal_(net.heads["cls"].bias)
    predict = predictor(parts, net)
    found = opinions_of(parts, net, predict)(images)
    blank = torch.ones(1, 1, 8, 8)
    bias = net.classify(net.encode(blank, running_stats=True))[0]
    assert torch.equal(found[""], predict(images))
    torch.testing.assert_close(found["raw"] - found[""], bias.expand(len(images), -1))
    assert set(tallies(parts, opinions_of(parts, net, predict))) == {"test", "test/raw"}


@pytest.mark.parametrize("soft", [False, True])
def test_a_floor_is_added_inside_the_logarithm(soft):
    z = 40 * torch.randn(6, 4, dtype=torch.float64)
    q = torch.rand(6, 4, dtype=torch.float64).softmax(1) if soft else torch.tensor([0, 1, 2, 3, 0, 1])
    weights = q if soft else F.one_hot(q, 4)
    p = np.exp(z - z.logsumexp(1, keepdim=True))
    expected = -(weights * np.log(p + 1e-8)).sum(1).mean()
    np.testing.assert_allclose(cross_entropy(z, q, floor=1e-8), expected)


def test_the_distance_to_the_true_prior_is_infinitely_large_nowhere():
    found = prior_distances(np.array([0.0, 3.0, 1.0]), np.array([0.5, 0.5, 0.0]))
    assert found["prior/l1"] == pytest.approx(0.5 + 0.25 + 0.25)
    assert np.isfinite(found["prior/kl"])
    assert prior_distances(np.array([2.0, 2.0]), np.array([0.25, 0.75]))["prior/kl"] == pytest.approx(
        0.25 * np.log(0.5) + 0.75 * np.log(1.5)
    )


@pytest.mark.parametrize("knobs", [{"start": 1.5}, {"blank_moves_stats": True, "blank_bn": BlankBn.running}])
def test_impossible_knobs_are_refused(knobs):
    with pytest.raises(UserError, match=r"^debias\."):
        CdmadDebias(**knobs)
