"""A run that is built on another one, where files of that one are damaged or gone."""

import shutil
from dataclasses import replace

import pytest
import torch

from daso.errors import UserError
from daso.outputs.rundir import RunDir
from daso.run import stages
from daso.run.start import run
from tests.compose import NOWHERE
from tests.resume.damaged import (
    FINISHED,
    damage,
    folder_of,
    kill_at,
    numbers,
    rows,
    short,
)


@pytest.fixture(scope="module", params=["fixmatch_darp", "supervised_crt"])
def built(request, tmp_path_factory):
    """A finished run, the one that it was built on, and an out_root with the first stopped, the other finished."""
    preset = f"algorithm={request.param}"
    config = short(tmp_path_factory.mktemp("whole"), preset)
    found = 10 + torch.arange(10, dtype=torch.float64), 1.0  # an estimate that is none of the defaults
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("daso.protocol.estimate.estimate", lambda *args: found)
        run(config, NOWHERE)
    [needed] = stages.prerequisites(config)
    partial = short(tmp_path_factory.mktemp("partial"), preset)
    shutil.copytree(folder_of(needed).path, RunDir(partial.out_root, needed.run_key).path)
    kill_at(partial, 4)
    return config, needed, partial.out_root


@pytest.fixture
def stopped_run(built, tmp_path):
    """A copy of the stopped one: its configuration, and the folder of the other."""
    config, needed, partial = built
    shutil.copytree(partial, tmp_path, dirs_exist_ok=True)
    return replace(config, out_root=str(tmp_path)), RunDir(tmp_path, needed.run_key)


def test_a_partial_run_goes_on_without_those_that_it_is_built_on(built, stopped_run):
    config, needed = stopped_run
    needed.remove()
    run(config, NOWHERE)
    assert not needed.path.exists()
    assert (rows(config), numbers(config)) == (rows(built[0]), numbers(built[0]))
    run(replace(config, eval_only=True), NOWHERE)
    folder_of(config).summary.write_text("{}")
    run(config, NOWHERE)
    assert numbers(config) == numbers(built[0])


@pytest.mark.parametrize("name", FINISHED)
@pytest.mark.parametrize("how", ["a byte flipped at 0.6", "empty", "deep"])
def test_a_run_built_on_a_damaged_one(built, stopped_run, name, how, monkeypatch):
    config, needed = stopped_run
    folder_of(config).remove()
    damage(needed.path / name, how)
    try:
        run(config, NOWHERE)
    except UserError as refusal:
        assert name in str(refusal)  # noqa: PT017
        assert name == "checkpoint.pt"
        return
    assert (rows(config), numbers(config)) == (rows(built[0]), numbers(built[0]))
