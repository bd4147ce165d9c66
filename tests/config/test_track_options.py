"""Trackers are chosen one by one or as a list, also of a sweep."""

import pytest

LIST = (
    "a list has each of mlflow, tensorboard, wandb once at most, as track=[mlflow,tensorboard]; track=none is for none"
)


def test_every_job_of_a_sweep_has_the_trackers_of_its_list(command, tmp_path):
    where = f"out_root={tmp_path / 'out'}"
    code, _, err, jobs = command("-m", "experiment=quickstart", "track=[tensorboard,wandb]", "seed=0,1", where)
    assert code == 0, err
    assert [config.track.trackers for config, _ in jobs] == [("tensorboard", "wandb")] * 2
    assert sorted(config.seed for config, _ in jobs) == [0, 1]


def test_a_single_run_takes_a_list(command, tmp_path):
    code, _, err, jobs = command("experiment=quickstart", "track=[tensorboard]", f"out_root={tmp_path / 'out'}")
    assert code == 0, err
    assert jobs[0][0].track.trackers == ("tensorboard",)


@pytest.mark.parametrize("sweep", [[], ["-m"]])
@pytest.mark.parametrize(
    ("value", "right"),
    [
        ("tensorboard,mlflow", "[tensorboard,mlflow]"),
        ("mlflow,none", "[mlflow,tensorboard]"),
        ("choice(wandb,mlflow)", "[wandb,mlflow]"),
    ],
)
def test_trackers_with_commas_are_refused_with_the_list_that_is_meant(command, sweep, value, right):
    code, _, err, _ = command(*sweep, "experiment=quickstart", f"track={value}")
    assert code == 2
    assert err.startswith(f"track={value} is not possible: ")
    assert err.endswith(f"several at once are 'track={right}'.\n")


@pytest.mark.parametrize("value", ["[mlflow,none]", "[mlflow,mlflow]", "[]", "[mlflow,comet]"])
def test_a_list_that_is_none_is_refused_in_a_sentence(command, value):
    code, _, err, _ = command("experiment=quickstart", f"track={value}")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith(f"track={value} is not possible: {LIST}")
