"""Several trackers of one run: TensorBoard read by its own reader, W&B by what it was told, together by what they cost."""

import json
import shutil
import struct
import sys
import threading
import time
import types

import pytest
import yaml

from daso import runs
from daso.outputs.files import write_json
from daso.outputs.rundir import RunDir
from daso.schema import TrackConfig
from daso.settings.identity import plain
from daso.track import trackers
from daso.track.follower import Follower
from daso.track.hints import viewers
from daso.track.jsonl import Journal
from daso.track.tensorboard import Board
from daso.track.trackers import Followers, mirrored, rebuild, trackers_of
from daso.track.wandb import WandbRun, mode
from tests.compose import config_of, tiny


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


def train(run, start, stop, shift=0.0):
    """What a run writes in the steps from `start` to `stop`, with an evaluation every 15."""
    journal = Journal(run.metrics)
    journal.truncate(start)
    for step in range(start + 5, stop + 1, 5):
        journal.append("train", step, {"train/loss_cls": 1 / step + shift})
        if step % 15 == 0:
            values = {"test/top1_median20": step + shift, "test/few": None, "test/class/0": 1.0, "test/class/1": 2.0}
            journal.append("eval", step, values)
    journal.close()


def picture(run):
    from PIL import Image

    run.figures.mkdir(exist_ok=True)
    Image.new("RGB", (7, 5)).save(run.figures / "confusion.png")


def shown(run):
    """What TensorBoard reads: scalars by tag as (step, value), and the other tags."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (folder,) = (run.root / "tensorboard").iterdir()
    read = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    read.Reload()
    tags = read.Tags()
    return {tag: [(e.step, round(e.value, 4)) for e in read.Scalars(tag)] for tag in tags["scalars"]}, read


def board(run, config):
    return Board(run, config, "command")


def test_tensorboard_reads_what_the_journal_holds(run, config):
    train(run, 0, 60)
    picture(run)
    one = board(run, config)
    one.send()
    one.close("FINISHED", [run.figures])
    scalars, read = shown(run)
    assert scalars["test/top1_median20"] == [(15, 15.0), (30, 30.0), (45, 45.0), (60, 60.0)]
    assert scalars["headline/top1_median20"] == scalars["test/top1_median20"]
    assert scalars["train/loss_cls"] == [(step, round(1 / step, 4)) for step in range(5, 61, 5)]
    assert not any("class/" in tag for tag in scalars)
    (image,) = read.Images("figures/confusion")
    assert (image.width, image.height, image.step) == (7, 5, 60)
    text = read.Tensors("configuration")
    assert b"run_key" in text[0].tensor_proto.string_val[0]


def test_values_per_class_are_metrics_where_they_are_asked_for(run, config):
    train(run, 0, 60)
    one = board(run, config | {"track": config["track"] | {"per_class": True}})
    one.send()
    one.close("FINISHED")
    assert shown(run)[0]["test/class/1"] == [(60, 2.0)]


def test_rows_computed_again_after_a_kill_are_neither_doubled_nor_stale(run, config):
    train(run, 0, 45)
    board(run, config).send()  # killed here
    train(run, 15, 60, shift=0.5)
    one = board(run, config)
    one.send()
    one.close("FINISHED")
    assert shown(run)[0]["test/top1_median20"] == [(15, 15.0), (30, 30.5), (45, 45.5), (60, 60.5)]


def test_a_row_arrives_while_the_run_goes_on_and_an_outage_is_made_good(run, config):
    train(run, 0, 15)
    one = board(run, config)
    one.send()
    assert shown(run)[0]["test/top1_median20"] == [(15, 15.0)]
    one.reopen()
    train(run, 15, 30)
    one.send()
    assert shown(run)[0]["test/top1_median20"] == [(15, 15.0), (30, 30.0)]


def test_no_password_reaches_an_event_file(run, config):
    one = board(run, config | {"track": {"uri": "http://ann:s3cret@host", "name": "tensorboard"}})
    one.send()
    (file,) = (run.root / "tensorboard").glob("*/events*")
    assert b"***@host" in file.read_bytes()
    assert b"s3cret" not in file.read_bytes()


class Fake(types.ModuleType):
    """A stand-in for `wandb` that writes down what it is told, by W&B's documented names."""

    def __init__(self):
        super().__init__("wandb")
        self.inits, self.logged, self.finished, self.metrics = [], [], [], []

    def init(self, **given):
        self.inits.append(given)
        return self

    def Settings(self, **given):
        return given

    def Image(self, path):
        return path

    def define_metric(self, name, step_metric=None):
        self.metrics.append((name, step_metric))

    def log(self, values):
        self.logged.append(values)

    def finish(self, exit_code):
        self.finished.append(exit_code)


@pytest.fixture
def fake(monkeypatch):
    fake = Fake()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


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


