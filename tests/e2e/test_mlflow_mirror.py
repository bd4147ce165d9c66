"""MLflow shows what the run directory holds: after kills, resumes, outages, rebuilds, and from eight processes at once."""

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections import Counter

import pytest
import yaml

from daso import runs
from daso.errors import UserError
from daso.outputs.files import write_json
from daso.outputs.rundir import RunDir
from daso.track import mirror, mlflow
from daso.track.jsonl import TIME, Journal, read
from daso.track.mirror import Mirror, Remote, rebuild
from daso.track.mlflow import flatten, init_store, resolve_uri

CONFIG = {
    "dataset": {"name": "digits", "mean": [0.5, 0.25]},
    "imb": {"n1": 20, "m1": 100, "gamma_l": 10.0, "gamma_u": 1.0},
    "algorithm": {"name": "fixmatch", "threshold": 0.95},
    "daso": {"name": "daso", "t_dist": 0.3},
    "train": {"steps": 6},
    "track": {"name": "mlflow", "uri": "", "experiment": "daso"},
    "seed": 1,
    "run_key": "k",
} | {f"knob{i}": i for i in range(150)}


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


@pytest.fixture(scope="module")
def client(uri):
    from mlflow.tracking import MlflowClient

    init_store(uri)
    return MlflowClient(tracking_uri=uri)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = RunDir(tmp_path / "outputs", uuid.uuid4().hex[:12])
    run.path.mkdir(parents=True)
    run.resolved.write_text(yaml.safe_dump(CONFIG))
    write_json(run.card, {"name": "a run", "tags": {"git_commit": "abc", "git_dirty": "false", "overrides": "seed=1"}})
    return run


def train(run, start, stop, shift=0.0):
    """What a run writes in the steps from `start` to `stop`."""
    journal = Journal(run.metrics)
    journal.truncate(start)
    for step in range(start + 1, stop + 1):
        journal.append("train", step, {"train/loss_cls": 1 / step, "time/steps_per_second": step + shift})
        journal.append("eval", step, {"test/top1": 10.0 * step, "test/gm": float("nan")})
    journal.close()


def warn_never(sentence):
    raise AssertionError(sentence)


def live(run, uri, status="FINISHED", artifacts=(), experiment="daso", warn=warn_never):
    live = Mirror(run, uri, experiment, warn)
    live.start()
    assert live.finish(status, artifacts)


def shown(client, run, experiment="daso"):
    """The one active MLflow run of a run directory."""
    ids = [client.get_experiment_by_name(experiment).experiment_id]
    found = [r for r in client.search_runs(ids) if r.data.tags["run_key"] == run.key]
    assert len(found) == 1
    return found[0]


def points(client, run_id):
    """(metric, step, value, milliseconds) -> how often MLflow has it."""
    names = client.get_run(run_id).data.metrics
    history = [point for name in names for point in client.get_metric_history(run_id, name)]
    return Counter((p.key, p.step, p.value, p.timestamp) for p in history)


def rows(run):
    """The same of the journal."""
    return Counter(
        (name, row["step"], value, round(row[TIME] * 1000))
        for row in read(run.metrics)
        for name, value in row.items()
        if name not in ("event", "step", TIME) and value is not None
    )


