"""Lengths told in epochs."""

import pytest
import yaml

from daso.errors import UserError
from daso.schema import TrainConfig
from daso.settings.checks import check
from daso.settings.compose import configuration
from daso.settings.epochs import images_of_an_epoch
from tests import pictures

DIGITS = ("dataset=digits", "imbalance=digits_n20_m100_g10_uniform", "train.batch_size=16")


def test_epochs_are_those_of_the_unlabeled_set():
    config = configuration([*DIGITS, "algorithm=fixmatch", "train.epochs=3"])
    assert images_of_an_epoch(config) == 1000
    assert config.train.epoch == 1000 / 32
    assert config.train.steps == round(3 * 1000 / 32)


def test_epochs_are_those_of_the_labeled_set_where_nothing_else_is_learned_from():
    config = configuration([*DIGITS, "algorithm=supervised", "train.epochs=10"])
    assert config.train.steps == round(10 * 78 / 16)  # 20 + 15 + 11 + 9 + 7 + 5 + 4 + 3 + 2 + 2 labeled images


def test_epochs_of_image_files_are_counted_in_the_files(tmp_path):
    pictures.folder(tmp_path, train={"a": 9, "b": 6}, unlabeled={"x": 10}, test={"a": 1, "b": 1})
    files = ["dataset=folder", f"dataset.root={tmp_path}", "train.batch_size=2", "train.mu=1", "train.epochs=4"]
    counts = [
        configuration([*files, *more]).train.steps
        for more in (
            ["algorithm=fixmatch"],
            ["algorithm=supervised"],
            ["algorithm=fixmatch", "dataset.labels_per_class=2"],
        )
    ]
    assert counts == [round(4 * 10 / 2), round(4 * 15 / 2), round(4 * (15 - 4 + 10) / 2)]


def config_of(images, epochs):
    train = TrainConfig(steps=1, batch_size=256, mu=5, eval_every="epoch", log_every=1, checkpoint_every=1)
    train.epoch = images / 1280
    train.steps = round(epochs * train.epoch)
    return train


@pytest.mark.parametrize(("images", "steps"), [(26_640, 1873), (148_848, 10_466)])
def test_ninety_epochs_of_semi_aves_are_evaluated_ninety_times_at_their_ends(images, steps):
    train = config_of(images, 90)
    places = [step for step in range(1, train.steps + 1) if train.evaluates(step)]
    assert train.steps == steps
    assert places == [round(k * images / 1280) for k in range(1, 91)]
    assert train.evaluations == 90


def test_ninety_epochs_of_the_labeled_images_of_semi_aves_are_2095_steps():
    assert round(90 * 5959 / 256) == 2095


def test_a_run_that_ends_between_two_epochs_is_evaluated_at_its_end():
    train = config_of(26_640, 2)
    train.steps += 5
    assert [step for step in range(1, train.steps + 1) if train.evaluates(step)] == [21, 42, 47]


def test_epochs_shorter_than_a_step_are_evaluated_each_step():
    train = config_of(500, 1)
    train.steps = 4
    assert [step for step in range(1, 5) if train.evaluates(step)] == [1, 2, 3, 4]


@pytest.mark.parametrize("every", [7, 20])
def test_a_number_of_steps_is_what_it_was(every):
    train = TrainConfig(steps=20, batch_size=1, mu=1, eval_every=every, log_every=1, checkpoint_every=1)
    expected = [step for step in range(1, 21) if step % every == 0 or step == 20]
    assert [step for step in range(1, 21) if train.evaluates(step)] == expected
    assert train.evaluations == len(expected)


def test_daso_s_warm_up_and_period_may_be_told_in_epochs():
    config = configuration(
        [*DIGITS, "algorithm=fixmatch_daso", "train.epochs=10", "daso.warmup_epochs=3", "daso.update_epochs=1"]
    )
    assert (config.daso.warmup_steps, config.daso.update_every) == (round(3 * 31.25), round(31.25))
    assert not [text for text in check(config) if "never blends" in text]


def test_lengths_in_epochs_and_the_same_in_steps_are_two_runs():
    """They agree for one data set alone: another number of images would part them."""
    epochs = configuration([*DIGITS, "train.epochs=4"])
    steps = configuration([*DIGITS, f"train.steps={epochs.train.steps}"])
    assert epochs.run_key != steps.run_key


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("train.epochs=-1", "train.epochs=-1.0 is not possible: a number of epochs, or 0 for train.steps"),
        ("train.epochs=0.001", "train.epochs=0.001 is not possible: an epoch has 31.2 steps, and the run none"),
        ("train.eval_every=often", "train.eval_every=often is not possible: a number of steps, 1 or more, or epoch"),
        ("train.eval_every=0", "train.eval_every=0 is not possible: a number of steps, 1 or more, or epoch"),
        ("train.eval_every=2.5", "train.eval_every=2.5 is not possible: a number of steps, 1 or more, or epoch"),
        ("train.epoch=3", "train.epoch=3.0 is not possible: it follows from the configuration and is never set"),
        ("daso.warmup_epochs=-2", "daso.warmup_epochs=-2.0 is not possible: a number of epochs, or 0 for steps"),
    ],
)
def test_lengths_without_meaning_are_refused(override, says):
    with pytest.raises(UserError, match="is not possible") as caught:
        configuration([*DIGITS, override])
    assert says in str(caught.value)


def test_an_unknown_number_of_images_is_no_measure():
    with pytest.raises(UserError, match=r"how many unlabeled images stl10 has is not known before it is read"):
        configuration(["dataset=stl10", "train.epochs=3"])
    config = configuration(["dataset=stl10", "algorithm=supervised", "train.epochs=3"])
    assert config.train.steps == round(3 * images_of_an_epoch(config) / 64)


def test_what_is_shown_tells_epochs_in_steps_as_well(command):
    out = command("--cfg", "job", "dataset=semi_aves", "algorithm=fixmatch_daso")[1]
    assert yaml.safe_load(out)["train"]["epochs"] == 90
    told = "# What is told in epochs, in steps: train.steps=1873 daso.warmup_steps=416 daso.update_every=21"
    assert out.splitlines()[-1] == told
    assert "# What" not in command("--cfg", "job", "algorithm=fixmatch_daso")[1]


def test_steps_beside_epochs_are_refused(command):
    right = "train.epochs=90 says how long the run is; train.epochs=0 leaves it to the steps"
    assert command("dataset=semi_aves", "train.steps=6")[2] == f"train.steps=6 is not possible: {right}.\n"
    _, _, err, _ = command("experiment=cpu", "dataset=semi_aves")
    assert err.startswith("train.steps=1000 (")
    assert err.endswith(f"is not possible: {right}.\n")
    assert command("train=usb", "dataset=semi_aves")[2].startswith("train.steps=262144 (")
    assert configuration(["recipe=usb", "dataset=semi_aves", "algorithm=fixmatch"]).train.steps == 262144
    assert configuration(["experiment=cpu", *DIGITS, "train.epochs=2"]).train.steps < 1000  # instead of a file's
