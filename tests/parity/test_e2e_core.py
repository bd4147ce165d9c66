"""Whole training runs on recorded batches against the recorded trajectories, float64.

Training is chaotic: rounding grows along a run. So step 0 is held to 1e-9, everything after it to 1e-6.
"""

import json
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from daso.learners.fixmatch import FixMatch
from daso.learners.meanteacher import MeanTeacher
from daso.learners.mixmatch import MixMatch
from daso.learners.remixmatch import ReMixMatch
from daso.learners.supervised import Supervised
from daso.nn.net import Net
from daso.nn.wrn import WideResNet
from daso.schema import (
    AbcConfig,
    DasoConfig,
    MeanTeacherAlgorithm,
    MixMatchAlgorithm,
    OptimConfig,
    ReMixMatchAlgorithm,
    Schedule,
)
from daso.slots.abc import Abc
from daso.slots.align import DistributionAlignment
from daso.slots.daso import Daso
from daso.slots.slots import Slots
from daso.slots.supervised import CrossEntropy, LogitAdjusted
from daso.train import evaluate
from daso.train.optimizer import Sgd, set_lr
from daso.train.schedule import learning_rate
from daso.train.step import TrainStep
from daso.types import Batch, Clock, Nets
from tests.golden_fill import fill, parameters_in_order, sample

GOLDEN = Path(__file__).parents[1] / "golden" / "e2e"
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)
VIEW_ROWS = {FixMatch: (1, 2), MeanTeacher: (1, 0), MixMatch: (1, 0), ReMixMatch: (1, 2, 3)}  # of the recorded pool
CLASSES = 10
LOSSES = {"loss_cls": "cls", "loss_cons": "cons", "loss_assign": "align", "loss_kl": "kl", "loss_rotation": "rot"}
LOSSES["loss_abc"] = "abc"
DRAWS = {"draw_beta": "lam", "draw_perm": "perm", "draw_rot": "rot"}


def images(u8):
    """uint8 [...,H,W,3] -> normalised float64 [...,3,H,W]."""
    x = (torch.from_numpy(u8).to(torch.float64) / 255 - torch.tensor(MEAN, dtype=torch.float64)) / torch.tensor(
        STD, dtype=torch.float64
    )
    return x.movedim(-1, -3)


def method(name, counts):
    """Learner, slots and optimizer settings of a recorded run."""
    constant = OptimConfig(name="sgd", lr=0.01, schedule=Schedule.constant)
    if name == "supervised_la":
        optim = OptimConfig(
            name="sgd", lr=0.01, schedule=Schedule.multistep, warmup=3 / 6, milestones=[4 / 6, 5 / 6], gamma=0.1
        )
        return Supervised(), Slots(LogitAdjusted(counts, 1.0)), optim
    if name == "fixmatch":
        return FixMatch(0.4), Slots(CrossEntropy()), constant
    if name == "fixmatch_abc":
        return FixMatch(0.4), Slots(CrossEntropy(), extras=[Abc(counts, 0.4, AbcConfig("abc"))]), constant
    if name == "meanteacher":
        return MeanTeacher(MeanTeacherAlgorithm(name)), Slots(CrossEntropy()), constant
    if name == "mixmatch":
        return MixMatch(MixMatchAlgorithm(name, ramp_up=0.5)), Slots(CrossEntropy()), constant
    if name == "remixmatch":
        learner = ReMixMatch(ReMixMatchAlgorithm(name, ramp_up=0.5))
        return learner, Slots(CrossEntropy(), DistributionAlignment(counts)), constant
    learner = FixMatch(0.4) if name == "fixmatch_daso" else ReMixMatch(ReMixMatchAlgorithm(name))
    config = DasoConfig(name="daso", t_proto=0.05, t_dist=1.5, queue_size=4, warmup_steps=3, update_every=2)
    return learner, Slots(CrossEntropy(), semantic=Daso(CLASSES, 64, config)), constant


