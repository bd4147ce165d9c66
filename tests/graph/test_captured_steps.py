"""A recorded step, replayed without Python, gives the plain loop's numbers: every learner, slot and protocol."""

from pathlib import Path

import pytest
import torch
from torch.utils._pytree import tree_leaves

from daso.run.build import build, data_of
from daso.run.stages import own, prerequisites
from daso.run.start import run
from daso.train.loop import State, train
from tests.compose import NOWHERE, config_of, readable
from tests.graph.cpu_graph import CpuGraphs
from tests.training import Rows

CPU = torch.device("cpu")
PRESETS = sorted(path.stem for path in (Path(__file__).resolve().parents[2] / "conf" / "algorithm").glob("*.yaml"))
CORE = {  # every learner, slot, flag and protocol once; the others are combinations of them
    "fixmatch_abc_daso",
    "fixmatch_boss",
    "fixmatch_la_darp",
    "meanteacher_daso",
    "mixmatch_daso",
    "pseudolabel",
    "remixmatch_crest_plus",
    "remixmatch_daso",
    "supervised_crt",
    "supervised_ldam_drw",
    "usadtm",
}


def trained(preset, out_root, graphs):
    choices = "experiment=quickstart", f"algorithm={preset}"
    config = config_of(
        *choices,
        "track=none",
        f"out_root={out_root}",
        "imb.gamma_u=10",
        "train.steps=20",
        "train.batch_size=4",
        "train.eval_every=10",
        "train.log_every=5",
        "train.checkpoint_every=100",
        "daso.warmup_steps=8",
        "daso.update_every=4",
        "darp.every=2",
        "darp.goal=labeled",
        *readable(choices, ["protocol.generations=2", "protocol.retrain=1", "supervised.defer=0.5"]),
    )
    for stage in prerequisites(config):
        run(stage, NOWHERE)
    config, rows, state = own(config), Rows(), State()
    parts = build(config, CPU, *data_of(config), graphs=graphs)
    train(parts, state, rows, out_root / "checkpoint.pt", {})
    return rows.kept, state.pack(parts) | {"seconds": 0}


@pytest.mark.parametrize("preset", [p if p in CORE else pytest.param(p, marks=pytest.mark.slow) for p in PRESETS])
def test_replayed_steps_give_the_plain_loop_s_numbers(preset, tmp_path):
    graphs = CpuGraphs()
    rows, state = trained(preset, tmp_path, None)
    replayed_rows, replayed_state = trained(preset, tmp_path, graphs)
    assert graphs.replayed >= 10
    assert replayed_rows == rows
    leaves, replayed_leaves = tree_leaves(state), tree_leaves(replayed_state)
    assert len(leaves) == len(replayed_leaves)
    for mine, theirs in zip(replayed_leaves, leaves, strict=True):
        assert torch.equal(mine, theirs) if isinstance(mine, torch.Tensor) else str(mine) == str(theirs)
