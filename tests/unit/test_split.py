"""Rules of the split that hold for every data set and setting."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from daso.data.sizes import check_sizes, class_counts
from daso.data.split import Split, checksum, load, make_split, save
from daso.errors import UserError
from daso.schema import DatasetConfig, ImbalanceConfig


def dataset(class_size, classes=10, **changes):
    return DatasetConfig(
        name="toy",
        num_classes=classes,
        class_size=class_size,
        channels=1,
        source_size=8,
        resolution=8,
        crop_pad=1,
        mean=[0.5],
        std=[0.5],
        **changes,
    )


def own_unlabeled(class_size, **changes):
    return dataset(class_size, unknown_unlabeled=True, **changes)


def imb(n1, m1, gamma_l=1, gamma_u=1):
    return ImbalanceConfig(n1=n1, m1=m1, gamma_l=gamma_l, gamma_u=gamma_u)


def shuffled_labels(class_size, classes=10, seed=0):
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(classes), class_size))


@st.composite
def possible_settings(draw):
    classes = draw(st.integers(2, 12))
    n1, m1, held = draw(st.integers(2, 30)), draw(st.integers(10, 30)), draw(st.integers(0, 5))
    gamma_l = draw(st.floats(1, n1 * 0.9) | st.just(1.0))
    gamma_u = draw(st.sampled_from([1, 3, 10, "1/10", 0.5]))
    assume(min(class_counts(n1, gamma_l, classes)) > 0)
    spare = draw(st.integers(0, 3))
    data = dataset(n1 + m1 + held + spare, classes, num_valid=held * classes)
    return data, imb(n1, m1, gamma_l, gamma_u), draw(st.integers(0, 2**32 - 1))


@given(possible_settings())
def test_every_class_gets_the_images_of_the_formula(case):
    data, sizes, seed = case
    labels = shuffled_labels(data.class_size, data.num_classes)
    split = make_split(labels, data, sizes, seed, with_unlabeled=True, n_extra=0)
    per_class = [np.bincount(labels[rows], minlength=data.num_classes).tolist() for rows in split]
    assert per_class[0] == class_counts(sizes.n1, sizes.gamma_l, data.num_classes)
    assert per_class[1] == class_counts(sizes.m1, sizes.gamma_u, data.num_classes)
    assert per_class[2] == [data.num_valid // data.num_classes] * data.num_classes


@given(possible_settings())
def test_no_image_is_in_two_sets(case):
    data, sizes, seed = case
    split = make_split(shuffled_labels(data.class_size, data.num_classes), data, sizes, seed, True, 0)
    everything = np.concatenate(split)
    assert len(np.unique(everything)) == len(everything)


@given(possible_settings())
def test_labeled_set_is_the_same_without_unlabeled_data(case):
    data, sizes, seed = case
    labels = shuffled_labels(data.class_size, data.num_classes)
    with_unlabeled, alone = (make_split(labels, data, sizes, seed, flag, 0) for flag in (True, False))
    np.testing.assert_array_equal(alone.labeled, with_unlabeled.labeled)
    assert alone.unlabeled.size == 0


@given(st.integers(1, 5000), st.floats(1, 500), st.integers(2, 100))
def test_counts_fall_from_head_to_tail(n_max, gamma, classes):
    counts = class_counts(n_max, gamma, classes)
    assert counts[0] == n_max
    assert counts == sorted(counts, reverse=True)


@pytest.mark.parametrize("gamma", [2, 50, 100, 150])
def test_counts_of_a_reciprocal_gamma_are_reversed(gamma):
    assert class_counts(4000, 1 / gamma, 10) == class_counts(4000, gamma, 10)[::-1]


def test_another_seed_draws_other_images():
    labels, data, sizes = shuffled_labels(60), dataset(60), imb(20, 20, 10, 10)
    first, second = (make_split(labels, data, sizes, seed, True, 0) for seed in (0, 1))
    assert checksum(first) != checksum(second)


def test_own_unlabeled_images_are_all_used_and_the_labeled_ones_thinned_by_the_formula():
    labels, data = shuffled_labels(50), own_unlabeled(50, num_valid=50)
    split = make_split(labels, data, imb(40, "unknown", 10, "unknown"), 3, True, 123)
    order = []  # the same in plain NumPy: hold 5 per class out, restart the stream, keep the first n_k
    stream = np.random.RandomState(3)
    for k in range(10):
        mine = np.flatnonzero(labels == k)
        stream.shuffle(mine)
        order.append(mine[5:])
    stream = np.random.RandomState(3)
    for k, count in enumerate([40, 30, 23, 18, 14, 11, 8, 6, 5, 4]):
        positions = np.arange(45)
        stream.shuffle(positions)
        order[k] = order[k][positions[:count]]
    np.testing.assert_array_equal(split.labeled, np.concatenate(order))
    np.testing.assert_array_equal(split.unlabeled, np.arange(123))


def test_uniform_labels_beside_own_unlabeled_images_are_n1_per_class():
    labels = shuffled_labels(50)
    split = make_split(labels, own_unlabeled(50), imb(7, "unknown", 1, "unknown"), 0, True, 9)
    assert np.bincount(labels[split.labeled]).tolist() == [7] * 10


@pytest.mark.parametrize(
    ("data", "sizes", "named"),
    [
        (dataset(5000), imb(1500, 4000), r"imb.n1 \+ imb.m1=1500 \+ 4000"),
        (dataset(5000, num_valid=5000), imb(500, 4001), "dataset.num_valid=5000 takes 500"),
        (dataset(5000), imb(50, 100, gamma_l=100), "imb.gamma_l=100"),
        (dataset(5000), imb(500, "unknown"), "imb.m1=unknown"),
        (dataset(5000), imb(500, 4000, 1, "unknown"), "imb.gamma_u=unknown"),
        (own_unlabeled(500), imb(450, 1000, 1, "unknown"), "imb.m1=1000"),
        (own_unlabeled(500), imb(450, "unknown", 1, 10), "imb.gamma_u=10"),
        (own_unlabeled(500, num_valid=1000), imb(450, "unknown", 1, "unknown"), "imb.n1=450"),
    ],
)
def test_impossible_class_sizes_are_refused_without_data(data, sizes, named):
    with pytest.raises(UserError, match=named):
        check_sizes(data, sizes, data.class_size)


def test_a_class_smaller_than_configured_is_refused():
    labels = np.delete(shuffled_labels(30), 0)
    with pytest.raises(UserError, match="29 training images"):
        make_split(labels, dataset(30), imb(10, 20), 0, True, 0)


def test_a_class_without_images_is_refused():
    with pytest.raises(UserError, match="has 0 training images"):
        make_split(shuffled_labels(30, classes=9), dataset(30), imb(10, 20), 0, True, 0)


def test_saved_split_is_read_back(tmp_path):
    split = Split(np.arange(5), np.arange(0), np.array([7, 3]))
    save(split, tmp_path / "splits.npz")
    assert checksum(load(tmp_path / "splits.npz")) == checksum(split)
    assert [rows.dtype for rows in load(tmp_path / "splits.npz")] == [np.int64] * 3


def test_saving_leaves_no_other_file(tmp_path):
    save(Split(np.arange(5), np.arange(0), np.arange(0)), tmp_path / "splits.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["splits.npz"]


def test_a_failed_save_keeps_the_old_file(tmp_path, monkeypatch):
    split = Split(np.arange(5), np.arange(0), np.arange(0))
    save(split, tmp_path / "splits.npz")
    monkeypatch.setattr(np, "savez_compressed", lambda *_, **__: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space left"):
        save(Split(np.arange(6), np.arange(0), np.arange(0)), tmp_path / "splits.npz")
    assert checksum(load(tmp_path / "splits.npz")) == checksum(split)
    assert len(list(tmp_path.iterdir())) == 1


def test_checksum_tells_sets_apart_that_hold_the_same_rows():
    assert checksum(Split(np.arange(3), np.arange(0), np.arange(0))) != checksum(
        Split(np.arange(0), np.arange(3), np.arange(0))
    )


def test_a_changed_row_is_noticed(tmp_path):
    split = Split(np.arange(5), np.arange(3), np.arange(0))
    changed = split._replace(labeled=np.array([0, 1, 2, 3, 9]))
    np.savez(tmp_path / "splits.npz", checksum=checksum(split), **changed._asdict())
    with pytest.raises(UserError, match="damaged"):
        load(tmp_path / "splits.npz")


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_an_unreadable_split_is_a_sentence(tmp_path, content):
    (tmp_path / "splits.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"splits.npz is unreadable \(\w+\): .*force=true"):
        load(tmp_path / "splits.npz")


def test_checking_class_sizes_imports_no_torch():
    code = "import sys, daso.data.split; raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
