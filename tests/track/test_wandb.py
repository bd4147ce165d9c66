"""W&B's mirror of a journal, by what W&B is told, and by the file that it writes itself."""

import json
import struct

import pytest

from daso.outputs.files import write_json
from daso.track.wandb import WandbRun, mode
from tests.track.told import picture, train


def follow(run, config, status="FINISHED", **more):
    one = WandbRun(run, config, "command", **more)
    one.send()
    if status:
        one.close(status, [run.figures])
    return one


def values(fake, name):
    return [(row["step"], row[name]) for row in fake.logged if name in row]


def test_wandb_is_told_what_the_journal_holds_over_its_steps(run, config, fake):
    train(run, 0, 60)
    picture(run)
    follow(run, config)
    (told,) = fake.inits
    assert (told["project"], told["id"], told["name"], told["group"]) == ("daso", run.key, "a run", "the sweep")
    assert told["mode"] == "offline"
    assert told["config"]["algorithm"]["name"] == config["algorithm"]["name"]
    assert 0 < told["settings"]["finish_timeout"] <= 20
    assert fake.metrics == [("step", None), ("*", "step")]
    assert values(fake, "headline/top1_median20") == [(15, 15.0), (30, 30.0), (45, 45.0), (60, 60.0)]
    assert fake.finished == [0]
    assert any("figures/confusion" in row for row in fake.logged)


def records(path):
    """What W&B wrote for `wandb sync`: a log in LevelDB's format after seven bytes, blocks of 32 KiB, a record in one part
    (kind 1) or in several (2, 3..., 4).
    """
    data, at, whole = path.read_bytes(), 7, b""
    assert data.startswith(b":W&B")
    while at + 7 <= len(data):
        left = 2**15 - at % 2**15
        if left < 7:
            at += left
            continue
        _, size, kind = struct.unpack_from("<IHB", data, at)
        part = data[at + 7 : at + 7 + size]
        whole = part if kind in (1, 2) else whole + part
        at += 7 + size
        if kind in (1, 4):
            yield whole


def test_the_file_that_wandb_itself_writes_offline_holds_the_journal(run, config):
    pytest.importorskip("wandb", reason="pip install -e '.[wandb]'")
    from wandb.proto.wandb_internal_pb2 import Record

    train(run, 0, 60)
    picture(run)
    for _ in range(2):  # what is written anew takes the place of what was there
        follow(run, config)
    (folder,) = (run.root / "wandb").glob("offline-run-*")
    (file,) = folder.glob("*.wandb")
    found = [Record.FromString(data) for data in records(file)]
    (about,) = [record.run for record in found if record.WhichOneof("record_type") == "run"]
    assert (about.run_id, about.project, about.display_name, about.run_group) == (run.key, "daso", "a run", "the sweep")
    rows = [
        {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
        for record in found
        if record.WhichOneof("record_type") == "history"
    ]
    there = {name: [(row["step"], row[name]) for row in rows if name in row] for row in rows for name in row}
    journal = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    for name in ("train/loss_cls", "test/top1_median20"):
        assert there[name] == [(row["step"], row[name]) for row in journal if name in row]
    assert there["headline/top1_median20"] == there["test/top1_median20"]
    assert not any("/class/" in name or name == "test/few" for name in there)
    assert [path.name.split("_")[0] for path in folder.rglob("*.png")] == ["confusion"]
    assert [record.exit.exit_code for record in found if record.WhichOneof("record_type") == "exit"] == [0]


def test_wandb_is_online_only_where_there_is_a_key(run, tmp_path, monkeypatch):
    assert mode() == "offline"
    (tmp_path / "netrc").write_text("machine api.wandb.ai\n  login user\n  password secret\n")
    assert mode() == "online"
    monkeypatch.setenv("WANDB_BASE_URL", "https://other.host")
    assert mode() == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert mode() == "online"
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert mode() == "offline"


def test_online_a_run_goes_on_where_it_was_and_is_replaced_where_rows_were_computed_again(
    run, config, fake, monkeypatch
):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    train(run, 0, 30)
    follow(run, config, None)
    train(run, 30, 60)
    follow(run, config)
    assert [told["id"] for told in fake.inits] == [run.key, run.key]
    assert [step for step, _ in values(fake, "test/top1_median20")] == [15, 30, 45, 60]
    train(run, 15, 60, shift=0.5)
    fake.logged.clear()
    follow(run, config)
    assert fake.inits[-1]["id"] == f"{run.key}-1"
    assert values(fake, "test/top1_median20") == [(15, 15.0), (30, 30.5), (45, 45.5), (60, 60.5)]


def test_offline_what_was_never_sent_is_written_anew_and_what_was_sent_is_replaced(run, config, fake):
    train(run, 0, 30)
    old = run.root / "wandb" / f"offline-run-20260101_000000-{run.key}"
    old.mkdir(parents=True)
    follow(run, config)
    assert not old.exists()
    assert fake.inits[-1]["id"] == run.key
    old.mkdir(parents=True)
    (old / f"run-{run.key}.wandb.synced").touch()
    follow(run, config)
    assert old.exists()
    assert fake.inits[-1]["id"] == f"{run.key}-1"
    run.reset()
    follow(run, config)
    assert fake.inits[-1]["id"] == f"{run.key}-1"  # a fresh start does not forget what was sent


def test_no_password_reaches_wandb(run, config, fake, monkeypatch):
    write_json(run.card, {"tags": {"overrides": "track.uri=http://ann:s3cret@host", "sweep_name": None}})
    follow(run, config | {"track": {"uri": "http://ann:s3cret@host"}}, None)
    assert "s3cret" not in json.dumps(fake.inits[0], default=str)
