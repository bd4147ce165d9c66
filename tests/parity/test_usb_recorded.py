"""Whole trainings in USB's recipe against recorded ones (beyond/usb_e2e.npz), in float64, through the real loop."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.compose import config_of
from tests.golden_fill import fill_usb, usb_parameters
from tests.trajectory import record

GOLDEN = Path(__file__).parents[1] / "golden"
CIFAR10 = "dataset.mean=[0.4914,0.4822,0.4465]", "dataset.std=[0.2471,0.2435,0.2616]"  # of the pool's recordings
KEYS = ("loss", "loss_cls", "loss_cons", "model_norm", "model_samples", "ema_norm", "ema_samples", "eval_logits")
RENAMED = {"label": "pl_per_step", "weight": "mask_per_step", "momentum_norm": "mom_norm", "buffer_samples": "model_buffer_samples"}  # fmt: skip
MOVING = "confidence.momentum=0.9"
METHODS = {
    "fixmatch": ("algorithm=fixmatch",),
    "freematch": ("algorithm=fixmatch_freematch", MOVING, "confidence.fair_weight=0.01"),
    "flexmatch": ("algorithm=fixmatch_flexmatch",),
    "softmatch": ("algorithm=fixmatch_softmatch", MOVING),
}
CONTAINED = {"fixmatch"}  # in the others, which are FixMatch with another threshold or weight
STATES = {  # what a recording holds at its end -> the slot's
    "freematch": {"state_tau": "level", "state_p_model": "predicted", "state_label_hist": "given"},
    "flexmatch": {"state_selected": "store"},
    "softmatch": {"state_mu": "mean", "state_var": "variance", "state_p_model": "predicted"},
}

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in CONTAINED else ()) for n in METHODS])
def test_whole_trajectory(name, tmp_path):
    with np.load(GOLDEN / "beyond" / "usb_e2e.npz") as file:
        theirs = {key.partition("/")[2]: file[key] for key in file.files if key.startswith(f"{name}/")}
    with np.load(GOLDEN / "e2e" / "pool_c10.npz") as file:
        pool = dict(file)
    meta, names = json.loads(str(theirs["meta_json"])), [str(n) for n in theirs["param_names"]]
    config = config_of(
        *("dataset=cifar10", "recipe=usb", *METHODS[name], *CIFAR10, f"model.width={meta['width']}"),
        *(f"algorithm.threshold={meta['threshold']}", f"optim.lr={meta['lr']}", f"optim.ema_decay={meta['ema_m']}"),
        *(f"train.steps={meta['schedule_steps']}", f"train.batch_size={meta['B']}", f"train.mu={meta['mu']}"),
        *("train.log_every=1", "train.eval_every=100", "train.checkpoint_every=100"),
    )
    rows, seed, gain = (theirs["labeled_idx"], theirs["unlabeled_idx"]), meta["fill_seed"], meta["linear_gain"]

    def filler(net, seed, gain):
        fill_usb(net, seed, names, gain)

    kept = STATES.get(name, {})

    def watch(slots, outcome):
        return {key: getattr(slots.confidence, ours).clone() for key, ours in kept.items()}

    order = partial(usb_parameters, names=names)
    mine = record(config, pool, *rows, {}, seed, gain, tmp_path, watch=watch, filler=filler, order=order)
    mine |= {key: mine[key][-1] for key in kept}
    terms = (mine[f"loss_{name}"] for name in ("cls", "cons", "fair"))
    mine["loss"] = sum(term for term in terms if np.isfinite(term).all())
    for key, ours in {**{key: key for key in (*KEYS, *kept)}, **RENAMED}.items():
        found, expected = np.asarray(mine[ours], dtype=np.float64), theirs[key]
        np.testing.assert_allclose(
            found, expected, rtol=1e-8, atol=1e-8 * max(1.0, np.abs(expected).max()), err_msg=key
        )
