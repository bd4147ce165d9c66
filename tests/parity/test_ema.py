"""The teacher's update against eight recorded ones (ema.npz)."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from daso.nn import ema
from daso.nn.norm import BatchNorm

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "ema.npz")
CASES = [("wd0_fwd0", False), ("wd0_fwd1", True)]


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.bn = BatchNorm(4)
        self.fc = nn.Linear(4, 3)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn(self.conv(x)).mean((2, 3))


def vector(net: nn.Module) -> torch.Tensor:
    return nn.utils.parameters_to_vector(net.parameters()).detach()


def statistics(net: Small) -> np.ndarray:
    return torch.cat([net.bn.running_mean, net.bn.running_var]).numpy()


@pytest.mark.parametrize(("case", "teacher_sees_images"), CASES)
def test_teacher_follows_the_recorded_trajectory(case: str, teacher_sees_images: bool) -> None:
    x = torch.from_numpy(GOLDEN[f"{case}_x"])
    parameters = torch.from_numpy(GOLDEN[f"{case}_param_vec"])
    student = Small().double()
    nn.utils.vector_to_parameters(parameters[0], student.parameters())
    teacher = copy.deepcopy(student)
    for t in range(8):
        if teacher_sees_images:
            teacher.encode(x[t])
        student.encode(x[t])
        np.testing.assert_allclose(statistics(student), GOLDEN[f"{case}_bn_buffers"][t, :8], rtol=0, atol=1e-12)
        nn.utils.vector_to_parameters(parameters[t + 1], student.parameters())
        ema.update(student, teacher, torch.tensor(t), float(GOLDEN[f"{case}_decay"]))
        np.testing.assert_allclose(vector(teacher), GOLDEN[f"{case}_ema_param_vec"][t], rtol=0, atol=1e-12)
        np.testing.assert_allclose(statistics(teacher), GOLDEN[f"{case}_ema_bn_buffers"][t, :8], rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", ["wd0_fwd0", "wd0.01_fwd0"])
def test_decay_grows_to_its_limit_as_recorded(case: str) -> None:
    limit = float(GOLDEN[f"{case}_decay"])
    used = [float(ema.ema_decay(torch.tensor(t), limit)) for t in range(8)]
    np.testing.assert_allclose(used, GOLDEN[f"{case}_decay_used"], rtol=0, atol=1e-12)
