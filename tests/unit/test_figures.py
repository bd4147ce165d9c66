"""Figures: what the numbers say is what the pixels show, for ten classes and for a hundred."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from daso.outputs.rundir import RunDir
from daso.run.start import run
from daso.run.summary import draw_figures
from daso.track.figures import confusion_figure, pseudo_label_figure
from tests.compose import NOWHERE, config_of

BLUE, ORANGE = (31, 119, 180), (217, 95, 2)


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def plenty(image, color):
    """How many pixels are of about this color."""
    return int((np.abs(image - np.array(color)).max(-1) < 12).sum())


@pytest.mark.parametrize("classes", [10, 100])
def test_a_confusion_matrix_is_dark_on_the_diagonal_of_a_perfect_network(tmp_path, classes):
    confusion_figure(np.eye(classes) * 50, tmp_path / "perfect.png")
    confusion_figure(np.ones((classes, classes)), tmp_path / "chance.png")
    dark = (8, 48, 107)  # the darkest of the blues
    assert plenty(pixels(tmp_path / "perfect.png"), dark) > 2 * plenty(pixels(tmp_path / "chance.png"), dark)


def test_rows_are_shown_in_percent_of_the_class(tmp_path):
    confusion_figure(np.array([[9, 1], [90, 10]]), tmp_path / "a.png")
    confusion_figure(np.array([[90, 10], [9, 1]]), tmp_path / "b.png")
    assert (pixels(tmp_path / "a.png") == pixels(tmp_path / "b.png")).all()


def test_a_class_without_images_does_no_harm(tmp_path):
    confusion_figure(np.array([[5, 0], [0, 0]]), tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").format == "PNG"


@pytest.mark.parametrize("classes", [10, 100])
def test_recall_and_precision_have_a_color_each(tmp_path, classes):
    half, none = [0.5] * classes, [float("nan")] * classes
    pseudo_label_figure(half, none, tmp_path / "recall.png")
    pseudo_label_figure(none, half, tmp_path / "precision.png")
    recall, precision = (
        pixels(tmp_path / f"{name}.png")[:350] for name in ("recall", "precision")
    )  # above the crosses
    assert plenty(recall, BLUE) > 1.5 * plenty(precision, BLUE)
    assert plenty(precision, ORANGE) > 1.5 * plenty(recall, ORANGE)


def test_bars_are_as_high_as_the_fraction(tmp_path):
    heights = []
    for value in (0.25, 0.5):
        pseudo_label_figure([value] * 10, [float("nan")] * 10, tmp_path / "a.png")
        image = pixels(tmp_path / "a.png")
        bars = (np.abs(image - np.array(BLUE)).max(-1) < 12).sum(0)
        heights.append(np.median(bars[bars > 50]))
    assert heights[1] == pytest.approx(2 * heights[0], rel=0.03)


def test_equal_numbers_give_equal_files_and_no_rests(tmp_path):
    for name in ("a.png", "b.png"):
        pseudo_label_figure([0.5, 0.2], [0.1, float("nan")], tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "b.png"}


def test_naming_the_figures_does_not_import_matplotlib():
    code = "import sys, daso.track.figures; sys.exit(bool({'matplotlib', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_drawing_leaves_matplotlibs_global_state_alone(tmp_path):
    code = (
        "import sys, numpy, pathlib; from daso.track.figures import confusion_figure; "
        f"confusion_figure(numpy.eye(2), pathlib.Path({str(tmp_path / 'a.png')!r})); sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_drawing_library_says_nothing_of_its_own(tmp_path):
    """A new machine has no font cache; what is said of it would stand in the middle of a run's table."""
    code = (
        "import logging; logging.basicConfig(level=logging.INFO);"
        "from daso.track.figures import confusion_figure; import pathlib;"
        f"confusion_figure([[1, 0], [0, 1]], pathlib.Path({str(tmp_path / 'figure.png')!r}))"
    )
    environment = os.environ | {"MPLCONFIGDIR": str(tmp_path / "fresh")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("classes", [3, 30])
def test_few_classes_stand_under_their_names_and_many_under_numbers(tmp_path, classes):
    names = [f"class called {k}" for k in range(classes)]
    for draw in (
        lambda path, *more: confusion_figure(np.eye(classes) * 50, path, *more),
        lambda path, *more: pseudo_label_figure([0.5] * classes, [0.4] * classes, path, *more),
    ):
        draw(tmp_path / "named.png", names)
        draw(tmp_path / "plain.png")
        draw(tmp_path / "wrong.png", names[1:])
        named, plain, wrong = (pixels(tmp_path / f"{name}.png") for name in ("named", "plain", "wrong"))
        assert (named == plain).all() == (classes > 20)
        assert (wrong == plain).all()


def test_a_run_ends_with_its_figures(tmp_path, monkeypatch):
    monkeypatch.setattr("daso.run.training.draw_figures", draw_figures)
    config = config_of(
        "experiment=quickstart", "track=none", "train.steps=2", "train.eval_every=2", f"out_root={tmp_path}"
    )
    run(config, NOWHERE)
    drawn = RunDir(tmp_path, config.run_key).figures.iterdir()
    assert {path.name: Image.open(path).format for path in drawn} == {
        "confusion.png": "PNG",
        "pseudo_labels.png": "PNG",
    }
