import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from daso.schema import OptimConfig, Schedule
from daso.train.schedule import learning_rate, lr_factor, ramp_up

SUPERVISED = OptimConfig(
    "sgd", lr=0.1, schedule=Schedule.multistep, warmup=0.025, milestones=[0.799996, 0.9], gamma=0.01
)


def drops(steps: int) -> list[int]:
    """The steps at which the rate of the supervised schedule falls."""
    rates = [learning_rate(SUPERVISED, t, steps) for t in range(steps)]
    return [t for t in range(1, steps) if rates[t] < rates[t - 1]]


def test_supervised_milestones_are_the_reference_integers_at_250000_steps() -> None:
    at = {t: learning_rate(SUPERVISED, t, 250_000) for t in (199_998, 199_999, 224_999, 225_000)}
    assert list(at.values()) == pytest.approx([0.1, 1e-3, 1e-3, 1e-5], rel=1e-12)


def test_a_short_run_drops_at_the_same_fractions() -> None:
    assert drops(1000) == [800, 900]
    assert drops(20) == [16, 18]


def test_warmup_starts_at_exactly_zero_and_ends_at_its_fraction() -> None:
    rates = [learning_rate(SUPERVISED, t, 1000) for t in range(26)]
    assert rates[0] == 0
    assert rates == pytest.approx([0.1 * t / 25 for t in range(26)], rel=1e-12)


@given(schedule=st.sampled_from(list(Schedule)), steps=st.integers(1, 10**6), data=st.data())
def test_factor_stays_between_zero_and_one(schedule: Schedule, steps: int, data: st.DataObject) -> None:
    step = data.draw(st.integers(0, steps - 1))
    optim = OptimConfig("sgd", 0.03, schedule, warmup=data.draw(st.floats(0, 1)), milestones=[0.5, 0.9])
    assert 0 <= lr_factor(optim, step, steps) <= 1


def test_cosine_of_fixmatch_ends_near_a_fifth() -> None:
    """cos(7 pi / 16) = 0.195."""
    assert lr_factor(OptimConfig("sgd", 0.03, Schedule.cosine), 10**6, 10**6) == pytest.approx(0.19509, abs=1e-5)


@pytest.mark.parametrize("kind", ["linear", "exp"])
def test_ramp_up_is_one_from_its_ratio_on(kind: str) -> None:
    assert ramp_up(0.4, 0.4, kind) == ramp_up(0.9, 0.4, kind) == 1
    assert ramp_up(0.39, 0.4, kind) < 1


def test_ramp_up_of_a_tensor_stays_a_device_scalar() -> None:
    weight = ramp_up(torch.tensor(0.1, dtype=torch.float64), 0.4, "linear")
    assert (weight.shape, weight.dtype, float(weight)) == ((), torch.float64, 0.25)
