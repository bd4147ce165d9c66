"""Whole trajectories of the methods after DASO against recorded ones, in float64: images, rows and weights are the
recording's, the setting is composed from the option files, and the real loop trains.
"""

import json

import numpy as np
import pytest
import torch

from tests.given_logits import GOLDEN
from tests.parity.test_e2e_recorded import arrays
from tests.trajectories_compared import ours, same

pytestmark = pytest.mark.usefixtures("one_thread")
CIFAR10 = "dataset=cifar10", "dataset.mean=[0.4914,0.4822,0.4465]", "dataset.std=[0.2471,0.2435,0.2616]"


def cdmad(theirs, setting):
    start = (setting["debiasstart"] + 1) * setting["eval_step"] / len(theirs["labeled_idx"])
    return "algorithm=fixmatch_cdmad", f"debias.start={start}", "debias.blank_moves_stats=true"


def watch_cdmad(slots, outcome):
    return {"blank": slots.correction.bias, "conf": outcome.target.conf, "label": outcome.target.label}


def simpro(theirs, setting):
    knobs = {"tau": "tau", "every": "eval_step", "momentum": "ema_u"}
    chosen = [f"debias.{ours}={setting[name]}" for ours, name in knobs.items()]
    weight = f"debias.labeled_weight={setting['l_batches'] / setting['u_batches']}"
    return "algorithm=fixmatch_simpro", f"algorithm.threshold={setting['thr']}", weight, *chosen


def watch_simpro(slots, outcome):
    part, target = slots.labeled, outcome.target
    sums = {"dis_unlabeled": part.mass, "count_labeled": part.seen}
    return sums | {"conf": target.conf, "label": target.label}


def acr(theirs, setting):
    names = {"tau": "tau1", "tau_fixed": "tau12", "tau_labeled": "tau2", "every": "eval_step", "momentum": "ema_u"}
    chosen = [f"debias.{ours}={setting[name]}" for ours, name in names.items()]
    start = (setting["est_epoch"] + 1) * setting["eval_step"] / len(theirs["labeled_idx"])
    return "algorithm=fixmatch_acr", f"algorithm.threshold={setting['thr']}", f"debias.start={start}", *chosen


def watch_acr(slots, outcome):
    part = slots.adjustment
    state = {"u_py": part.estimate, "count_KL": part.distance, "tau": part.tau}
    return state | {"label": outcome.target.label}


def ccl(theirs, setting):
    names = {"tau": "tau", "energy": "zeta", "momentum": "alpha", "momentum_all": "beta"}
    names |= {"every": "upbatch", "epoch": "eval_step", "weight": "lambda1", "smooth_weight": "lambda2"}
    chosen = [f"debias.{ours}={setting[name]}" for ours, name in names.items()]
    start = (setting["est_epoch"] + 1) * setting["eval_step"] / len(theirs["labeled_idx"])
    return "algorithm=fixmatch_ccl", f"algorithm.threshold={setting['thr']}", f"debias.start={start}", *chosen


def watch_ccl(slots, outcome):
    part, target = slots.adjustment, outcome.target
    state = {"pi_u": part.unlabeled.prior, "pi_a": part.all.prior, "N_u": part.unlabeled.mass, "N_a": part.all.mass}
    step = {"mask": part.kept, "mask_energy": part.low, "energy": -target.logits.logsumexp(1)}
    return state | step | {"label": target.label, "conf": target.conf}


def nothing(slots):
    """What most slots are told before the first step."""


def every_fifth(slots):
    """The recording marked every fifth unlabeled image as a labeled one."""
    own = slots.adjustment.own
    own.copy_(torch.arange(len(own)) % 5 == 0)


