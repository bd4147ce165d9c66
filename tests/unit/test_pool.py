"""The resident images of a run."""

import numpy as np
import pytest
import torch

from daso.data import pool as pool_module
from daso.data.pool import Pool
from daso.data.sources import Arrays
from daso.data.split import Split
from daso.data.views.resize import Resize
from daso.schema import Includes

LABELED, UNLABELED, VALID = np.array([9, 0, 4]), np.array([1, 2, 3, 8]), np.array([5, 6])
NONE = np.arange(0)
SPLIT = Split(LABELED, UNLABELED, VALID)


def arrays(unlabeled=None):
    images = np.random.default_rng(0).integers(0, 256, (10, 3, 4, 4), dtype=np.uint8)
    return Arrays(images, np.arange(10) % 4, images[:5] ^ 255, np.arange(5) % 4, unlabeled)


def build(split=SPLIT, **kwargs):
    return Pool.build(arrays(**kwargs), split, num_classes=4, device="cpu")


@pytest.mark.parametrize(("part", "rows"), [("labeled", LABELED), ("unlabeled", UNLABELED), ("valid", VALID)])
def test_each_set_holds_the_rows_of_the_split_in_order(part, rows):
    pool, source = build(), arrays()
    np.testing.assert_array_equal(getattr(pool, f"{part}_x").numpy(), source.train_x[rows])
    np.testing.assert_array_equal(getattr(pool, f"{part}_y").numpy(), source.train_y[rows])


def test_a_set_larger_than_a_chunk_is_moved_whole(monkeypatch):
    monkeypatch.setattr(pool_module, "CHUNK", 3)
    np.testing.assert_array_equal(build().test_x.numpy(), arrays().test_x)


def test_images_stay_uint8_and_labels_are_int64():
    pool = build()
    assert {pool.labeled_x.dtype, pool.unlabeled_x.dtype, pool.valid_x.dtype, pool.test_x.dtype} == {torch.uint8}
    assert {pool.labeled_y.dtype, pool.unlabeled_y.dtype, pool.test_y.dtype, pool.counts.dtype} == {torch.int64}


def test_counts_have_an_entry_for_every_configured_class():
    assert build(Split(np.array([0, 4, 8, 1]), NONE, NONE)).counts.tolist() == [3, 1, 0, 0]


def test_own_unlabeled_images_have_unknown_labels():
    extra = np.arange(6 * 48, dtype=np.uint32).astype(np.uint8).reshape(6, 3, 4, 4)
    pool = build(Split(LABELED, np.arange(6), NONE), unlabeled=extra)
    np.testing.assert_array_equal(pool.unlabeled_x.numpy(), extra)
    assert pool.unlabeled_y.tolist() == [-1] * 6


def test_sets_that_the_split_leaves_empty_are_none():
    pool = build(Split(LABELED, NONE, NONE), unlabeled=arrays().train_x)
    assert (pool.unlabeled_x, pool.unlabeled_y, pool.valid_x, pool.valid_y) == (None, None, None, None)


def test_images_are_contiguous_where_the_source_is_a_view():
    transposed = arrays().train_x.transpose(0, 1, 3, 2)
    pool = build(Split(LABELED, np.arange(10), NONE), unlabeled=transposed)
    assert pool.unlabeled_x.is_contiguous()
    np.testing.assert_array_equal(pool.unlabeled_x.numpy(), transposed)


def test_the_source_does_not_change_with_the_pool():
    source = arrays()
    pool = Pool.build(source, Split(np.arange(10), NONE, NONE), 4, "cpu")
    pool.labeled_x.zero_()
    np.testing.assert_array_equal(source.train_x, arrays().train_x)


def test_the_unlabeled_set_may_begin_with_the_labeled_images_which_are_stored_once():
    pool, source = Pool.build(arrays(), SPLIT, 4, "cpu", Includes.labeled), arrays()
    rows = np.concatenate([LABELED, UNLABELED])
    np.testing.assert_array_equal(pool.unlabeled_x.numpy(), source.train_x[rows])
    np.testing.assert_array_equal(pool.unlabeled_y.numpy(), source.train_y[rows])
    assert (pool.shared, pool.unlabeled_start, len(pool.train_x)) == (3, 0, 7)
    assert pool.counts.tolist() == build().counts.tolist()


def test_own_unlabeled_images_may_be_joined_by_all_training_images_that_are_not_held_out():
    extra = np.arange(6 * 48, dtype=np.uint32).astype(np.uint8).reshape(6, 3, 4, 4)
    split, source = Split(LABELED, np.arange(6), VALID), arrays()
    pool = Pool.build(arrays(extra), split, 4, "cpu", Includes.train)
    rest = [1, 2, 3, 7, 8]  # neither labeled nor held out
    expected = np.concatenate([source.train_x[LABELED], extra, source.train_x[rest]])
    np.testing.assert_array_equal(pool.unlabeled_x.numpy(), expected)
    assert set(pool.unlabeled_y.tolist()) == {-1}


def test_a_learner_without_unlabeled_images_has_none_whatever_the_set_would_include():
    pool = Pool.build(arrays(), Split(LABELED, NONE, NONE), 4, "cpu", Includes.labeled)
    assert (pool.unlabeled_x, pool.shared, len(pool.train_x)) == (None, 0, 3)


def test_images_may_be_resized_once_for_all():
    half = Resize(4, 2)
    pool, whole = Pool.build(arrays(), SPLIT, 4, "cpu", resize=half), build()
    for part in ("labeled_x", "unlabeled_x", "valid_x", "test_x"):
        torch.testing.assert_close(getattr(pool, part), half(getattr(whole, part)))
