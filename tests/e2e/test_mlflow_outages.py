"""A store that is slow, locked, broken, gone or hung, or asked by eight at once, costs a run at most its mirror."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from daso.errors import UserError
from daso.outputs.rundir import RunDir
from daso.schema import TrackConfig
from daso.track import follower, mirror, mlflow
from daso.track.mirror import Mirror, Remote, rebuild
from daso.track.mlflow import init_store, resolve_uri
from daso.track.trackers import mirrored
from tests.e2e.mirrored import CONFIG, live, points, rows, shown, train, wait_until, warn_never


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