@cache
def run(name):
    """Replay a recorded run with this project's step; every step's outcome, then the final state."""
    recorded, pool = np.load(GOLDEN / f"{name}.npz"), np.load(GOLDEN / "pool_c10.npz")
    settings = json.loads(str(recorded["config_json"]))
    steps = settings["steps"]
    counts = torch.from_numpy(np.bincount(pool["labeled_y"], minlength=CLASSES))
    learner, slots, optim = method(name, counts)
    slots.to(torch.float64)
    heads = (*learner.heads, slots.head)
    nets = Nets(*(Net(WideResNet(28, 1), CLASSES, heads).to(torch.float64) for _ in range(2)))
    for net in nets:
        fill(net, settings["fill_seed"], settings["linear_gain"])
    nets.teacher.requires_grad_(False)
    optimizer = Sgd(nets.student.parameters(), optim)
    step = TrainStep(nets, learner, slots, optimizer, 0.999)
    outcomes, hists = [], []
    for t in range(steps):
        labeled, unlabeled = recorded["labeled_idx"][t], recorded["unlabeled_idx"][t]
        batch = Batch(
            images(pool["labeled"][labeled]),
            torch.from_numpy(pool["labeled_y"][labeled]),
            tuple(images(pool["unlabeled_views"][row][unlabeled]) for row in VIEW_ROWS.get(type(learner), ())),
            torch.from_numpy(unlabeled),
        )
        set_lr(optimizer, learning_rate(optim, t, steps))
        clock = Clock(torch.tensor(t), torch.tensor(t / steps, dtype=torch.float64))
        noise = {name: torch.tensor(recorded[key][t]) for key, name in DRAWS.items() if key in recorded.files}
        if slots.extras:
            masks = (recorded[f"draw_bern_u_{2 * t + i}"] for i in range(2))
            noise |= zip(("abc/labeled", "abc/unlabeled"), map(torch.from_numpy, masks), strict=True)
        outcomes.append((batch, step(batch, noise, clock, slots.flags(t))))
        if slots.semantic is not None:
            hists.append(slots.semantic.hist.clone())
    return SimpleNamespace(
        recorded=recorded,
        pool=pool,
        steps=steps,
        counts=counts,
        nets=nets,
        slots=slots,
        optimizer=optimizer,
        outcomes=outcomes,
        hists=hists,
        evaluated=nets.student if learner.evaluates_student else nets.teacher,
    )


RUNS = [
    "supervised_la",
    "fixmatch",
    "fixmatch_abc",
    "fixmatch_daso",
    "meanteacher",
    "mixmatch",
    "remixmatch",
    "remixmatch_daso",
]


def close(actual, expected, tolerance):
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=1e-12)


def parameters(net):
    return [p.detach() for _, _, p in parameters_in_order(net)]


def buffers(net):
    return [b for b in net.buffers() if b.is_floating_point()]


@pytest.mark.parametrize("name", RUNS)
def test_losses_of_every_step(name):
    r = run(name)
    for t, (_, outcome) in enumerate(r.outcomes):
        row = dict(zip(r.recorded["loss_names"], r.recorded["losses"][t], strict=True))
        expected = {LOSSES[k]: v for k, v in row.items() if k in LOSSES and not np.isnan(v)}
        assert set(outcome.losses) == set(expected)
        for key, value in expected.items():
            np.testing.assert_allclose(outcome.losses[key], value, rtol=1e-9 if t == 0 else 1e-6)


@pytest.mark.parametrize("name", sorted({*RUNS} - {"fixmatch_daso"}))  # of which none was recorded
def test_training_accuracy_of_every_step(name):
    r = run(name)
    column = list(r.recorded["loss_names"]).index("top1")
    shift = torch.from_numpy(r.recorded["p_data"]).log() if name == "supervised_la" else 0  # recorded after adjustment
    for t, (batch, outcome) in enumerate(r.outcomes):
        right = ((outcome.logits_l + shift).argmax(1) == batch.y).double().mean()
        assert right * 100 == pytest.approx(r.recorded["losses"][t, column])


@pytest.mark.parametrize("name", ["fixmatch", "fixmatch_abc", "fixmatch_daso"])
def test_pseudo_labels_and_masks_of_every_step(name):
    r = run(name)
    for t, (_, outcome) in enumerate(r.outcomes):
        np.testing.assert_array_equal(outcome.target.label, r.recorded["pl_per_step"][t])
        np.testing.assert_array_equal(outcome.target.conf >= 0.4, r.recorded["mask_per_step"][t])


