"""Several trackers of one run: what they cost together, the command that rebuilds them, the options that choose them."""

import shutil
import sys
import threading
import time

import pytest
import yaml

from daso import runs
from daso.outputs.rundir import RunDir
from daso.schema import TrackConfig
from daso.settings.identity import plain
from daso.track import trackers
from daso.track.follower import Follower
from daso.track.hints import viewers
from daso.track.tensorboard import FOLDER, Board
from daso.track.trackers import Followers, mirrored, rebuild, trackers_of, untold
from tests.compose import config_of
from tests.track.told import train


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


def test_a_tracker_that_lacks_a_finished_run_is_named_with_the_command_that_tells_it(run):
    (line,) = untold([run], ["wandb"])
    assert line.startswith(f"W&B does not have run {run.key}, which is finished already; `python -m daso.runs mirror ")
    assert line.endswith("--to wandb` tells it.")
    run.wandb.write_text("{}")
    (run.root / FOLDER / f"words_{run.key}").mkdir(parents=True)
    assert untold([run], ["wandb", "tensorboard"]) == []
    assert "MLflow does not have 2 of the runs" in untold([run, run], ["mlflow"])[0]


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
