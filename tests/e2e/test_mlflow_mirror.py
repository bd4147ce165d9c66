"""MLflow shows what the run directory holds: after kills, resumes and rebuilds."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml

from daso import runs
from daso.outputs.files import write_json
from daso.outputs.rundir import RunDir
from daso.track import mirror, mlflow
from daso.track.jsonl import TIME, Journal
from daso.track.mirror import Mirror, Remote, rebuild
from daso.track.mlflow import flatten
from tests.e2e.mirrored import CONFIG, live, points, rows, shown, train, wait_until, warn_never


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
    assert got.data.tags["mlflow.source.name"] == "train.py"  # of a command MLflow shows what follows its last slash
    assert "    python train.py seed=1\n" in got.data.tags["mlflow.note.content"]
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
