"""How far other kernels move the losses of a first step: what the tests on a GPU allow there."""

import pytest
import torch

from daso.run.build import build, data_of
from tests.graph.presets import CORE, brief

CPU = torch.device("cpu")
FIRST_STEP = {"rel": 1e-4, "abs": 1e-6}  # in fp32


def first_losses(config):
    parts = build(config, CPU, *data_of(config))
    parts.engine(parts.engine.draw(0, 0, 1000, 0.03), parts.method.flags(0))
    return {name: value for name, value in parts.meters.read_train().get().items() if name.startswith("loss")}


@pytest.mark.parametrize("preset", CORE)
def test_sums_in_another_order_leave_the_losses_of_a_first_step(preset, tmp_path):
    """Images that lie in memory the other way are summed in another order, as a compiler's kernels do."""
    last, first = (first_losses(brief(preset, tmp_path, f"train.channels_last={last}")) for last in ("true", "false"))
    assert first == pytest.approx(last, **FIRST_STEP)