METHODS = {
    "cdmad": (cdmad, watch_cdmad, nothing),
    "simpro": (simpro, watch_simpro, nothing),
    "acr": (acr, watch_acr, every_fifth),
    "ccl": (ccl, watch_ccl, every_fifth),
}
CODE = {"ccl": "acr"}  # whose recipe a method's own code is, where it has another name
OWN = {"cdmad": lambda setting: (f"optim.weight_decay={setting['wd']}",)}
LOSSES = {"Lx": "cls", "Lu": "cons", "Lx_b": "bal_cls", "Lu_b": "bal_cons"}
LOSSES |= {"L_x": "cls", "L_u": "cons", "Lb_x": "bal_cls", "Lb_u": "bal_cons", "L_spl": "smooth", "L_rpl": "reliable"}
FINAL = ("norm", "samples", "buffer_norm", "buffer_samples")


def weights(setting):
    """What a method multiplies its losses by, of which the recording has the plain ones."""
    if "lambda1" not in setting:
        return {}
    labeled, ratio = setting["lambda1"], max(1.5, setting["mu"])
    found = dict.fromkeys(("cls", "bal_cls"), labeled) | dict.fromkeys(("cons", "bal_cons"), labeled * ratio)
    return found | {"smooth": setting["lambda2"], "reliable": 1 - labeled}


@pytest.mark.parametrize(
    ("name", "steps"), [("simpro", 4), *(pytest.param(name, None, marks=pytest.mark.slow) for name in METHODS)]
)
def test_trajectory_in_the_recipe_of_the_paper(name, steps, tmp_path):
    compare(name, "base", tmp_path, steps)


@pytest.mark.parametrize(
    ("name", "steps"),
    [("acr", None), ("cdmad", 5), ("ccl", 5)]
    + [pytest.param(name, None, marks=pytest.mark.slow) for name in METHODS if name != "acr"],
)
def test_trajectory_in_the_recipe_of_its_own_code(name, steps, tmp_path):
    compare(name, "preset", tmp_path, steps, f"recipe={CODE.get(name, name)}", OWN.get(name, lambda setting: ()))


def test_every_method_is_compared_in_both_recipes():
    assert {*METHODS} == {path.stem.partition("_e2e_")[0] for path in GOLDEN.glob("*_e2e_*.npz")}


def compare(name, recording, folder, steps=None, recipe="recipe=daso", more=lambda setting: ()):
    """Hold a method to its recording, or to the first `steps` of it."""
    with np.load(GOLDEN / f"{name}_e2e_{recording}.npz") as file:
        theirs = dict(file)
    setting = json.loads(str(theirs["meta_json"]))
    overrides, watch, prepare = METHODS[name]
    settings = *CIFAR10, recipe, *overrides(theirs, setting)
    settings += f"train.mu={setting['mu']}", f"optim.lr={setting['lr']}", f"optim.ema_decay={setting['ema']}"
    rows, fill = (theirs["labeled_idx"], theirs["unlabeled_idx"]), (setting["fill_seed"], setting["gain"])
    sizes, taken = (len(rows[0]), rows[0].shape[1]), [each[:steps] for each in rows]
    told = {"watch": watch, "prepare": prepare}
    mine = ours((*settings, *more(setting)), *sizes, arrays("pool_c10"), *taken, {}, *fill, folder, **told)
    factors = weights(setting)
    for key, loss in ((key, loss) for key, loss in LOSSES.items() if key in theirs):
        plain = mine[f"loss_{loss}"] / factors.get(loss, 1)
        same(plain[0], theirs[key][0], key, 1e-9)
        same(plain, theirs[key][:steps], key)
    for key in watch_keys(mine, theirs):
        if steps is not None and len(mine[key]) != steps:  # of the run's end
            continue
        known = np.isfinite(theirs[key][:steps])  # before the first period there is no tau
        same(mine[key][known], theirs[key][:steps][known], key)
    if steps is not None:
        return
    for key in (f"{tag}_{what}" for tag in ("model", "ema") for what in FINAL):
        same(mine[key], theirs[key], key)
    corrected = theirs["eval_logits"] - theirs.get("eval_blank", 0)
    same(mine["eval_logits"], theirs.get("eval_logits_b", corrected), "eval_logits")


def watch_keys(mine, theirs):
    return [
        key for key in mine if key in theirs and key not in ("eval_logits",) and not key.startswith(("model_", "ema_"))
    ]
