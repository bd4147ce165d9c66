"""What only a GPU can show."""

import pytest
import torch

from daso.build import build, configure_torch, data_of
from daso.train.loop import make_clock
from daso.train.optimizer import set_lr
from daso.train.step import draw_noise
from tests.compose import tiny

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("algorithm", ["fixmatch", "fixmatch_daso"])
def test_a_hundred_steps_never_wait_for_the_device(algorithm):
    config = tiny(f"algorithm={algorithm}", "device=cuda", "train.steps=200")
    device = torch.device("cuda")
    configure_torch(config, device)
    parts = build(config, device, *data_of(config))

    def one(step: int) -> None:
        batch, truth = parts.feed(step)
        noise = draw_noise(parts.draws, parts.generator, step, device)
        set_lr(parts.optimizer, 0.03)
        outcome = parts.step(batch, noise, make_clock(step, 200, device), parts.slots.flags(step))
        parts.meters.add(outcome, batch.y, truth)

    for step in range(10):
        one(step)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(10, 110):
            one(step)
    finally:
        torch.cuda.set_sync_debug_mode("default")
