"""Learning-rate schedules and ramp-ups against the recorded curves (schedules.npz)."""

from pathlib import Path

import numpy as np
import pytest
import torch

from daso.schema import OptimConfig, Schedule
from daso.train.schedule import learning_rate, ramp_up

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "schedules.npz")
STEPS = GOLDEN["steps"]
SUPERVISED = {"lr": 0.1, "warmup": 0.025, "milestones": [0.799996, 0.9], "gamma": 0.01}  # of 250,000 steps


def curve(schedule: Schedule, steps: int = 250_000, lr: float = 0.03, **knobs: object) -> np.ndarray:
    optim = OptimConfig(name="sgd", lr=lr, schedule=schedule, **knobs)
    return np.array([learning_rate(optim, int(t), steps) for t in STEPS])


def close(actual: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


@pytest.mark.parametrize("steps", [250_000, 50_000])
def test_cosine_equals_the_recorded_curve(steps: int) -> None:
    close(curve(Schedule.cosine, steps), GOLDEN[f"cosine_base0.03_max{steps}_ratio7"])


def test_supervised_multistep_with_warmup_equals_the_recorded_curve() -> None:
    key = "multistep_base0.1_steps199999_225000_gamma0.01_warm6250_factor0"
    close(curve(Schedule.multistep, **SUPERVISED), GOLDEN[key])


@pytest.mark.parametrize("schedule", [Schedule.multistep, Schedule.constant])
def test_no_milestone_in_reach_leaves_the_rate_constant(schedule: Schedule) -> None:
    close(curve(schedule), GOLDEN["multistep_base0.03_steps400000_gamma0.2_nowarm"])


def test_linear_warmup_of_a_cosine_equals_the_recorded_curve() -> None:
    """The recorded warm-up starts at factor 0.1, which is affine in the factor between none and a start at 0."""
    from_zero, none = curve(Schedule.cosine, warmup=0.004), curve(Schedule.cosine)
    close(0.9 * from_zero + 0.1 * none, GOLDEN["cosine_base0.03_max250000_ratio7_warm1000_linear_factor0.1"])


def test_cosine_of_another_ratio_equals_the_recorded_curve_after_its_warmup() -> None:
    late = STEPS >= 500
    expected = GOLDEN["cosine_base0.1_max250000_ratio5_warm500_constant_factor0.2"]
    close(curve(Schedule.cosine, lr=0.1, cosine_ratio=5.0)[late], expected[late])


@pytest.mark.parametrize("form", ["float", "tensor"])
@pytest.mark.parametrize("ratio", [0.4, 0.016])
@pytest.mark.parametrize("kind", ["linear", "exp"])
def test_ramp_up_equals_the_recorded_curve(kind: str, ratio: float, form: str) -> None:
    progress = [int(t) / 250_000 for t in STEPS]
    if form == "tensor":
        actual = [float(ramp_up(torch.tensor(x, dtype=torch.float64), ratio, kind)) for x in progress]
    else:
        actual = [ramp_up(x, ratio, kind) for x in progress]
    close(np.array(actual), GOLDEN[f"rampup_{kind}_max250000_ratio{ratio}"])
