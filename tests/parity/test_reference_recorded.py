"""The reference of `tests/reference` against what was recorded: whole trajectories, and single steps of the methods
that no open trajectory covers. Here our code is not involved.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.reference import crest, darp, losses
from tests.reference.replay import Run, replay
from tests.reference.settings import settings

GOLDEN = Path(__file__).parents[1] / "golden"
TRAJECTORIES = sorted(path.stem for path in (GOLDEN / "e2e").glob("*.npz") if not path.stem.startswith("pool"))
pytestmark = pytest.mark.usefixtures("one_thread")


@cache
def recorded(name):
    with np.load(GOLDEN / f"{name}.npz") as vectors:
        return dict(vectors)


def tensor(name, key):
    return torch.from_numpy(np.asarray(recorded(name)[key]))


def replayed(name, steps=None):
    """The reference's run on the rows and draws of a recording, or its first steps."""
    r = recorded(f"e2e/{name}")
    setup = json.loads(str(r["config_json"]))
    draws = {kind: r[f"draw_{kind}"] for kind in ("beta", "perm", "rot") if f"draw_{kind}" in r}
    draws["bern_u"] = [r[f"draw_bern_u_{i}"] for i in range(sum("bern_u" in key for key in r))]
    cfg = settings(setup["config_file"], setup["overrides"])
    sizes = setup["num_classes"], setup["steps"]
    run = Run(cfg, recorded("e2e/pool_c10"), *sizes, draws, setup["fill_seed"], setup["linear_gain"])
    return replay(run, r["labeled_idx"][:steps], r["unlabeled_idx"][:steps])


@pytest.mark.parametrize("name", TRAJECTORIES)
def test_first_steps_of_a_trajectory(name):
    r, out = recorded(f"e2e/{name}"), replayed(name, 2)
    losses = dict(zip(r["loss_names"], r["losses"].T, strict=True))
    for key, values in zip(out["loss_names"], out["losses"].T, strict=True):
        np.testing.assert_allclose(values[0], losses[key][0], rtol=1e-9)
        np.testing.assert_allclose(values[1], losses[key][1], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAJECTORIES)
def test_whole_trajectory(name):
    r, out = recorded(f"e2e/{name}"), replayed(name)
    assert list(out["loss_names"]) == list(r["loss_names"])
    assert list(out["eval_metric_names"]) == list(r["eval_metric_names"])
    measured = {key for key in r if key in out and not key.endswith("_names")}
    assert {"losses", "pl_hist_after_step", "model_samples", "mom_norm", "eval_logits", "eval_metrics"} <= measured
    assert ("prototypes" in measured) is ("prototypes" in r)
    for key in measured:
        np.testing.assert_allclose(out[key], r[key], rtol=1e-6, atol=1e-12, err_msg=key)


def close(actual, expected, rtol=1e-9):
    np.testing.assert_allclose(torch.as_tensor(actual).detach(), expected, rtol=rtol, atol=1e-12)


@pytest.mark.parametrize("case", ["c10", "c10_short"])
def test_refinement_by_steps(case):
    """DARP's warm-up, the steps before the first refinement, and refinements."""

    def of(key):
        return tensor("darp", f"{case}/{key}")

    close(darp.scaled(of("pseudo_in"), of("target"), float(of("alpha"))), of("scaled"))
    close(darp.solved(of("scaled"), of("target"), int(of("num_iters"))), of("refined"), 1e-6)
    steps, store = len(of("step_idx")), of("step_store_init")
    cfg = {"ALGORITHM.DARP.ALPHA": float(of("alpha")), "ALGORITHM.DARP.NUM_DARP_ITERS": int(of("num_iters"))}
    cfg |= {"ALGORITHM.DARP.WARMUP_RATIO": int(of("step_warmup_steps")) / steps}
    cfg |= {"ALGORITHM.DARP.PER_ITERS": int(of("step_period"))}
    stepper = darp.Darp(cfg, of("target"), len(store), steps)
    stepper.store = store.clone()
    for idx, p, out in zip(of("step_idx"), of("step_in"), of("step_out"), strict=True):
        close(stepper(p, idx), out, 1e-6)


@pytest.mark.parametrize("case", ["c10", "c10_stl"])
def test_selection_for_a_generation(case):
    r = recorded("crest")
    p = torch.from_numpy(r[f"{case}/predictions"])
    rows, labels = crest.selection(p, r[f"{case}/label_counts"], float(r[f"{case}/alpha"]))
    np.testing.assert_array_equal(rows, r[f"{case}/selected_unlabeled_idx"])
    np.testing.assert_array_equal(labels, r[f"{case}/selected_pseudo_label"])


@pytest.mark.parametrize("generations", [3, 5])
def test_temperature_of_every_generation(generations):
    expected = recorded("crest")[f"da_temperature_{generations}generations_tmin0.5"]
    found = [crest.temperature(g, generations, 0.5) for g in range(1, generations + 1)]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("beta", [0.999, 0.99, 1.0])
@pytest.mark.parametrize(("override", "name"), [("", "cb_ce"), ("LDAM", "ldam")])
def test_deferred_labeled_loss(beta, override, name):
    cfg = {
        "MODEL.LOSS.WITH_LABELED_COST_SENSITIVE": True,
        "MODEL.LOSS.WARMUP_ITERS": 5,
        "MODEL.LOSS.COST_SENSITIVE.LOSS_OVERRIDE": override,
        "MODEL.LOSS.COST_SENSITIVE.BETA": beta,
    }
    z, y, counts = (tensor("losses", f"C10_{key}") for key in ("logits", "labels", "counts"))
    close(losses.labeled_loss(cfg, 4, z, y, counts.double()), recorded("losses")[f"C10_beta{beta}_{name}"])
    close(1.5 * losses.labeled_loss(cfg, 3, z, y, counts.double()), recorded("losses")["C10_ce_mean_lw1.5"])


def test_mutual_information():
    a, b = tensor("losses", "C10_logits"), tensor("losses", "C10_logits2")
    close(losses.negative_information(a, b), recorded("losses")["C10_mi"])
