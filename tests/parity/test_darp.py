"""DARP's refinement and its stepping against the recorded ones, float64."""

from pathlib import Path

import numpy as np
import pytest
import torch

from daso.schema import DarpConfig
from daso.slots.darp import Darp, refine, rescale, solve
from daso.types import Clock

V = np.load(Path(__file__).parents[1] / "golden" / "darp.npz")
CASES = sorted({name.split("/")[0] for name in V.files})


@pytest.fixture(params=CASES)
def recorded(request):
    return lambda name: torch.from_numpy(np.asarray(V[f"{request.param}/{name}"]))


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-9)


def quota(recorded):
    return (recorded("alpha") * recorded("target")).to(torch.int64)


def test_selection_and_scaling(recorded):
    close(rescale(recorded("pseudo_in"), quota(recorded), recorded("target")), recorded("scaled"))


def test_solution(recorded):
    close(solve(recorded("scaled"), recorded("target"), int(recorded("num_iters"))), recorded("refined"))


def test_whole_refinement(recorded):
    actual = refine(recorded("pseudo_in"), quota(recorded), recorded("target"), int(recorded("num_iters")))
    close(actual, recorded("refined"))


def test_what_every_step_returns(recorded):
    steps, warmup = len(recorded("step_idx")), int(recorded("step_warmup_steps"))
    config = DarpConfig(
        "darp",
        alpha=float(recorded("alpha")),
        warmup=warmup / steps,
        every=int(recorded("step_period")),
        iterations=int(recorded("num_iters")),
    )
    store = recorded("step_store_init")
    darp = Darp(recorded("target"), len(store), steps, config).to(torch.float64)
    darp.raw.copy_(store)
    for t in range(steps):
        clock = Clock(torch.tensor(t), torch.tensor(t / steps))
        out = darp.refine(recorded("step_in")[t], recorded("step_idx")[t], clock, tuple(darp.flags(t)))
        close(out, recorded("step_out")[t])