def test_naming_the_mirror_does_not_import_mlflow():
    code = (
        "import sys, daso.track.mirror, daso.runs; sys.exit(bool({'mlflow', 'torch', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_limits_are_those_of_mlflow():
    from mlflow.utils import validation

    assert mlflow.METRICS_PER_CALL == validation.MAX_METRICS_PER_BATCH
    assert mlflow.PARAMS_PER_CALL == validation.MAX_PARAMS_TAGS_PER_BATCH
    assert mlflow.PARAM_LENGTH <= validation.MAX_PARAM_VAL_LENGTH
    assert mlflow.TAG_LENGTH <= validation.MAX_TAG_VAL_LENGTH


def test_every_name_that_the_journal_takes_is_one_that_mlflow_takes(tmp_path):
    from mlflow.utils.validation import _validate_metric_name

    names = ["train/loss_cls", "test/class/9", "pl/final/recall/class/0", "a.b-c", TIME]
    Journal(tmp_path / "m").append("eval", 1, dict.fromkeys(names[:-1], 0.0))
    for name in names:
        _validate_metric_name(name)


def test_a_run_arrives_whole(run, uri, client):
    run.figures.mkdir()
    (run.figures / "confusion.png").write_bytes(b"png")
    write_json(run.summary, {"test/top1": 60.0})
    train(run, 0, 6)
    live(run, uri, artifacts=mirror.artifacts(run))
    run_id = shown(client, run).info.run_id
    got = client.get_run(run_id)
    assert points(client, run_id) == rows(run)
    assert got.info.status == "FINISHED"
    assert got.info.run_name == "a run"
    assert got.data.params == flatten(CONFIG)
    assert got.data.params["dataset.mean"] == "[0.5, 0.25]"
    assert got.data.tags["overrides"] == "seed=1"
    assert got.data.tags["mlflow.source.git.commit"] == "abc"
    assert got.info.artifact_uri.startswith(f"file://{os.path.dirname(uri[len('sqlite:///') :])}/mlruns/")
    assert {a.path for a in client.list_artifacts(run_id)} == {"resolved.yaml", "summary.json", "figures"}
    assert got.info.start_time == min(point[3] for point in rows(run))


def test_rows_arrive_while_the_run_goes_on(run, uri, client):
    live = Mirror(run, uri, "daso", warn_never)
    live.start()
    train(run, 0, 2)
    live.notify()
    wait_until(lambda: run.mirror.exists() and points(client, shown(client, run).info.run_id) == rows(run))
    assert shown(client, run).info.status == "RUNNING"
    assert live.finish("KILLED")


def test_a_run_stopped_at_a_checkpoint_goes_on_in_the_same_mlflow_run(run, uri, client):
    train(run, 0, 3)
    live(run, uri, "KILLED")
    first = shown(client, run).info
    train(run, 3, 6)
    live(run, uri)
    second = shown(client, run).info
    assert (first.status, second.status) == ("KILLED", "FINISHED")
    assert first.run_id == second.run_id
    assert points(client, second.run_id) == rows(run)


def test_rows_computed_again_after_a_kill_are_neither_doubled_nor_stale(run, uri, client):
    train(run, 0, 5)
    Remote(run, uri, "daso").send()  # killed here; the last checkpoint was written at step 3
    train(run, 3, 6, shift=0.5)
    live(run, uri)
    assert points(client, shown(client, run).info.run_id) == rows(run)
    assert shown(client, run).data.params == flatten(CONFIG)


@pytest.mark.parametrize("checkpoint", [3, 5])
def test_a_kill_between_sending_and_noting_doubles_nothing(run, uri, client, checkpoint, monkeypatch):
    train(run, 0, 2)
    remote = Remote(run, uri, "daso")
    remote.send()
    train(run, 2, 5)
    note = remote._note
    monkeypatch.setattr(remote, "_note", lambda sending=None: note(sending) if sending else sys.exit())
    with pytest.raises(SystemExit):
        remote.send()
    train(run, checkpoint, 6)
    live(run, uri)
    assert points(client, shown(client, run).info.run_id) == rows(run)


def test_a_row_wider_than_a_call_arrives_once(run, uri, client):
    journal = Journal(run.metrics)
    for step in (1, 2):
        journal.append("eval", step, {f"test/class/{k}": float(k) for k in range(1300)})
    Remote(run, uri, "daso").send()
    data = shown(client, run).data.metrics
    assert len(data) == 1300
    assert len(client.get_metric_history(shown(client, run).info.run_id, "test/class/1299")) == 2


def test_a_run_that_is_done_afresh_replaces_its_mlflow_run(run, uri, client):
    train(run, 0, 4)
    live(run, uri)
    config, card = run.resolved.read_bytes(), run.card.read_bytes()
    run.reset()
    run.resolved.write_bytes(config)
    run.card.write_bytes(card)
    train(run, 0, 2)
    live(run, uri)
    assert points(client, shown(client, run).info.run_id) == rows(run)


def test_a_failed_run_ends_failed(run, uri, client):
    train(run, 0, 2)
    live(run, uri, "FAILED")
    assert shown(client, run).info.status == "FAILED"


def test_a_run_id_in_the_environment_does_no_harm(run, uri, client, monkeypatch):
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    train(run, 0, 2)
    live(run, uri)
    assert shown(client, run).info.status == "FINISHED"


def test_the_same_key_in_another_folder_is_another_mlflow_run(run, uri, client, tmp_path):
    train(run, 0, 2)
    live(run, uri, experiment="twins")
    shutil.copytree(run.path, tmp_path / "other" / run.key, ignore=shutil.ignore_patterns("mlflow.json"))
    rebuild(RunDir(tmp_path / "other", run.key), uri, "twins")
    found = client.search_runs([client.get_experiment_by_name("twins").experiment_id])
    assert len({r.data.tags["run_dir"] for r in found}) == len(found) == 2


def test_rebuilding_twice_leaves_one_run_with_every_row(run, uri, client):
    train(run, 0, 6)
    run.mark_done()
    live(run, uri)
    before = shown(client, run).info
    for _ in range(2):
        rebuild(run, uri, "daso")
    after = shown(client, run).info
    assert points(client, after.run_id) == rows(run)
    assert (after.status, after.start_time) == ("FINISHED", before.start_time)
    assert after.end_time == max(point[3] for point in rows(run))


def test_the_command_rebuilds_what_was_never_mirrored(run, uri, client, capsys):
    train(run, 0, 3)
    run.mark_failed("The loss is not finite.")
    assert runs.main(["mirror", run.key[:6], "--root", str(run.root), "--uri", uri]) == 0
    assert shown(client, run).info.status == "FAILED"
    assert points(client, shown(client, run).info.run_id) == rows(run)
    assert run.key in capsys.readouterr().out


def test_the_command_leaves_a_running_run_to_its_own_mirror(run, uri, capsys):
    train(run, 0, 3)
    with run.lock():
        assert runs.main(["mirror", "--root", str(run.root), "--uri", uri]) == 1
    assert "taken by process" in capsys.readouterr().err


def test_an_outage_neither_stops_nor_slows_a_run_and_names_the_remedy(run, monkeypatch):
    monkeypatch.setattr(mirror, "LAST_TRIES", 1)
    said = []
    began = time.monotonic()
    live = Mirror(run, "http://127.0.0.1:9", "daso", said.append)
    live.start()
    train(run, 0, 3)
    live.notify()
    assert time.monotonic() - began < 1
    assert not live.finish("FINISHED", timeout=20)
    assert len(said) == 1
    assert f"python -m daso.runs mirror {run.key}" in said[0]
    assert "\n" not in said[0]


def test_a_run_does_not_wait_longer_than_told_for_its_mirror(run, uri, monkeypatch):
    monkeypatch.setattr(Remote, "send", lambda self: time.sleep(3))
    said = []
    live = Mirror(run, uri, "daso", said.append)
    live.start()
    began = time.monotonic()
    assert not live.finish("FINISHED", timeout=0.2)
    assert time.monotonic() - began < 1
    assert len(said) == 1


def test_a_run_waits_for_a_slow_mirror_as_long_as_rows_arrive(run, uri, client, monkeypatch):
    monkeypatch.setattr(mirror, "METRICS_PER_CALL", 8)
    live = Mirror(run, uri, "daso", warn_never)
    live.start()
    wait_until(lambda: live._remote.gains > 2)
    groups = live._remote._groups
    monkeypatch.setattr(live._remote, "_groups", lambda: (time.sleep(0.3) or group for group in groups()))
    train(run, 0, 4)
    began = time.monotonic()
    assert live.finish("FINISHED", timeout=0.9)
    assert time.monotonic() - began > 1.2
    assert points(client, shown(client, run).info.run_id) == rows(run)


def test_a_store_that_comes_back_gets_everything(run, uri, client, monkeypatch):
    send, said = Remote.send, []
    monkeypatch.setattr(Remote, "send", lambda self: send(self) if said else 1 / 0)
    train(run, 0, 3)
    live(run, uri, warn=said.append)
    assert points(client, shown(client, run).info.run_id) == rows(run)
    assert len(said) == 1


def test_a_deleted_experiment_is_named(run, uri, client):
    client.delete_experiment(client.create_experiment("gone"))
    with pytest.raises(UserError, match=r"track\.experiment=gone was deleted"):
        rebuild(run, uri, "gone")


def test_a_store_that_cannot_be_used_is_a_sentence(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"track\.uri=sqlite:.* cannot be used"):
        init_store(f"sqlite:///{tmp_path}/file/mlflow.db")


def test_a_store_that_a_power_cut_broke_is_a_sentence_with_the_remedy(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(bytes(8192))
    with pytest.raises(UserError, match="file is not a database; remove that file, which the run folders can fill"):
        init_store(f"sqlite:///{tmp_path}/mlflow.db")


def test_the_store_is_the_configured_one_else_the_environments_else_the_working_directorys(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert resolve_uri("") == f"sqlite:///{tmp_path}/mlflow.db"
    assert resolve_uri("http://host:5000") == "http://host:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://env:5000")
    assert resolve_uri("") == "http://env:5000"
    assert resolve_uri("sqlite:////abs/x.db") == "sqlite:////abs/x.db"


RUN = """
import sys, yaml
from daso.outputs.rundir import RunDir
from daso.track.jsonl import Journal
from daso.track.mirror import Mirror
from daso.track.mlflow import resolve_uri
run = RunDir(sys.argv[1], sys.argv[2])
with run.lock():
    run.resolved.write_text(yaml.safe_dump(yaml.safe_load(sys.argv[3]) | {"run_key": run.key}))
    mirror = Mirror(run, resolve_uri(""), "daso", lambda sentence: print(sentence, file=sys.stderr))
    mirror.start()
    journal = Journal(run.metrics)
    for step in range(1, 31):
        journal.append("eval", step, {f"test/class/{k}": step * k / 7 for k in range(20)})
        mirror.notify()
    sys.exit(0 if mirror.finish("FINISHED") else 1)
"""


@pytest.mark.slow
def test_eight_processes_at_once_on_a_fresh_store_all_arrive(tmp_path):
    from mlflow.tracking import MlflowClient

    env = os.environ | {"PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"}
    env.pop("MLFLOW_TRACKING_URI", None)
    script = [sys.executable, "-c", RUN, str(tmp_path / "outputs")]
    started = [subprocess.Popen([*script, f"key{i}", json.dumps(CONFIG)], env=env, cwd=tmp_path) for i in range(8)]
    assert [process.wait(timeout=300) for process in started] == [0] * 8
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    for i in range(8):
        run = RunDir(tmp_path / "outputs", f"key{i}")
        found = shown(client, run)
        assert found.info.status == "FINISHED"
        assert points(client, found.info.run_id) == rows(run)


def wait_until(true, patience=10.0):
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
