"""MLflow shows what the run directory holds: after kills, resumes, outages, rebuilds, and from eight processes at once."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml

from daso import runs
from daso.errors import UserError
from daso.outputs.files import write_json
from daso.outputs.rundir import RunDir
from daso.schema import TrackConfig
from daso.track import follower, mirror, mlflow
from daso.track.jsonl import TIME, Journal, read
from daso.track.mirror import Mirror, Remote, rebuild
from daso.track.mlflow import flatten, init_store, resolve_uri
from daso.track.trackers import mirrored

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
def uri(tmp_path_factory, empty_store):
    return f"sqlite:///{shutil.copy(empty_store, tmp_path_factory.mktemp('store'))}"


@pytest.fixture(scope="module")
def client(uri):
    from mlflow.tracking import MlflowClient

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
    code = "import sys, daso.track.trackers, daso.runs; sys.exit(bool({'mlflow', 'torch', 'matplotlib'} & set(sys.modules)))"
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
    assert got.data.tags["mlflow.source.name"] == "python train.py seed=1"
    assert got.data.tags["mlflow.note.content"].startswith(
        "**fixmatch_daso** on digits, N1=20 gl=10 gu=1, seed 1: 6 steps."
    )
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
        journal.append("eval", step, {f"test/own{k}": float(k) for k in range(1300)})
    Remote(run, uri, "daso").send()
    data = shown(client, run).data.metrics
    assert len(data) == 1300
    assert len(client.get_metric_history(shown(client, run).info.run_id, "test/own1299")) == 2


def test_values_per_class_come_with_the_end_and_all_of_them_as_an_artifact(run, uri, client):
    from mlflow.artifacts import download_artifacts

    run.resolved.write_text(yaml.safe_dump(CONFIG | {"track": CONFIG["track"] | {"per_class": True}}))
    journal = Journal(run.metrics)
    for step in (1, 2, 3):
        journal.append("eval", step, {"test/top1": 1.0, "test/class/0": step / 3, "test/class/1": None})
    remote = Remote(run, uri, "daso")
    remote.send()
    assert set(shown(client, run).data.metrics) == {"test/top1"}
    remote.close("FINISHED", mirror.artifacts(run))
    run_id = shown(client, run).info.run_id
    assert [(point.step, point.value) for point in client.get_metric_history(run_id, "test/class/0")] == [(3, 1.0)]
    with np.load(download_artifacts(run_id=run_id, artifact_path="per_class.npz", tracking_uri=uri)) as table:
        assert table["step"].tolist() == [1, 2, 3]
        np.testing.assert_array_equal(table["test/class"], [[1 / 3, np.nan], [2 / 3, np.nan], [1, np.nan]])


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
    monkeypatch.setattr(follower, "LAST_TRIES", 1)
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


def test_a_server_that_accepts_and_never_answers_costs_a_run_no_more_than_told(run, silent_server):
    said = []
    live = Mirror(run, f"http://ann:s3cret@{silent_server}", "daso", said.append)
    live.start()
    train(run, 0, 3)
    began = time.monotonic()
    assert not live.finish("FINISHED", timeout=1)
    assert time.monotonic() - began < 3
    assert len(said) == 1
    assert said[0].startswith(f"MLflow at http://***@{silent_server} has not taken everything (given up after ")
    assert said[0].endswith(f"mirror {run.key} --root {run.root} --uri URL` brings it up to date.")


def test_a_run_does_not_wait_longer_than_told_for_its_mirror(run, uri, monkeypatch):
    monkeypatch.setattr(Remote, "send", lambda self: time.sleep(3))
    said = []
    live = Mirror(run, uri, "daso", said.append)
    live.start()
    began = time.monotonic()
    assert not live.finish("FINISHED", timeout=0.2)
    assert time.monotonic() - began < 1
    assert len(said) == 1


def test_a_mirror_that_trickles_is_not_waited_for_without_end(run, uri, monkeypatch):
    def trickle(self):
        while True:
            time.sleep(0.01)
            self.gains += 1

    monkeypatch.setattr(Remote, "send", trickle)
    monkeypatch.setattr(follower, "LIMIT", 0.5)
    said = []
    live = Mirror(run, uri, "daso", said.append)
    live.start()
    began = time.monotonic()
    assert not live.finish("FINISHED")
    assert time.monotonic() - began < 1.5
    assert len(said) == 1
    monkeypatch.setattr(Remote, "send", lambda self: None)


def test_a_run_that_may_be_killed_soon_waits_a_few_seconds_at_most():
    from daso.sweep.supervise import GRACE

    assert follower.HURRY < GRACE
    assert follower.STALL < follower.LIMIT <= 20


def test_a_mirror_that_has_hung_for_long_costs_the_end_of_a_run_a_second(run, uri, monkeypatch):
    monkeypatch.setattr(Remote, "send", lambda self: time.sleep(5))
    live = Mirror(run, uri, "daso", lambda sentence: None)
    live.start()
    live._since = time.monotonic() - 60
    began = time.monotonic()
    assert not live.finish("FINISHED", timeout=4)
    assert 0.9 < time.monotonic() - began < 2


def test_a_thread_that_cannot_be_started_costs_a_run_its_mirror_and_nothing_else(run, uri, monkeypatch):
    def full(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", full)
    said = []
    assert mirrored(run, TrackConfig("mlflow", uri), said.append) is None
    assert len(said) == 1
    assert f"(can't start new thread); afterwards `python -m daso.runs mirror {run.key}" in said[0]


def test_a_store_that_cannot_be_named_costs_a_run_its_mirror_and_nothing_else(run, monkeypatch):
    said = []
    assert mirrored(run, TrackConfig("mlflow", "http://***@host"), said.append) is None
    monkeypatch.setattr(os, "getcwd", lambda: 1 / 0)  # as in a folder that was removed
    monkeypatch.setattr(Path, "absolute", lambda self: 1 / 0)
    assert mirrored(run, TrackConfig("mlflow", "sqlite:///x.db"), said.append) is None
    assert len(said) == 2
    assert mirrored(run, TrackConfig("none"), said.append) is None
    assert len(said) == 2


def test_a_console_that_is_gone_ends_no_run(run, monkeypatch):
    monkeypatch.setattr(follower, "LAST_TRIES", 1)

    def closed(sentence):
        raise BrokenPipeError

    live = Mirror(run, "sqlite:////proc/none/mlflow.db", "daso", closed)
    live.start()
    assert not live.finish("FINISHED")


def test_a_database_that_is_replaced_under_a_run_is_filled_again_without_a_word(run, tmp_path, capfd):
    path, said = tmp_path / "mine.db", []
    train(run, 0, 3)
    live = Mirror(run, f"sqlite:///{path}", "daso", said.append)
    live.start()
    wait_until(lambda: (json.loads(run.mirror.read_text())["sent"][0] if run.mirror.exists() else 0) > 0)
    path.write_bytes(b"")
    train(run, 3, 6)
    live.notify()
    assert live.finish("FINISHED")
    client = mlflow.connect(f"sqlite:///{path}")
    assert points(client, shown(client, run).info.run_id) == rows(run)
    assert len(said) <= 1
    assert capfd.readouterr().err == ""


def test_a_locked_database_is_told_in_one_sentence_and_no_traceback(run, tmp_path, empty_store, monkeypatch, capfd):
    import sqlite3

    path, said = tmp_path / "mine.db", []
    shutil.copy(empty_store, path)
    monkeypatch.setattr(follower, "LAST_TRIES", 1)
    monkeypatch.setattr("daso.track.store.PATIENCE", 0.1)
    with sqlite3.connect(path) as other:
        other.execute("BEGIN EXCLUSIVE")
        live = Mirror(run, f"sqlite:///{path}?timeout=0.1", "daso", said.append)
        live.start()
        assert not live.finish("FINISHED")
    assert len(said) == 1
    assert "database is locked" in said[0]
    assert capfd.readouterr() == ("", "")


def test_a_run_in_the_trash_of_mlflow_is_shown_again_when_it_goes_on(run, uri, client):
    train(run, 0, 3)
    live(run, uri, "KILLED")
    client.delete_run(shown(client, run).info.run_id)
    train(run, 3, 6)
    live(run, uri)
    assert points(client, shown(client, run).info.run_id) == rows(run)


@pytest.mark.parametrize("note", ["{", "[]", '{"run_id": 3}', '{"sent": [1], "sending": null}'])
def test_a_damaged_note_costs_a_new_mlflow_run_and_nothing_else(run, uri, client, note):
    train(run, 0, 3)
    live(run, uri)
    whole = json.loads(run.mirror.read_text())
    damaged = note if note in ("{", "[]") else json.dumps(whole | json.loads(note))
    run.mirror.write_text(damaged)
    live(run, uri)
    assert points(client, shown(client, run).info.run_id) == rows(run)


def test_a_note_with_another_password_is_of_the_same_store(run, uri, tmp_path):
    train(run, 0, 3)
    base = f"sqlite:///file:{tmp_path}/x.db?uri=true&mode=rwc&"
    live(run, f"{base}token=old")
    first = json.loads(run.mirror.read_text())
    live(run, f"{base}token=new")
    second = json.loads(run.mirror.read_text())
    assert first["run_id"] == second["run_id"]
    assert first["uri"].endswith("token=***")
    run.mirror.write_text(json.dumps(second | {"uri": f"{base}token=old"}))  # by a version that did not mask
    live(run, f"{base}token=new")
    assert json.loads(run.mirror.read_text())["run_id"] == first["run_id"]


def test_nothing_of_a_password_reaches_mlflow(run, tmp_path):
    store = tmp_path / "store"
    secret = "http://ann:s3cret@host"
    run.resolved.write_text(yaml.safe_dump(CONFIG | {"track": {"name": "mlflow", "uri": secret, "experiment": "daso"}}))
    write_json(run.summary, {"warnings": [secret]})
    tags = {"overrides": f"track.uri={secret} A_TOKEN=s3cret", "sweep_command": f"python train.py track.uri={secret}"}
    write_json(run.card, {"name": "a run", "tags": tags})  # as versions wrote them that did not mask
    train(run, 0, 3)
    rebuild(run, f"sqlite:///{store}/mlflow.db", "daso")
    files = [path for path in store.rglob("*") if path.is_file()]
    assert {"resolved.yaml", "summary.json", "mlflow.db"} <= {path.name for path in files}
    assert [path.name for path in files if b"s3cret" in path.read_bytes()] == []


def test_the_command_wants_the_credentials_that_were_not_recorded(run, uri, capsys, monkeypatch):
    recorded = {"name": "mlflow", "uri": "http://***@127.0.0.1:9", "experiment": "daso"}
    run.resolved.write_text(yaml.safe_dump(CONFIG | {"track": recorded, "run_key": run.key}))
    train(run, 0, 3)
    assert runs.main(["mirror", "--root", str(run.root)]) == 1
    assert "give the whole URL on the command line, or in MLFLOW_TRACKING_URI" in capsys.readouterr().err
    monkeypatch.setattr(mirror, "rebuild", lambda run, uri, experiment: uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:s3cret@127.0.0.1:9")
    assert runs.main(["mirror", "--root", str(run.root)]) == 0
    assert "s3cret" not in capsys.readouterr().out.partition(" in ")[2]


def test_a_run_waits_for_a_slow_mirror_as_long_as_rows_arrive(run, uri, client, monkeypatch):
    monkeypatch.setattr(mirror, "METRICS_PER_CALL", 8)
    live = Mirror(run, uri, "daso", warn_never)
    live.start()
    wait_until(lambda: live._backend.gains > 1)
    groups = live._backend._groups
    monkeypatch.setattr(live._backend, "_groups", lambda: (time.sleep(0.3) or group for group in groups()))
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
        journal.append("eval", step, {f"test/own{k}": step * k / 7 for k in range(20)})
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
