"""What the comparisons of whole trajectories share: how our runs are set up, and what must agree.

Training is chaotic, so rounding grows along a run: step 0 is held to 1e-9, everything after it to 1e-6.
"""

import numpy as np

from daso.run.stages import own
from tests import trajectory
from tests.compose import config_of

COMMON = (
    "track=none",
    "model=wrn28_2",
    "model.width=1",
    "optim.lr=0.01",
    "train.compile=none",
    "train.channels_last=false",  # in which kernels of float64 are twice as fast; test_first_step.py compares layouts
    "train.log_every=1",
    "train.eval_every=5000",
    "train.checkpoint_every=5000",
)
THRESHOLD = "algorithm.threshold=0.4"
RAMP = "algorithm.ramp_up=0.5"
DASO = ("daso.warmup_steps=3", "daso.update_every=2", "daso.queue_size=4")
LABEL_ONLY = ("optim.warmup=0.5", "optim.milestones=[0.6666667,0.8333333]", "optim.gamma=0.1")

DIAGNOSTIC = {"top1", "top5"}
UNMATCHED = {"loss_names", "losses", "eval_metric_names", "labeled_idx", "unlabeled_idx", "pl_hist_after_step"}


def ours(overrides, steps, batch, *given, **placed):
    """Our run of a setting, under the recordings' keys; what is given goes to `trajectory.record`."""
    config = config_of(*COMMON, f"train.steps={steps}", f"train.batch_size={batch}", *overrides)
    return trajectory.record(own(config), *given, **placed)


def same(actual, expected, name, rtol=1e-6):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=1e-12, err_msg=name)


def assert_same(mine, theirs, left_out, logit_adjusted):
    """Hold our trajectory to another; of theirs, only the keys in `left_out` may have no counterpart.

    `logit_adjusted`: theirs counts the training accuracy after the adjustment, ours before it.
    """
    losses = dict(zip(theirs["loss_names"], theirs["losses"].T, strict=True))
    named = {key for key in trajectory.LOSSES.values() if np.isfinite(mine[key]).any()}
    assert named == {key for key in losses if np.isfinite(losses[key]).any()} - DIAGNOSTIC
    for key in sorted(named):
        same(mine[key][0], losses[key][0], key, 1e-9)
        same(mine[key], losses[key], key)
    if "top1" in losses and not logit_adjusted:
        same(mine["top1"], losses["top1"], "top1")
    if len(mine["hist_in_force"]):
        same(mine["hist_in_force"][1:], theirs["pl_hist_after_step"][:-1], "histogram")
    assert theirs.keys() - mine.keys() <= UNMATCHED | left_out
    for key in sorted(theirs.keys() & mine.keys()):
        same(mine[key][-len(theirs[key]) :], theirs[key], key)  # what begins with the end of a warm-up is shorter
