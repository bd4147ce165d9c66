"""The refinement place filled by DARP: margins, selection, periods, state."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import newton

from daso.errors import UserError
from daso.schema import DarpConfig
from daso.slots.darp import Darp, refine, rescale, secant
from tests import toy


def predictions(rows, classes, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(rows, classes, generator=generator, dtype=torch.float64)).softmax(1).to(dtype)


def make(steps=20, rows=12, goal=(6.0, 3.0, 2.0, 1.0), **settings):
    return Darp(torch.tensor(goal), rows, steps, DarpConfig("darp", **{"warmup": 0.25, "every": 3} | settings))


def call(darp, step, p, idx):
    return darp.refine(p, idx, toy.clock(step), tuple(darp.flags(step)))


@given(
    classes=st.integers(2, 12),
    rows=st.integers(150, 400),
    gamma=st.sampled_from([1, 10, 50]),
    seed=st.integers(0, 1000),
)
def test_rows_sum_to_one_and_classes_to_the_goal(classes, rows, gamma, seed):
    goal = gamma ** -torch.linspace(0, 1, classes, dtype=torch.float64)
    goal = rows * goal / goal.sum()
    refined = refine(predictions(rows, classes, seed), (classes * goal).long(), goal, 10)
    torch.testing.assert_close(refined.sum(1), torch.ones(rows, dtype=torch.float64))
    assert ((refined.sum(0) - goal).abs() <= 0.05 * goal + 0.5).all()
    assert (refined >= 0).all()


def test_the_largest_entries_of_a_class_are_kept_and_scaled_to_its_goal():
    p = torch.tensor([[0.7, 0.3], [0.4, 0.6], [0.9, 0.1], [0.2, 0.8]], dtype=torch.float64)
    goal = torch.tensor([2.0, 1.0], dtype=torch.float64)
    kept = torch.tensor([[0.7, 0.0], [0.0, 0.0], [0.9, 0.0], [0.0, 0.8]], dtype=torch.float64)
    expected = kept * torch.tensor([2 / 1.6, 1 / 0.8], dtype=torch.float64) + 1e-6
    actual = rescale(p, torch.tensor([2, 1]), goal)
    torch.testing.assert_close(actual, expected / expected.sum(1, keepdim=True), rtol=1e-5, atol=1e-5)


def test_of_equal_entries_as_many_are_kept_as_the_quota_says():
    p = torch.full((300, 2), 0.5, dtype=torch.float64)
    rescaled = rescale(p, torch.tensor([70, 0]), torch.ones(2, dtype=torch.float64))
    assert (rescaled[:, 0] > 0.99).sum() == 70
    assert (rescaled[:, 0] == 0.5).sum() == 230  # a row without any is uniform


@pytest.mark.parametrize("seed", range(4))
def test_every_class_takes_the_steps_of_scipy(seed):
    random = np.random.RandomState(seed)
    weight, rate = random.rand(50, 6), 0.1 + 2 * random.rand(50, 1)
    goal, start = weight.sum(0) * np.array([0.01, 0.5, 0.99, 1.01, 3, 20]), random.randn(6) * (seed > 0)
    actual = secant(*(torch.from_numpy(x) for x in (weight, rate, goal, start)))
    for k in range(6):
        expected = newton(
            lambda x, k=k: (weight[:, k] * np.exp(-x * rate[:, 0])).sum() - goal[k],
            start[k],
            tol=0.1,
            maxiter=30,
            disp=False,
        )
        assert actual[k].item() == pytest.approx(expected, rel=1e-9)


def test_a_goal_of_no_image_leaves_finite_distributions():
    refined = refine(predictions(30, 3), torch.tensor([40, 20, 0]), torch.tensor([20.0, 10.0, 0.0]), 10)
    assert refined.isfinite().all()
    assert refined[:, 2].sum() < 0.5


def test_the_warm_up_returns_the_predictions_and_remembers_them():
    darp, p = make(), predictions(4, 4, dtype=torch.float32)
    idx = torch.tensor([3, 1, 7, 11])
    for step in range(5):
        assert torch.equal(call(darp, step, p, idx), p)
    assert torch.equal(darp.raw[idx], p)
    assert torch.equal(darp.raw[0], torch.full((4,), 0.25))


@pytest.mark.parametrize(
    ("at_once", "expected"), [(False, [8, 11, 14, 17, 20, 23]), (True, [6, 8, 11, 14, 17, 20, 23])]
)
def test_refinements_come_at_multiples_of_the_period_after_the_warm_up(at_once, expected):
    darp = make(steps=24, refine_on_first=at_once)
    assert [step for step in range(24) if darp.flags(step)] == expected


def test_rows_are_uniform_until_the_first_refinement():
    darp, p = make(steps=24), predictions(4, 4, dtype=torch.float32)
    out = call(darp, 6, p, torch.arange(4))
    assert torch.equal(out, torch.full((4, 4), 0.25))


def test_between_refinements_a_row_keeps_what_the_last_one_gave_it():
    darp, idx = make(), torch.arange(12)
    first = call(darp, 5, predictions(12, 4, 1, torch.float32), idx)
    assert torch.equal(call(darp, 6, predictions(12, 4, 2, torch.float32), idx), first)
    assert not torch.equal(call(darp, 8, predictions(12, 4, 2, torch.float32), idx), first)


def test_of_two_images_of_one_row_the_last_prediction_counts():
    darp, p = make(), predictions(5, 4, dtype=torch.float32)
    call(darp, 0, p, torch.tensor([2, 9, 2, 4, 2]))
    assert torch.equal(darp.raw[[2, 9, 4]], p[[4, 1, 3]])


def test_a_new_phase_forgets_all_predictions():
    darp = make()
    call(darp, 5, predictions(12, 4, dtype=torch.float32), torch.arange(12))
    darp.relabel(toy.COUNTS)
    for name, buffer in make().state_dict().items():
        assert torch.equal(buffer, darp.state_dict()[name]), name


def test_darp_saved_before_a_refinement_continues_bit_for_bit():
    def go(darp, steps):
        return [call(darp, t, predictions(5, 4, t, torch.float32), torch.randperm(12)[:5]) for t in steps]

    whole, first, second = make(), make(), make()
    torch.manual_seed(0)
    expected = go(whole, range(12))
    torch.manual_seed(0)
    go(first, range(7))
    second.load_state_dict(first.state_dict())
    for actual, wanted in zip(go(second, range(7, 12)), expected[7:], strict=True):
        assert torch.equal(actual, wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_distributions_follow_the_dtype_of_the_step(dtype):
    darp = make().to(dtype)
    assert call(darp, 5, predictions(4, 4, dtype=dtype), torch.arange(4)).dtype == dtype


@pytest.mark.parametrize(
    "wrong", [{"goal": "uniform"}, {"warmup": 1.5}, {"every": 0}, {"alpha": 0.0}, {"iterations": 0}]
)
def test_an_impossible_setting_is_refused_by_name(wrong):
    with pytest.raises(UserError, match=rf"^darp\.{next(iter(wrong))}="):
        DarpConfig("darp", **wrong)
