"""Augmentation's random numbers: their ranges, distributions and independence of anything but the generator."""

import dataclasses

import pytest
import torch

from daso.data.views import ViewSpec, draw
from daso.types import View

SPEC = ViewSpec(96, 32, 3, True, 4, 16, (0.5,) * 3, (0.2,) * 3)
N = 40_000


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def strong():
    return draw(View.STRONG, N, generator(), SPEC)


def shares(values: torch.Tensor) -> list[float]:
    return (torch.bincount(values.flatten()) / values.numel()).tolist()


def test_equal_generators_draw_equal_numbers() -> None:
    first, second = (draw(View.STRONG, 64, generator(3), SPEC) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second))


def test_an_image_is_flipped_half_the_time(strong) -> None:
    assert strong.flip.float().mean().item() == pytest.approx(0.5, abs=0.01)


def test_a_data_set_that_must_not_be_flipped_never_is() -> None:
    assert not draw(View.WEAK, N, generator(), dataclasses.replace(SPEC, flip=False)).flip.any()


def test_crop_offsets_are_uniform_over_twice_the_padding(strong) -> None:
    assert shares(strong.crop) == pytest.approx([1 / 9] * 9, abs=0.01)


def test_an_operation_is_applied_half_the_time(strong) -> None:
    assert (strong.op == -1).float().mean().item() == pytest.approx(0.5, abs=0.01)


def test_applied_operations_are_uniform_over_fourteen(strong) -> None:
    assert shares(strong.op[strong.op >= 0]) == pytest.approx([1 / 14] * 14, abs=0.01)


def test_the_two_operations_are_drawn_with_replacement(strong) -> None:
    first, second = strong.op[(strong.op >= 0).all(1)].T
    assert (first == second).float().mean().item() == pytest.approx(1 / 14, abs=0.01)


def test_levels_are_uniform_from_one_to_nine(strong) -> None:
    assert shares(strong.level) == pytest.approx([0.0] + [1 / 9] * 9, abs=0.01)


def test_signs_are_fair_coins(strong) -> None:
    assert set(strong.sign.unique().tolist()) == {-1, 1}
    assert strong.sign.double().mean().item() == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize(("view", "side"), [(View.STRONG, 96), (View.STRONG_LAST, 32)])
def test_cutout_centres_are_uniform_over_the_image_they_are_cut_from(view: View, side: int) -> None:
    centres = draw(view, N, generator(), SPEC).cutout / side
    assert shares((centres * 8).long()) == pytest.approx([1 / 8] * 8, abs=0.01)


def test_no_cutout_means_no_centres() -> None:
    assert draw(View.STRONG, 5, generator(), dataclasses.replace(SPEC, cutout=0)).cutout.shape == (5, 0)


def test_a_weak_view_draws_no_operations() -> None:
    draws = draw(View.WEAK, 5, generator(), SPEC)
    assert [tuple(t.shape) for t in draws] == [(5,), (5, 2), (5, 0), (5, 0), (5, 0), (5, 0)]


def test_the_identity_view_draws_nothing() -> None:
    assert sum(t.numel() for t in draw(View.IDENTITY, 5, generator(), SPEC)) == 0