@pytest.mark.parametrize(
    ("name", "package"), [("tensorboard", "tensorboard.compat.proto.event_pb2"), ("wandb", "wandb")]
)
def test_a_package_that_is_not_there_costs_a_run_its_mirror_and_one_line(run, monkeypatch, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr("daso.track.follower.LAST_TRIES", 1)
    said = []
    train(run, 0, 15)
    one = mirrored(run, TrackConfig(name), said.append)
    assert not one.finish("FINISHED")
    (line,) = said
    assert f"track={name} needs a package that is not there: pip install -e '.[{name}]'" in line
    assert f"`python -m daso.runs mirror {run.key} --root {run.root} --to {name}` brings it up to date" in line


def test_several_trackers_are_told_at_once_and_waited_for_together(run, config):
    done = threading.Barrier(3, timeout=5)

    class Slow:
        name, place, remedy, gains = "slow", "nowhere", "nothing", 0

        def send(self):
            pass

        def close(self, status, artifacts=()):
            done.wait()  # until all of them are here
            time.sleep(0.2)

        def reopen(self):
            pass

    followers = [Follower(Slow(), lambda text: None) for _ in range(3)]
    assert all(follower.start() for follower in followers)
    began = time.monotonic()
    assert Followers(followers).finish("FINISHED", timeout=5)
    assert time.monotonic() - began < 2


def test_trackers_that_hang_cost_a_run_together_what_one_costs(run, monkeypatch):
    monkeypatch.setattr("daso.track.follower.LIMIT", 0.6)

    class Hung:
        name, place, remedy, gains = "hung", "nowhere", "nothing", 0

        def send(self):
            while True:
                time.sleep(0.02)
                self.gains += 1

    followers = [Follower(Hung(), lambda text: None) for _ in range(3)]
    for follower in followers:
        follower.start()
    began = time.monotonic()
    assert not Followers(followers).finish("FINISHED")
    assert time.monotonic() - began < 1.5


def test_the_command_rebuilds_the_trackers_of_a_run_or_those_that_are_asked_for(run, config, fake, capsys):
    train(run, 0, 60)
    assert runs.main(["mirror", "all", "--root", str(run.root)]) == 0
    assert f"{run.key} is in TensorBoard at {run.root}/tensorboard/" in capsys.readouterr().out
    assert runs.main(["mirror", run.key, "--root", str(run.root), "--to", "wandb"]) == 0
    assert f"{run.key} is in W&B at {run.root}/wandb" in capsys.readouterr().out
    assert fake.finished == [255]
    assert runs.main(["mirror", "--to", "comet"]) == 2


def test_what_goes_wrong_with_a_rebuild_is_a_sentence(run, monkeypatch, capsys):
    monkeypatch.setattr(Board, "send", lambda self: 1 / 0)
    assert runs.main(["mirror", "all", "--root", str(run.root)]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"Mirroring 1 run, all that are in {run.root}; the libraries take some seconds.",
        f"daso.runs: run {run.key}: track=tensorboard cannot be used: division by zero.",
    ]
    other = RunDir(run.root, "zz")
    shutil.copytree(run.path, other.path)
    assert runs.main(["mirror", "--root", str(run.root)]) == 1
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first == f"Mirroring 2 runs, all that are in {run.root}; the libraries take some seconds."
    assert last == "daso.runs: 2 runs in all: track=tensorboard cannot be used: division by zero."


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ("track=none", ()),
        ("track=mlflow", ("mlflow",)),
        ("track=[tensorboard,mlflow]", ("mlflow", "tensorboard")),
        ("track=[wandb]", ("wandb",)),
    ],
)
def test_trackers_are_options_one_or_several_and_change_no_key(arguments, names, run, config):
    told = config_of("experiment=quickstart", arguments)
    assert told.track.trackers == names
    assert told.run_key == config_of("experiment=quickstart").run_key
    run.resolved.write_text(yaml.safe_dump(plain(told)))
    assert trackers_of(run) == names


def test_an_older_run_s_tracker_is_known_by_its_name(run):
    run.resolved.write_text(yaml.safe_dump({"track": {"name": "mlflow", "uri": ""}}))
    assert trackers_of(run) == ("mlflow",)
    assert trackers.NAMES["mlflow"] == "MLflow"
    assert callable(rebuild)


def test_what_shows_the_runs_is_said_of_every_tracker(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr("daso.track.hints.find_spec", lambda name: name)
    track = TrackConfig("wandb", mlflow=True, tensorboard=True)
    lines = ["mlflow ui", "tensorboard --logdir outputs/tensorboard", "wandb sync outputs/wandb/offline-run-*"]
    assert viewers(track, tmp_path / "outputs") == lines
    assert viewers(TrackConfig("none"), tmp_path) == []
    monkeypatch.setattr("daso.track.hints.find_spec", lambda name: None)  # a package that is not there shows nothing
    assert viewers(track, tmp_path / "outputs") == lines[:1]