def test_linear_and_semantic_labels_of_every_step():
    r = run("fixmatch_daso")
    for t, (_, outcome) in enumerate(r.outcomes):
        target = outcome.target
        np.testing.assert_array_equal(target.label, r.recorded["log_pseudo_labels"][t])
        np.testing.assert_array_equal(target.linear.label, r.recorded["log_linear_pl"][t])
        close(target.conf, r.recorded["log_pl_confidence"][t], 1e-9 if t == 0 else 1e-6)
        semantic = np.full(16, -1) if target.semantic is None else target.semantic.label
        np.testing.assert_array_equal(semantic, r.recorded["log_sem_pl"][t])


def test_blended_and_semantic_labels_of_every_step_of_a_sharpening_learner():
    r = run("remixmatch_daso")
    for t, (_, outcome) in enumerate(r.outcomes):
        np.testing.assert_array_equal(outcome.target.label, r.recorded["log_pseudo_labels"][t])
        close(outcome.target.conf, r.recorded["log_pl_confidence"][t], 1e-9 if t == 0 else 1e-6)
    semantic = [outcome.target.semantic for _, outcome in r.outcomes]
    assert semantic[:3] == [None] * 3
    np.testing.assert_array_equal([s.label.tolist() for s in semantic[3:]], r.recorded["log_sem_pl"])


@pytest.mark.parametrize("name", ["fixmatch_daso", "remixmatch_daso"])
def test_histogram_in_force_at_every_step(name):
    r = run(name)
    for t in range(1, r.steps):
        np.testing.assert_array_equal(r.hists[t], r.recorded["pl_hist_after_step"][t - 1])


@pytest.mark.parametrize("name", ["fixmatch_daso", "remixmatch_daso"])
def test_prototypes_at_the_end(name):
    r = run(name)
    close(r.slots.semantic.prototypes.means(), r.recorded["prototypes"], 1e-6)


@pytest.mark.parametrize("name", RUNS)
def test_networks_at_the_end(name):
    r = run(name)
    nets = {"model": r.nets.student, "ema": r.nets.teacher}
    for tag in [tag for tag in nets if f"{tag}_norm" in r.recorded.files]:
        net = nets[tag]
        close([p.norm() for p in parameters(net)], r.recorded[f"{tag}_norm"], 1e-6)
        close(sample(parameters(net), 64), r.recorded[f"{tag}_samples"], 1e-6)
        close([b.norm() for b in buffers(net)], r.recorded[f"{tag}_buffer_norm"], 1e-6)
        close(sample(buffers(net), 16), r.recorded[f"{tag}_buffer_samples"], 1e-6)


@pytest.mark.parametrize("name", RUNS)
def test_momentum_at_the_end(name):
    r = run(name)
    momenta = [r.optimizer.state[p]["momentum_buffer"] for _, _, p in parameters_in_order(r.nets.student)]
    close([m.norm() for m in momenta], r.recorded["mom_norm"], 1e-6)


@pytest.mark.parametrize("name", RUNS)
def test_evaluation_at_the_end(name):
    r = run(name)
    r.evaluated.eval()
    with torch.no_grad():
        logits = r.evaluated.predict(images(r.pool["eval"]), r.slots.head)
    close(logits, r.recorded["eval_logits"], 1e-6)
    prior = r.counts / r.counts.sum()
    np.testing.assert_allclose(prior, r.recorded["p_data"], rtol=1e-6)
    log_prior = torch.from_numpy(r.recorded["p_data"]).log()
    tallies = evaluate.evaluate(lambda x: logits, logits, torch.from_numpy(r.pool["eval_y"]), log_prior)
    metrics = evaluate.metrics(*tallies, {}, "test")
    for key, value in zip(r.recorded["eval_metric_names"], r.recorded["eval_metrics"], strict=True):
        assert metrics[f"test/{key}"] == pytest.approx(value, rel=1e-6)
