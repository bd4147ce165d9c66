"""Whole trajectories against the recorded ones, in float64: images, rows and random draws are the recording's, the
setting is composed from the option files, and the real loop trains.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.trajectories_compared import DASO, LABEL_ONLY, RAMP, THRESHOLD, assert_same, ours

GOLDEN = Path(__file__).parents[1] / "golden" / "e2e"
OURS = {
    "supervised_la": ("algorithm=supervised_la", *LABEL_ONLY),
    "fixmatch": ("algorithm=fixmatch", THRESHOLD),
    "fixmatch_abc": ("algorithm=fixmatch_abc", THRESHOLD),
    "fixmatch_daso": ("algorithm=fixmatch_daso", *DASO, THRESHOLD),
    "meanteacher": ("algorithm=meanteacher",),
    "mixmatch": ("algorithm=mixmatch", RAMP),
    "remixmatch": ("algorithm=remixmatch", RAMP),
    "remixmatch_daso": ("algorithm=remixmatch_daso", *DASO),
}
CONTAINED = {"fixmatch", "remixmatch"}  # in the warm-ups of those with DASO
DRAWS = ("draw_beta", "draw_perm", "draw_rot")
UNSEEN = {"n_params", "params_first", "param_names", "config_json", *DRAWS}  # what the runs start from
UNSEEN |= {"losses_f32", "eval_logits_f32", "max_abs_f32_f64_loss_gap"}

pytestmark = pytest.mark.usefixtures("one_thread")


def arrays(name):
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in CONTAINED else ()) for n in OURS])
def test_whole_trajectory(name, tmp_path):
    theirs = arrays(name)
    setting = json.loads(str(theirs["config_json"]))
    coins = [key for key in theirs if key.startswith("draw_bern_u_")]
    draws = {key.removeprefix("draw_"): theirs[key] for key in DRAWS if key in theirs}
    draws["bern_u"] = [theirs[f"draw_bern_u_{i}"] for i in range(len(coins))]
    rows, fill = (theirs["labeled_idx"], theirs["unlabeled_idx"]), (setting["fill_seed"], setting["linear_gain"])
    settings, sizes = ("dataset=cifar10", *OURS[name]), (setting["steps"], setting["batch"])
    mine = ours(settings, *sizes, arrays(setting["pool"]), *rows, draws, *fill, tmp_path)
    assert_same(mine, theirs, UNSEEN | set(coins), name.endswith("_la"))


def test_every_recording_is_compared():
    assert set(OURS) == {p.stem for p in GOLDEN.glob("*.npz")} - {"pool_c10"}
