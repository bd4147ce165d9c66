"""Shapes of the unlabeled set beside the paper's: SimPro's, SC-SSL's, and an explicit list of counts."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from daso.data.sizes import class_counts, unlabeled_counts
from daso.data.split import make_split
from daso.errors import UserError
from daso.outputs.files import read_json
from daso.outputs.naming import imbalance_name, run_name
from daso.outputs.rundir import RunDir
from daso.run.stages import assumed_counts, prerequisites
from daso.run.start import run
from daso.schema import SHAPES, DatasetConfig, ImbalanceConfig
from daso.settings.compose import configuration
from daso.settings.identity import plain
from daso.settings.unread import inert
from tests.compose import CONF, NOWHERE, tiny

GOLDEN = Path(__file__).parents[1] / "golden"
COUNTS = [40, 7, 0, 12, 3, 30, 1, 1, 25, 9]
LIST = f"imb.unlabeled_counts=[{','.join(map(str, COUNTS))}]"
FIXMATCH = ("dataset=cifar10", "algorithm=fixmatch")


def imb(shape="long_tailed", m1=400, gamma_u=100, **more):
    return ImbalanceConfig(n1=50, m1=m1, gamma_l=10, gamma_u=gamma_u, unlabeled_shape=shape, **more)


def ranks(shape, classes, seed=0):
    """The rank of each class by its unlabeled images, from the largest."""
    counts = unlabeled_counts(imb(shape, m1=10**6), classes, seed)
    return np.argsort(np.argsort(np.negative(counts), kind="stable")).tolist()


@pytest.mark.parametrize(
    ("shape", "classes", "order"),
    [
        ("long_tailed", 10, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("middle", 10, [8, 6, 4, 2, 0, 1, 3, 5, 7, 9]),  # as SimPro's code lists them
        ("head_tail", 10, [1, 3, 5, 7, 9, 8, 6, 4, 2, 0]),
        ("middle", 5, [4, 2, 0, 1, 3]),
        ("head_tail", 5, [1, 3, 4, 2, 0]),
        ("middle", 2, [0, 1]),
        ("head_tail", 2, [1, 0]),
    ],
)
def test_a_class_has_the_count_of_its_rank_in_the_shape(shape, classes, order):
    assert ranks(shape, classes) == order


@pytest.mark.parametrize("shape", ["middle", "head_tail", "random"])
@pytest.mark.parametrize(("classes", "gamma"), [(10, 100), (10, 150), (100, 20), (7, 3)])
def test_simpros_shapes_hold_the_counts_of_the_long_tail(shape, classes, gamma):
    counts = unlabeled_counts(imb(shape, gamma_u=gamma), classes, 3)
    assert sorted(counts, reverse=True) == class_counts(400, gamma, classes)


def test_a_random_order_is_drawn_from_the_runs_seed():
    counts = class_counts(10**6, 100, 10)
    for seed in (0, 1, 2**32 - 1):
        order = np.random.RandomState(seed).permutation(10)
        assert unlabeled_counts(imb("random", m1=10**6), 10, seed) == [counts[rank] for rank in order]
    assert ranks("random", 10, 0) != ranks("random", 10, 1)


@pytest.mark.parametrize("case", ["c10_consist", "c100_inverse"])
@pytest.mark.parametrize(("shape", "anchor"), [("gaussian", 3), ("inverse_gaussian", 4)])
def test_bells_are_the_recorded_ones_at_their_imbalance(case, shape, anchor):
    with np.load(GOLDEN / "beyond" / "scssl_text.npz") as recorded:
        expected = recorded[f"{case}/anchors"][anchor]
    gamma = expected.max() / expected.min()
    counts = np.array(unlabeled_counts(imb(shape, m1=10**9, gamma_u=gamma), len(expected), 0))
    np.testing.assert_allclose(counts / counts.sum(), expected, rtol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("classes", "gamma"), [(10, 100), (10, 7.3), (100, 10), (3, 2)])
def test_the_imbalance_of_every_shape_is_largest_by_smallest(shape, classes, gamma):
    counts = unlabeled_counts(imb(shape, m1=7300, gamma_u=gamma), classes, 0)
    assert max(counts) == 7300
    assert min(counts) == pytest.approx(7300 / gamma, abs=1)


def data(class_size, classes=10):
    return DatasetConfig("toy", classes, class_size, 1, 8, 8, [0.5], [0.5], crop_pad=1, num_valid=0)


@pytest.mark.parametrize("sizes", [*(imb(shape, gamma_u=20) for shape in SHAPES), imb(unlabeled_counts=COUNTS)])
def test_a_split_has_the_counts_of_its_shape_and_the_labeled_images_of_any(sizes):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 460))
    split = make_split(labels, data(460), sizes, 5, True, 0)
    assert np.bincount(labels[split.unlabeled], minlength=10).tolist() == unlabeled_counts(sizes, 10, 5)
    same = make_split(labels, data(460), imb(m1=300), 5, True, 0)
    np.testing.assert_array_equal(split.labeled, same.labeled)
    assert len(np.intersect1d(split.labeled, split.unlabeled)) == 0


def test_a_list_of_the_counts_of_the_long_tail_draws_the_same_images():
    labels = np.repeat(np.arange(10), 460)
    shaped, listed = imb(gamma_u=20), imb(unlabeled_counts=class_counts(400, 20, 10))
    one, other = (make_split(labels, data(460), sizes, 0, True, 0) for sizes in (shaped, listed))
    np.testing.assert_array_equal(one.unlabeled, other.unlabeled)


OPTIONS = sorted(path.stem for path in (Path(CONF) / "imbalance").glob("cifar*_g*.yaml"))


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_is_what_its_name_says(option):
    name, n1, m1, gamma, *shape = option.split("_", 4)
    sizes = configuration([f"dataset={name}", "algorithm=fixmatch", f"imbalance={option}"]).imb
    gamma_l = float(gamma[1:])
    gamma_u = {"uniform": 1, "reversed": 1 / gamma_l}.get("".join(shape), gamma_l)
    assert (sizes.n1, sizes.m1, sizes.gamma_l, sizes.gamma_u) == (int(n1[1:]), int(m1[1:]), gamma_l, gamma_u)
    assert sizes.unlabeled_shape == ("_".join(shape) if "_".join(shape) in SHAPES else "long_tailed")


def test_a_shape_and_a_list_are_part_of_the_key_and_the_list_alone_decides_where_it_stands():
    shapes = [configuration([*FIXMATCH, f"imb.unlabeled_shape={shape}"]).run_key for shape in SHAPES]
    listed = configuration([*FIXMATCH, LIST])
    assert len({*shapes, listed.run_key}) == len(SHAPES) + 1
    assert shapes[0] == configuration([*FIXMATCH]).run_key
    assert configuration([*FIXMATCH, LIST, "imb.m1=7", "imb.gamma_u=3"]).run_key == listed.run_key
    assert (listed.imb.m1, listed.imb.gamma_u) == (40, 40)
    for override in ("imb.m1=7", "imb.gamma_u=3"):
        assert inert(listed, [LIST, override]) == [
            f"{override} has no effect in this run: only a setting without imb.unlabeled_counts reads it."
        ]


@pytest.mark.parametrize("override", ["imb.unlabeled_shape=middle", LIST])
def test_a_learner_of_labeled_images_does_not_read_a_shape(override):
    config = configuration(["dataset=cifar10", "algorithm=supervised", override])
    assert inert(config, [override]) == [
        f"{override} has no effect in this run: only a learner of unlabeled images reads it."
    ]


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["imb.unlabeled_shape=midle"], "imb.unlabeled_shape=midle is not possible: one of long_tailed, middle"),
        (["imb.unlabeled_shape=middle", "imb.gamma_u=1/100"], "imb.gamma_u=0.01 is not possible: with imb.unlabeled_s"),
        (["imb.unlabeled_shape=random", "imb.gamma_u=1"], "the largest class / the smallest, a number above 1"),
        (["imb.unlabeled_shape=gaussian", "imb.gamma_u=5000"], "imb.m1=3000 would leave the smallest class empty"),
        (["imb.unlabeled_shape=middle", LIST], "imb.unlabeled_shape=middle is not possible: imb.unlabeled_counts says"),
        (["imb.unlabeled_counts=[1,2]"], "one number for each of the 10 classes of cifar10"),
        (["imb.unlabeled_counts=[0,0,0,0,0,0,0,0,0,0]"], "the images of each class, 0 or more, and not 0 of all"),
        (["imb.unlabeled_counts=[-1,1,1,1,1,1,1,1,1,1]"], "the images of each class, 0 or more, and not 0 of all"),
        (
            ["imb.unlabeled_counts=[3001,1,1,1,1,1,1,1,1,1]"],
            r"imb.n1 \+ the largest of .*=1500 \+ 3001 is not possible",
        ),
        (["imb.unlabeled_counts=[1.5]"], "it is a list of whole numbers"),
        (["imb.unlabeled_counts=100"], "it is a list of whole numbers"),
        (["dataset=stl10", "imb.unlabeled_shape=middle"], "imb.unlabeled_shape=middle .*: stl10 brings its own"),
        (["dataset=stl10", LIST], "imb.unlabeled_counts=.*: stl10 brings its own unlabeled images"),
    ],
)
def test_what_cannot_be_is_one_sentence(overrides, says):
    with pytest.raises(UserError, match=says):
        configuration([*FIXMATCH, *overrides])


def test_a_setting_is_called_by_its_shape():
    names = [imbalance_name(plain(configuration([*FIXMATCH, f"imb.unlabeled_shape={shape}"]).imb)) for shape in SHAPES]
    assert names[:2] == ["N1=1500 gl=100 gu=100", "N1=1500 gl=100 gu=100 middle"]
    listed = plain(configuration([*FIXMATCH, LIST]))
    assert imbalance_name(listed["imb"]) == "N1=1500 gl=100 M=counts-b7807ce5"
    assert run_name(listed) == "cifar10 fixmatch N1=1500 gl=100 M=counts-b7807ce5 s0"


def test_what_the_paper_does_for_matched_sets_is_not_done_for_shapes():
    assert configuration(["dataset=cifar10", "algorithm=fixmatch_daso"]).daso.t_dist == 1.5
    for override in ("imb.unlabeled_shape=middle", LIST):
        assert configuration(["dataset=cifar10", "algorithm=fixmatch_daso", override]).daso.t_dist == 0.3
        assert configuration(["dataset=cifar10", "algorithm=fixmatch_darp", override]).darp.goal == "estimate"
        assert configuration(["algorithm=remixmatch", "align=matched", override]).align.name == "none"


def test_darp_does_not_take_the_papers_estimate_for_a_shape():
    uniform = [*FIXMATCH[:1], "algorithm=fixmatch_darp", "darp.goal=shipped", "imb.unlabeled_counts=[" + "3000," * 9]
    with pytest.raises(UserError, match="the reference has no estimate for this setting"):
        configuration([*uniform[:3], uniform[3] + "3000]"])
    with pytest.raises(UserError, match="the reference has no estimate for this setting"):
        configuration([*uniform[:3], "imb.unlabeled_shape=middle"])


def test_darps_estimate_is_made_on_the_images_of_the_shape():
    for override in ("imb.unlabeled_shape=middle", LIST):
        config = configuration(["dataset=cifar10", "algorithm=fixmatch_darp", override])
        (estimating,) = prerequisites(config)
        assert estimating.imb == config.imb


def test_darp_told_to_assume_the_labeled_distribution_does_so_under_any_shape():
    config = configuration(
        ["dataset=cifar10", "algorithm=fixmatch_darp", "darp.goal=labeled", "imb.unlabeled_shape=middle"]
    )
    counts = class_counts(3000, 100, 10)
    np.testing.assert_allclose(assumed_counts(config, sum(counts)), counts)


@pytest.mark.parametrize(
    ("algorithm", "setting"),
    [
        ("fixmatch_darp", "imb.unlabeled_shape=head_tail"),
        ("fixmatch_crest_plus", "imb.unlabeled_shape=random"),
        ("fixmatch_daso", LIST),
    ],
)
def test_methods_that_count_classes_train_under_shapes(tmp_path, algorithm, setting):
    """With a class that no unlabeled image has, in the explicit list."""
    short = ["train.steps=10", "train.eval_every=5", "train.log_every=5", "daso.warmup_steps=5", "daso.update_every=5"]
    short += ["imb.n1=30", "imb.m1=40", "imb.gamma_l=5", "imb.gamma_u=5", f"out_root={tmp_path}"]
    extra = {
        "fixmatch_darp": ["darp.every=2", "darp.goal=labeled"],
        "fixmatch_crest_plus": ["protocol.generations=2"],
    }.get(algorithm, [])
    config = tiny(f"algorithm={algorithm}", setting, *short, *extra)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        run(config, NOWHERE)
    summary = read_json(RunDir(tmp_path, config.run_key).summary)
    assert summary["steps"] == 10
    assert 0 <= summary["pl/final/recall"] <= 1
