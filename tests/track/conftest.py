"""A run's folder as trackers find it, and a stand-in for W&B."""

import sys

import pytest
import yaml

from daso.outputs.files import write_json
from daso.outputs.rundir import RunDir
from daso.settings.identity import plain
from tests.compose import tiny
from tests.track.told import Fake


@pytest.fixture(scope="module")
def config():
    return plain(tiny("track=tensorboard", "seed=1"))


@pytest.fixture
def run(tmp_path, config, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    run = RunDir(tmp_path / "outputs", config["run_key"])
    run.path.mkdir(parents=True)
    run.resolved.write_text(yaml.safe_dump(config))
    write_json(run.card, {"name": "a run", "steps": 60, "tags": {"overrides": "seed=1", "sweep_name": "the sweep"}})
    return run


@pytest.fixture
def fake(monkeypatch):
    fake = Fake()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake
