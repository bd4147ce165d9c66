"""A recorded step, replayed without Python, gives the plain loop's numbers: every learner, slot and protocol."""

import pytest
import torch
from torch.utils._pytree import tree_leaves

from daso.run.build import build, data_of
from daso.train.loop import State, train
from tests.graph.cpu_graph import CpuGraphs
from tests.graph.presets import CORE, EVERY, PRESETS, brief, claims
from tests.training import Rows

CPU = torch.device("cpu")


def trained(config, out_root, graphs):
    rows, state = Rows(), State()
    parts = build(config, CPU, *data_of(config), graphs=graphs)
    train(parts, state, rows, out_root / "checkpoint.pt", {})
    return rows.kept, state.pack(parts) | {"seconds": 0}


@pytest.mark.parametrize("preset", EVERY)
def test_replayed_steps_give_the_plain_loop_s_numbers(preset, tmp_path):
    replays(brief(preset, tmp_path), tmp_path)


@pytest.mark.parametrize("recipe", ["cdmad", "usb"])  # the others change numbers alone
def test_replayed_steps_give_the_plain_loop_s_numbers_in_a_foreign_recipe(recipe, tmp_path):
    replays(brief(f"fixmatch_daso recipe={recipe}", tmp_path), tmp_path)


def replays(config, tmp_path):
    """Recorded steps give the rows and the state of those that are taken one operation after the other."""
    graphs = CpuGraphs()
    rows, state = trained(config, tmp_path, None)
    replayed_rows, replayed_state = trained(config, tmp_path, graphs)
    assert graphs.replayed >= 6
    assert replayed_rows == rows
    leaves, replayed_leaves = tree_leaves(state), tree_leaves(replayed_state)
    assert len(leaves) == len(replayed_leaves)
    for mine, theirs in zip(replayed_leaves, leaves, strict=True):
        assert torch.equal(mine, theirs) if isinstance(mine, torch.Tensor) else str(mine) == str(theirs)


def test_every_learner_slot_and_protocol_is_among_the_presets_of_every_run():
    assert set().union(*map(claims, CORE)) == set().union(*map(claims, PRESETS))
