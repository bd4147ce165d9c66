"""Runs on image files: which images they train on, where the pixels come from, and what decides the run."""

import json
import os
import signal
from contextlib import suppress
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from PIL import Image

from daso.data.freight import Freight
from daso.data.images import pools
from daso.data.images.decode import Rule
from daso.data.images.source import census, files_of, gallery, index_of_dataset
from daso.data.ragged import Resident
from daso.errors import UserError
from daso.outputs.rundir import RunDir
from daso.run.build import build, data_of
from daso.run.images import changed, telling
from daso.run.training import data_for
from daso.settings.compose import configuration
from daso.track.console import Console
from daso.train.loop import State, train
from tests import pictures
from tests.training import CPU, Rows

SMALL = ("dataset.resolution=12",)
LARGE = ("dataset.resolution=12", "dataset.crop=resized", "dataset.store_side=16")
SHORT = ("model=wrn10_1", "track=none", "train.batch_size=4", "train.log_every=2", "train.checkpoint_every=100")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Thirty labeled pictures of three classes, twelve unlabeled ones, a validation and a test set; of unequal size."""
    return pictures.photos(tmp_path_factory.mktemp("photos"))


def composed(root, *overrides, learner="fixmatch_daso"):
    return configuration(["dataset=folder", f"dataset.root={root}", f"algorithm={learner}", *SHORT, *overrides])


def expected(root, path, rule):
    return np.moveaxis(np.asarray(rule.render(Image.open(root / path))), -1, 0)


def test_the_files_say_how_many_classes_and_labels_there_are(photos):
    config = composed(photos, *SMALL)
    assert (config.dataset.num_classes, config.dataset.class_size) == (3, 6)
    assert (config.imb.n1, config.imb.gamma_l, config.imb.m1) == (14, 2.33, "unknown")
    assert (config.dataset.source_size, config.dataset.crop_pad, config.dataset.cutout) == (12, 1, 6)


def test_small_images_are_the_squares_in_the_middle_of_their_files(photos):
    config = composed(photos, *SMALL)
    parts = build(config, CPU, *data_of(config))
    pool, index, rule = parts.feed.pool, index_of_dataset(config.dataset), Rule("centre", 12, 12)
    for row in (0, 17, 29):
        assert_array_equal(pool.train_x[row], expected(photos, index.paths[row], rule))
    for row in (0, 11):
        assert_array_equal(pool.unlabeled_x[row], expected(photos, index.paths[30 + row], rule))
    for name, start in (("valid", 42), ("test", 51)):
        assert_array_equal(parts.splits[name][0][4], expected(photos, index.paths[start + 4], rule))
    assert parts.counts == [14, 10, 6]
    assert sorted(pool.unlabeled_y.tolist()) == [-2] * 2 + [0] * 6 + [2] * 4


def test_large_images_are_whole_and_evaluated_by_their_centre(photos):
    config = composed(photos, *LARGE)
    parts = build(config, CPU, *data_of(config))
    pool, index = parts.feed.pool, index_of_dataset(config.dataset)
    for row in (0, 29, 41):
        kept = expected(photos, index.paths[row], Rule("fit", 16))
        assert pool.images.size[row].tolist() == list(kept.shape[1:])
        start = int(pool.images.load(torch.tensor([row])))
        pixels = pool.images.bytes[start : start + kept.size].view(*kept.shape[1:], 3)
        assert_array_equal(pixels.permute(2, 0, 1), kept)
    assert_array_equal(parts.splits["test"][0][3], expected(photos, index.paths[54], Rule("centre", 14, 12)))


@pytest.mark.parametrize("views", [SMALL, LARGE])
def test_drawn_labels_are_as_many_of_each_class_and_the_rest_is_unlabeled(photos, views):
    config = composed(photos, *views, "dataset.labels_per_class=4")
    data, split = data_of(config)
    assert np.bincount(data.train_y[split.labeled]).tolist() == [4, 4, 4]
    assert len(split.unlabeled) == 30 - 12 + 12
    assert set(split.labeled) | set(split.unlabeled) == set(range(42))
    _, other = data_of(composed(photos, *views, "dataset.labels_per_class=4", "seed=1"))
    assert set(other.labeled) != set(split.labeled)


def test_drawn_labels_may_be_long_tailed(photos):
    config = composed(photos, *SMALL, "dataset.labels_per_class=6", "imb.gamma_l=6")
    data, split = data_of(config)
    assert np.bincount(data.train_y[split.labeled]).tolist() == [6, 2, 1]  # 6 * 6 ** (-k / 2), truncated
    assert (config.imb.n1, config.imb.gamma_l) == (6, 6)


def test_a_fraction_is_drawn_of_each_class(photos):
    config = composed(photos, *SMALL, "dataset.label_fraction=0.25")
    data, split = data_of(config)
    assert np.bincount(data.train_y[split.labeled]).tolist() == [4, 2, 2]  # a quarter of 14, 10 and 6
    assert (config.imb.n1, config.imb.gamma_l) == (4, 2)


def test_a_learner_of_labels_has_the_same_ones_and_no_others(photos):
    labels = "dataset.labels_per_class=4"
    _, with_others = data_of(composed(photos, *SMALL, labels))
    _, alone = data_of(composed(photos, *SMALL, labels, learner="supervised"))
    assert alone.labeled.tolist() == with_others.labeled.tolist()
    assert len(alone.unlabeled) == 0


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (
            ["dataset.labels_per_class=7"],
            "=7 is not possible: class hen (6) has too few images; the most that is possible is 6.",
        ),
        (["dataset.labels_per_class=12"], "=12 is not possible: classes cat (10), hen (6) have too few images; "),
        (
            ["dataset.labels_per_class=30", "imb.gamma_l=4"],
            "hen (6) have too few images; the most that is possible is 14.",
        ),
        (
            ["dataset.labels_per_class=30", "imb.gamma_l=20"],
            "too few images; with imb.gamma_l=20 no number is possible.",
        ),
        (["dataset.labels_per_class=4", "imb.gamma_l=20"], "imb.gamma_l=20 is not possible: class cat would have no"),
        (["imb.gamma_l=2"], "imb.gamma_l=2 is not possible: the labels are those of the files; dataset.labels_per_cl"),
        (["imb.n1=5"], "imb.n1=5 is not possible: the labels are those of the files; dataset.labels_per_class"),
        (["imb.m1=5"], "imb.m1=5 is not possible: unlabeled images are not counted off; they are all that"),
        (["imb.gamma_u=1"], "imb.gamma_u=1 is not possible: unlabeled images are not thinned; they are all that the"),
        (
            ["imbalance=digits_n20_m100_g10"],
            "imbalance=digits_n20_m100_g10 is not possible: its sizes are not those of",
        ),
        (["experiment=quickstart"], "which experiment=quickstart chooses, is not possible: its sizes are not those of"),
        (["experiment=quickstart", "dataset.root=foto"], "dataset.root=foto is not possible: there is no such folder"),
        (["imb.unlabeled_shape=middle"], "imb.unlabeled_shape=middle is not possible: the unlabeled images of folder"),
        (["dataset.num_valid=3"], "dataset.num_valid=3 is not possible: the validation images of a data set of files"),
        (["dataset.num_classes=4"], "dataset.num_classes=4 is not possible: the files have 3 classes"),
        (["dataset.label_fraction=0.5", "dataset.labels_per_class=4"], "so only one of the two"),
        (["dataset.crop=round"], "dataset.crop=round is not possible: one of pad, resized, auto"),
        (["dataset.store_side=8", "dataset.crop=resized"], "dataset.store_side=8 is not possible: a short side of"),
        (["dataset.splits=elsewhere"], "dataset.splits=elsewhere is not possible: the files themselves say"),
        (["dataset.name=cifar10"], "dataset.name=cifar10 is not possible: cifar10 is the name of a published data set"),
    ],
)
def test_what_the_files_contradict_is_refused(photos, overrides, says):
    with pytest.raises(UserError) as caught:
        composed(photos, *SMALL, *overrides)
    assert says in str(caught.value)


def test_files_that_are_no_longer_those_of_a_run_are_not_taken_for_its_own(photos):
    dataset = composed(photos, *SMALL).dataset
    paths, y = files_of(dataset, "test")
    assert [path.parent.name for path in paths] == [index_of_dataset(dataset).original[k] for k in y]
    with pytest.raises(UserError, match="its files are not those that the run was made on"):
        files_of(replace(dataset, files_checksum="0" * 16), "test")


def test_a_learner_of_unlabeled_images_wants_some(tmp_path):
    pictures.folder(tmp_path, train={"a": 3, "b": 3}, test={"a": 1, "b": 1})
    with pytest.raises(
        UserError, match=r"learns from unlabeled images, of which it holds none; add them, or draw labels"
    ):
        composed(tmp_path, *SMALL)
    composed(tmp_path, *SMALL, learner="supervised")
    composed(tmp_path, *SMALL, "dataset.labels_per_class=1")


@pytest.mark.parametrize("key", ["labels_per_class=3", "label_fraction=0.5", "crop=resized"])
def test_knobs_of_image_files_are_refused_elsewhere(key):
    with pytest.raises(UserError, match="only a data set of image files has it, such as dataset=folder"):
        configuration(["dataset=digits", f"dataset.{key}"])


def test_images_and_options_decide_the_run_and_their_place_does_not(photos, tmp_path):
    same = [composed(photos, *LARGE, *more).run_key for more in (
        [], ["dataset.place=host"], [f"dataset.store={tmp_path}"], ["dataset.rescan=true"])]  # fmt: skip
    assert len(set(same)) == 1
    others = [composed(photos, *LARGE, *more).run_key for more in (
        ["dataset.store_side=20"], ["dataset.labels_per_class=4"], ["dataset.label_fraction=0.5"],
        ["dataset.broken=skip"], ["dataset.resolution=14"], ["dataset.crop=pad"])]  # fmt: skip
    (tmp_path / "there").symlink_to(photos)
    assert composed(tmp_path / "there", *LARGE).run_key == same[0]
    pictures.folder(tmp_path / "other", train={"a": 3, "b": 3}, test={"a": 1, "b": 1}, unlabeled={"a": 1})
    assert len({same[0], *others, composed(tmp_path / "other", *LARGE).run_key}) == 8


def trained(config, folder, resume=False):
    """Parts and rows of a training, or of what is left of it."""
    data, split = data_of(config)
    parts = build(config, CPU, data, split)
    report, state, path = Rows(), State(), folder / "checkpoint.pt"
    if resume:
        state.unpack(parts, torch.load(path, weights_only=True))
    train(parts, state, report, path, {})
    return parts, report.kept


def assert_same(one, other):
    assert one[1] == other[1]
    for net, twin in zip(one[0].nets, other[0].nets):
        assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), twin.state_dict().values()))


METHODS = {
    "fixmatch_daso": ("daso.warmup_steps=4", "daso.update_every=2"),
    "fixmatch_crest_plus": ("protocol.generations=2",),
    "mixmatch": (),
    "fixmatch_simpro": (),
}
READERS = [(1, 0), (4, 1), (4, 3)]  # threads, and of how many steps to come they read the images


def killed(config, folder, step):
    """Train in a process of its own until it kills itself at a step."""
    child = os.fork()
    if not child:
        with suppress(BaseException):
            report = Rows()
            report.progress = lambda done: os.kill(os.getpid(), signal.SIGKILL) if done == step else None
            train(build(config, CPU, *data_of(config)), State(), report, folder / "checkpoint.pt", {})
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("learner", METHODS)
def test_a_run_is_the_same_wherever_its_images_are_and_after_it_was_killed(photos, tmp_path, learner, monkeypatch):
    steps = ("train.steps=6", "train.eval_every=3", "train.checkpoint_every=3")
    run = partial(composed, photos, *LARGE, *steps, *METHODS[learner], learner=learner)
    resident = trained(run("dataset.place=device"), tmp_path)
    assert isinstance(resident[0].feed.pool.images, Resident)
    monkeypatch.setattr("daso.data.freight.LEAST", 2)  # so that few images are shared by several threads, too
    for threads, ahead in READERS:
        monkeypatch.setattr(pools, "Freight", partial(Freight, threads=threads, ahead=ahead))
        mapped = trained(run("dataset.place=host"), tmp_path)
        assert mapped[0].feed.pool.ahead == ahead
        assert_same(resident, mapped)
    killed(run("dataset.place=host"), tmp_path, step=5)
    went_on = trained(run("dataset.place=host"), tmp_path, resume=True)
    assert_same((resident[0], [row for row in resident[1] if row[1] > 3]), went_on)


@pytest.mark.parametrize("views", [SMALL, LARGE])
def test_the_truth_of_unlabeled_images_changes_no_number_but_those_about_it(photos, tmp_path, views):
    config = composed(photos, *views, "train.steps=6", "train.eval_every=3", *METHODS["fixmatch_daso"])
    data, split = data_of(config)
    found = []
    for permute in (False, True):
        if permute:
            data.train_y[30:] = np.roll(data.train_y[30:], 5)
        parts, report = build(config, CPU, data, split), Rows()
        train(parts, State(), report, tmp_path / "checkpoint.pt", {})
        found.append((parts, [{k: v for k, v in row.items() if not k.startswith("pl/")} for _, _, row in report.kept]))
    assert_same(*found)
    slots, others = (parts.slots.state_dict() for parts, _ in found)
    assert all(torch.equal(slots[name], others[name]) for name in slots)


def test_paths_reach_no_checkpoint_and_no_journal(photos, tmp_path):
    config = composed(photos, *LARGE, "train.steps=4", "train.eval_every=2", "train.checkpoint_every=4")
    _, rows = trained(config, tmp_path)
    assert "unlabeled/" not in json.dumps(rows)
    content = (tmp_path / "checkpoint.pt").read_bytes()
    assert b".png" not in content
    assert str(photos).encode() not in content


@pytest.mark.parametrize("views", [SMALL, LARGE])
def test_broken_files_are_refused_or_left_out(tmp_path, views):
    pictures.folder(tmp_path, train={"a": 4, "b": 3}, unlabeled={"x": 3}, test={"a": 2, "b": 2})
    for path in ("train/a/1.png", "unlabeled/x/0.png", "test/b/1.png"):
        content = bytearray((tmp_path / path).read_bytes())
        content[90] ^= 255
        (tmp_path / path).write_bytes(content)
    with pytest.raises(UserError, match=r"train/a/1\.png is damaged"):
        data_of(composed(tmp_path, *views))
    config = composed(tmp_path, *views, "dataset.broken=skip")
    data, split = data_of(config)
    index = index_of_dataset(config.dataset)
    used = {index.paths[row] for row in (*split.labeled, *split.unlabeled)}
    assert used == {path for path in index.paths[:10] if path not in ("train/a/1.png", "unlabeled/x/0.png")}
    assert len(data.test.y) == 3
    assert "1 broken file of the test images left out (dataset.broken=skip)." in data.notes
    counted = census(data, split)
    assert (counted.labeled.sum(), len(counted.truth), counted.test.tolist()) == (6, 2, [2, 1])
    parts, _ = trained(composed(tmp_path, *views, "dataset.broken=skip", "train.steps=2"), tmp_path)
    assert parts.counts == [3, 3]


def test_a_run_s_folder_has_the_names_and_sizes_of_its_classes(photos, tmp_path, capsys):
    folder = RunDir(tmp_path, "0" * 12)
    folder.path.mkdir()
    data_for(composed(photos, *SMALL), folder, Console(width=200))
    assert folder.class_names() == ["dog", "cat", "hen"]
    assert folder.classes.read_text().splitlines()[1] == "0,dog,dog,14,3,3,6"
    out = capsys.readouterr().out
    assert "3 classes, labeled images 14 dog (most), 10 cat (median), 6 hen (fewest): imbalance 2.33" in out
    assert "images: labeled 30, unlabeled 12 (10 of a known class, 2 of none), valid 9, test 9" in out


def test_what_is_said_of_the_images_otherwise_since_a_run_is_named_and_moves_no_key(photos, tmp_path):
    def listed(place, cat, unlabeled):
        lines = {"labeled": [], "test": [], "unlabeled": [f"{photos}/unlabeled/hen/0.png,{unlabeled}"]}
        for name, source in (("labeled", "train"), ("test", "test")):
            for path in sorted(photos.glob(f"{source}/*/*.png")):
                lines[name].append(f"{path},{path.parent.name.replace('cat', cat)}")
        for name, found in lines.items():
            (tmp_path / place).mkdir(exist_ok=True)
            (tmp_path / place / f"{name}.csv").write_text("\n".join(["path,label", *found]))
        lists = (f"dataset.lists={tmp_path / place}", f"dataset.store={tmp_path / 'store'}")
        return configuration(["dataset=csv", f"dataset.root={photos}", *lists, "algorithm=fixmatch", *SHORT, *SMALL])

    first = listed("first", "cat", "hen")
    folder = RunDir(tmp_path, first.run_key)
    folder.path.mkdir()
    data_for(first, folder, None)
    again = "force=true does it again."
    renamed = f"Since this run was made, class cat is called katze now: {again}"
    known = f"Since this run was made, unlabeled images are known to be of other classes now: {again}"
    for place, cat, unlabeled, said in (
        ("first", "cat", "hen", []),
        ("named", "katze", "hen", [renamed]),
        ("known", "cat", "dog", [known]),
        ("unknown", "katze", "", [renamed, known]),
    ):
        config = listed(place, cat, unlabeled)
        assert config.run_key == first.run_key
        assert changed(config, folder) == said
    folder.classes.write_text("nothing")
    assert changed(first, folder) == []


def test_a_data_set_of_arrays_has_no_names_of_classes(tmp_path):
    assert RunDir(tmp_path, "0" * 12).class_names() == []


def test_a_long_build_is_told_of_now_and_then_and_a_short_one_not_at_all(capsys):
    clock = iter([0.0, 0.0, 0.0, 4.0, 11.0, 11.0, 12.0])
    progress = telling(Console(width=100), lambda: next(clock))("test")
    for done in (0, 10, 20, 30):
        progress(done, 30)
    assert capsys.readouterr().out.splitlines() == [
        "Storing test images: 0 of 30.", "Storing test images: 20 of 30.", "Storing test images: 30 of 30.",
    ]  # fmt: skip
    telling(Console(width=100))("test")(30, 30)
    assert capsys.readouterr().out == ""


def test_a_store_of_images_of_which_some_lose_their_labels_is_not_called_labeled(tmp_path):
    pictures.folder(tmp_path, train={"a": 4, "b": 4}, test={"a": 1, "b": 1})
    told = []
    gallery(
        composed(tmp_path, *LARGE, "dataset.label_fraction=0.5").dataset, 0, 1, lambda name: told.append(name) or min
    )
    assert told == ["training", "test"]


def test_lists_and_a_folder_of_the_same_images_are_named_by_their_reader(photos, tmp_path):
    lines = {"labeled": ["path,label"], "test": ["path,label"]}
    for name, source in (("labeled", "train"), ("test", "test")):
        for path in sorted(photos.glob(f"{source}/*/*.png")):
            lines[name].append(f"{path.relative_to(photos)},{path.parent.name}")
        (tmp_path / f"{name}.csv").write_text("\n".join(lines[name]))
    overrides = ["dataset=csv", f"dataset.root={photos}", f"dataset.lists={tmp_path}", "algorithm=supervised", *SHORT]
    config = configuration([*overrides, *SMALL])
    data, split = data_of(config)
    assert np.bincount(data.train_y[split.labeled]).tolist() == [14, 10, 6]
    assert config.dataset.name == "csv"
