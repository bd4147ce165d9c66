"""What a command line or an option file says of passwords is shown by no sentence, table or configuration."""

import pickle

import pytest
from omegaconf import OmegaConf

from daso.errors import UserError
from daso.sweep.callback import SweepReport
from daso.track import sweeps
from daso.track.address import reveal
from hydra_plugins.daso_study import _owner

URI = "track.uri=http://ann:s3cret@127.0.0.1:9"


@pytest.mark.parametrize(
    "arguments",
    [
        ["track.url=http://ann:s3cret@host"],
        ["tracc.uri=http://ann:s3cret@host"],
        ["track=http://ann:s3cret@host"],
        ["track.uri=ftp://ann:s3cret@host"],
        ["track.uri=http://ann:s3cret/x@host"],
        ["dataset.root={a:http://ann:s3cret@host"],
        ["train.steps=http://ann:s3cret@host"],
        ["seed=1,2", URI, "-m", "imb.gama_l=1"],
        ["http://ann:s3cret@host"],
        ["--nonsense", URI],
    ],
)
def test_a_mistake_is_told_without_the_password(command, arguments):
    code, out, err, _ = command(*arguments)
    assert code == 2
    assert "s3cret" not in out + err
    assert err.count("\n") == 1


def test_the_job_gets_the_url_and_nothing_shows_it(command):
    code, out, err, [(config, provenance)] = command(URI, "daso.t_dist=0.1")
    assert (code, "s3cret" in out + err) == (0, False)
    assert config.track.uri == "http://***@127.0.0.1:9"
    assert provenance.overrides == ["track.uri=http://***@127.0.0.1:9", "daso.t_dist=0.1"]


@pytest.mark.parametrize("flags", [["--cfg", "all", "--resolve"], ["--help"]])
@pytest.mark.parametrize("where", ["typed", "file"])
def test_a_configuration_is_shown_without_passwords(command, tmp_path, flags, where):
    (tmp_path / "conf" / "track").mkdir(parents=True)
    text = "name: mlflow\nuri: http://ann:s3cret@host\nexperiment: daso\n"
    (tmp_path / "conf" / "track" / "mine.yaml").write_text(text)
    chosen = [URI] if where == "typed" else ["--config-dir", str(tmp_path / "conf"), "track=mine"]
    code, out, err, _ = command(*flags, *chosen)
    assert code == 0
    assert "uri: http://***@" in out
    assert "s3cret" not in out + err


def test_plan_and_table_of_a_sweep_show_no_password(sweep, tmp_path):
    both = "track.uri=http://ann:1s3cret@host,ftp://ann:2s3cret@other"
    _, out, err, _ = sweep("experiment=quickstart", "seed=0,1", both, "plan=true")
    assert "s3cret" not in out + err
    assert "other" in out

    def fail(config, provenance):
        raise UserError("track.uri=http://ann:s3cret@host is away.")

    code, out, err, jobs = sweep("experiment=quickstart", "seed=0,1", URI, run=fail)
    assert (code, len(jobs)) == (2, 2)
    assert "s3cret" not in out + err


def test_what_a_sweep_tells_mlflow_and_its_jobs_holds_no_password(command, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(sweeps, "start", told.append)
    monkeypatch.setattr(sweeps, "finish", lambda *arguments: told.append(arguments))
    arguments = ["-m", f"out_root={tmp_path / 'out'}", "experiment=quickstart", URI, "seed=0,1"]
    code, _, _, jobs = command(*arguments, "+hydra.job.env_set.MLFLOW_TRACKING_TOKEN=s3cret")
    assert (code, len(jobs), len(told)) == (0, 2, 2)
    assert "track.uri=http://***@127.0.0.1:9" in told[0].command
    assert "s3cret" not in str(told)
    assert b"s3cret" not in pickle.dumps(jobs)


def test_what_hydra_writes_down_of_an_option_file_holds_no_password(command, tmp_path):
    (tmp_path / "conf" / "track").mkdir(parents=True)
    text = "name: mlflow\nuri: sqlite:///file:x.db?uri=true&token=s3cret\nexperiment: daso\n"
    (tmp_path / "conf" / "track" / "mine.yaml").write_text(text)
    chosen = [
        "--config-dir",
        str(tmp_path / "conf"),
        "track=mine",
        "experiment=quickstart",
        f"out_root={tmp_path / 'o'}",
    ]
    saved = f"hydra.run.dir={tmp_path / 'o'}", "hydra.output_subdir=hydra"
    seen = []
    run = lambda config, provenance: seen.append(reveal(config.track.uri)) or 1.5  # noqa: E731
    assert command(*chosen, *saved, run=run)[0] == 0
    assert "token=s3cret" in seen[0]
    files = [path for path in (tmp_path / "o").rglob("*") if path.is_file()]
    assert "config.yaml" in [path.name for path in files]
    assert [path.name for path in files if "s3cret" in path.read_text()] == []


def test_no_copy_of_a_sweep_s_configuration_holds_a_password(monkeypatch):
    monkeypatch.setattr(sweeps, "start", lambda sweep: None)
    monkeypatch.setattr(SweepReport, "session", None)
    choices = {"hydra/sweeper": "grid"}
    hydra = {"runtime": {"choices": choices}, "overrides": {"task": []}, "sweep": {"dir": "x"}}
    config = OmegaConf.create({"hydra": hydra, "track": {"uri": "http://ann:s3cret@h"}, "plan": True})
    SweepReport().on_multirun_start(config)
    assert config.track.uri == "http://***@h"
    assert reveal(config.track.uri) == "http://ann:s3cret@h"
    assert b"s3cret" not in pickle.dumps(config)


def test_a_study_is_the_same_whatever_the_password_of_its_storage(sweep, tmp_path, monkeypatch):
    for name, seconds in [("PATIENCE", 0.2), ("BEAT", 0.3), ("SILENCE", 1.0), ("SETTLE", 0.2)]:
        monkeypatch.setattr(_owner, name, seconds)
    base = f"tune.storage='sqlite:///file:{tmp_path}/s.db?uri=true&token="
    study = ["experiment=tune_quickstart", "tune.n_trials=1"]
    assert sweep(*study, f"{base}1s3cret'")[0] == 0
    code, out, err, jobs = sweep(*study, f"{base}2s3cret'")
    assert (code, jobs) == (0, [])
    assert "s3cret" not in out + err


@pytest.mark.parametrize("storage", ["sqlite:///{}/own.db?timeout=9", "sqlite+pysqlite:///{}/own.db"])
def test_a_study_is_not_kept_in_mlflows_file_however_it_is_written(command, tmp_path, storage):
    own = [f"track.uri='sqlite:///{tmp_path}/own.db'", f"tune.storage='{storage.format(tmp_path)}'"]
    code, _, err, jobs = command("-m", f"out_root={tmp_path / 'out'}", "experiment=tune_quickstart", *own)
    assert (code, jobs) == (2, [])
    assert "MLflow keeps its tables there" in err
