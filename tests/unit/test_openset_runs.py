"""A whole run on unlabeled images of which some show none of the classes: what it tells of them, and to whom."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from sklearn.metrics import roc_auc_score

from daso.outputs.files import read_json
from daso.outputs.rundir import RunDir
from daso.report.collect import collect
from daso.report.figures.canvas import Series
from daso.report.figures.openset import entropies
from daso.run import training
from daso.run.build import build, data_of
from daso.run.start import run
from daso.settings.compose import configuration
from daso.track.jsonl import read
from tests import pictures
from tests.compose import NOWHERE
from tests.training import CPU

SHORT = ("model=wrn10_1", "track=none", "train.batch_size=4", "train.log_every=2", "train.checkpoint_every=3")
STEPS = ("train.steps=6", "train.eval_every=3", "daso.warmup_steps=3", "daso.update_every=2")
LARGE = ("dataset.resolution=12", "dataset.crop=resized", "dataset.store_side=16", "dataset.place=host")
OTHERS = re.compile("^(pseudo-labels|mean entropy)|wait for images")  # lines about the truth, or about the disk
TIMES = re.compile(r"\d+s left +\S+/s|data \d+ %|steps in \S+|loss \S+")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return pictures.photos(tmp_path_factory.mktemp("photos"))


def trained(photos, out_root, truth=lambda labels: labels):
    """The folder of a finished run, for which the truth of the twelve unlabeled images was changed by `truth`."""
    config = configuration(
        ["dataset=folder", f"dataset.root={photos}", "algorithm=fixmatch_daso", *SHORT, *STEPS, *LARGE]
    )
    config = replace(config, out_root=str(out_root))

    def changed(*args):
        data, split = data_of(*args)
        data.train_y[30:] = truth(data.train_y[30:])
        return data, split

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "data_of", changed)
        run(config, NOWHERE)
    return config, RunDir(out_root, config.run_key)


@pytest.fixture(scope="module")
def finished(photos, tmp_path_factory):
    return trained(photos, tmp_path_factory.mktemp("runs"))


def test_the_end_of_a_run_measures_how_uncertain_the_network_is_about_both_kinds_of_images(finished):
    config, folder = finished
    parts = build(config, CPU, *data_of(config))
    saved = torch.load(folder.checkpoint, weights_only=True)
    parts.nets.teacher.load_state_dict(saved["teacher"])
    with torch.no_grad():
        images = parts.feed.plain(torch.arange(12))
        mean, std = (torch.tensor(v)[:, None, None] for v in (config.dataset.mean, config.dataset.std))
        features = parts.nets.teacher.encode((images / 255 - mean) / std, running_stats=True)
        shares = parts.nets.teacher.classify(features, "cls").softmax(1).numpy()
    out = parts.feed.pool.unlabeled_y.numpy() == -2
    uncertainty = entropy(shares, axis=1)
    summary = read_json(folder.summary)
    assert summary["openset/entropy/in"] == pytest.approx(uncertainty[~out].mean(), rel=1e-4)
    assert summary["openset/entropy/out"] == pytest.approx(uncertainty[out].mean(), rel=1e-4)
    assert summary["openset/auroc"] == pytest.approx(roc_auc_score(out, uncertainty), abs=1e-6)
    (row,) = (row for row in read(folder.metrics) if row["event"] == "openset")
    assert (row["step"], row["openset/auroc"]) == (6, summary["openset/auroc"])
    with np.load(folder.openset) as kept:
        assert (kept["inside"].sum(), kept["outside"].sum()) == (10, 2)
        found = np.histogram(uncertainty[out], kept["edges"])[0]
        assert kept["outside"].tolist() == found.tolist()


def test_a_period_tells_how_many_labels_go_to_images_of_no_class(finished):
    _, folder = finished
    rows = [row for row in read(folder.metrics) if row["event"] == "eval"]
    for row in rows:
        given = sum(row[f"pl/out/count/class/{k}"] for k in range(3))
        assert 0 < given < sum(row[f"pl/final/count/class/{k}"] for k in range(3))
        assert 0 <= row["pl/out/coverage"] <= 1
    assert all("time/wait_share" in row for row in read(folder.metrics) if row["event"] == "train")


def test_a_finished_run_evaluated_again_tells_the_same(finished, capsys):
    config, folder = finished
    before = {path: path.read_bytes() for path in (folder.openset, folder.metrics, folder.summary)}
    run(replace(config, eval_only=True), NOWHERE)
    told = "mean entropy of unlabeled images of the classes and of none: {openset/entropy/in:.2f} and "
    told += "{openset/entropy/out:.2f} nats, AUROC {openset/auroc:.2f}"
    again = capsys.readouterr().out
    summary = read_json(folder.summary)
    assert re.sub(r"\{([\w/]+):", r"{0[\1]:", told).format(summary) in again
    assert {path: path.read_bytes() for path in before} == before


def test_classes_have_their_names_wherever_a_run_is_told_of(finished, capsys):
    config, _ = finished
    run(config, NOWHERE)
    again = capsys.readouterr().out
    assert re.search(r"test recall of each class: dog \d+, cat \d+, hen \d+", again)
    said = [line for line in again.splitlines() if "never predicts" in line]
    assert all(re.search(r"class(es)? (dog|cat|hen)", line) for line in said)


def test_the_truth_of_unlabeled_images_reaches_measurements_alone(photos, finished, tmp_path, capsys):
    told, found = [], []
    for k, truth in enumerate((lambda labels: labels, lambda labels: np.roll(labels, 5))):
        _, folder = trained(photos, tmp_path / str(k), truth)
        saved = torch.load(folder.checkpoint, weights_only=True)
        own = {key: saved[key] for key in ("student", "teacher", "learner", "slots", "optimizer", "history", "warned")}
        own |= {"last": {k: v for k, v in saved["last"].items() if not k.startswith("pl/")}}
        rows = [
            {k: str(v) for k, v in row.items() if not k.startswith(("pl/", "openset/", "time/", "memory/"))}
            for row in read(folder.metrics)
        ]
        found.append(str((own, rows, folder.classes.read_text(), folder.card.read_text())))
        lines = capsys.readouterr().out.splitlines()
        told.append([TIMES.sub("", line) for line in lines if not OTHERS.search(line)])
    assert found[0] == found[1]
    assert told[0] == told[1]


def test_the_figure_shows_the_images_of_a_run_s_histograms(finished):
    _, folder = finished
    figure = entropies([Series("own", collect([folder.root]))], "Figure 12")
    (axes,) = figure.axes
    heights = [patch.get_data().values.sum() for patch in axes.patches]
    assert heights == [10, 2]
    assert axes.get_title() == "own (seed 0)"
    assert entropies([Series("own", [])], "Figure 12") is None
