"""A run with a password in the URL of its store leaves it nowhere."""

import pytest

from daso.outputs.rundir import RunDir
from daso.run.start import run
from daso.schema import Provenance
from daso.track import follower
from tests import warm
from tests.compose import tiny

SECRET = "http://ann:s3cret@127.0.0.1:9"


def test_neither_the_folder_of_a_run_nor_its_console_shows_a_password(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(follower, "STALL", 1.0)
    short = ["train.steps=10", "train.eval_every=10", "train.checkpoint_every=5", "daso.warmup_steps=10"]
    overrides = ["track=mlflow", f"track.uri='{SECRET}'", f"tune.storage='mysql://ann:s3cret@h{'/db'}'"]
    config = tiny(*short, *overrides, f"out_root={tmp_path}")
    warnings = [f"track.uri={SECRET} is odd."]
    run(config, Provenance(overrides, {}, False, warnings, f"uri={SECRET}", {"sweep_command": f"python {SECRET}"}))
    folder = RunDir(config.out_root, config.run_key)
    assert folder.done.exists()
    files = [path for path in folder.path.rglob("*") if path.is_file()]
    assert {"run.json", "resolved.yaml"} <= {path.name for path in files}
    assert [path.name for path in files if b"s3cret" in path.read_bytes()] == []
    said = "".join(capfd.readouterr())
    assert "http://***@127.0.0.1:9 is odd" in said
    assert said.count("brings it up to date") == 1
    assert "s3cret" not in said


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_sweep_leaves_no_password_in_any_file_whoever_wrote_it(tmp_path, launcher):
    short = ["experiment=quickstart", "track=none", "train.steps=4", "train.eval_every=4", "train.batch_size=4"]
    hydra = ["hydra/sweeper=basic", f"hydra/launcher={launcher}", "hydra.output_subdir=.hydra"]  # which save copies
    secret = [f"track.uri='{SECRET}'", "+hydra.job.env_set.MLFLOW_TRACKING_TOKEN=s3cret"]
    process = warm.start(tmp_path, "-m", *short, *hydra, *secret, "daso=none", merged=True)
    out, _ = process.communicate(timeout=120)
    assert (process.returncode, "s3cret" in out) == (0, False), out
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"DONE", "multirun.yaml", "hydra.yaml", "overrides.yaml"} <= {path.name for path in files}
    assert [path.name for path in files if b"s3cret" in path.read_bytes()] == []
