"""Index streams: endless, without short batches, the same for a resumed run."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from daso.data.streams import Stream, class_aware_round, permutation_round


def keyed(number):
    return torch.Generator().manual_seed(1000 + number)


def laid_out(n, rounds):
    return torch.cat([torch.randperm(n, generator=keyed(number)) for number in range(rounds)])


@given(st.integers(1, 20), st.integers(1, 50), st.integers(0, 10))
def test_a_step_reads_its_slice_of_the_rounds_laid_end_to_end(n, batch, step):
    rows = Stream(keyed, permutation_round(n)).rows(step, batch)
    expected = laid_out(n, (step + 1) * batch // n + 1)[step * batch : (step + 1) * batch]
    assert torch.equal(rows, expected)


def test_a_stream_entered_late_goes_on_as_the_one_read_from_the_start():
    read, entered = Stream(keyed, permutation_round(23)), Stream(keyed, permutation_round(23))
    for step in range(9):
        read.rows(step, 8)
    assert torch.equal(read.rows(9, 8), entered.rows(9, 8))


def test_steps_may_be_read_in_any_order():
    stream = Stream(keyed, permutation_round(10))
    late = stream.rows(30, 4)
    stream.rows(0, 4)
    assert torch.equal(stream.rows(30, 4), late)


def test_every_row_comes_once_per_round():
    stream = Stream(keyed, permutation_round(30))
    rows = torch.cat([stream.rows(step, 6) for step in range(5)])
    assert torch.equal(rows.sort().values, torch.arange(30))


def test_a_round_is_drawn_once_while_it_is_read():
    drawn = []
    stream = Stream(lambda number: drawn.append(number) or keyed(number), permutation_round(100))
    for step in range(30):
        stream.rows(step, 10)
    assert drawn == [0, 1, 2]


def test_rows_are_int64_on_the_cpu():
    rows = Stream(keyed, permutation_round(5)).rows(0, 12)
    assert rows.dtype == torch.int64
    assert rows.device.type == "cpu"
    assert rows.shape == (12,)


def test_the_same_row_may_be_drawn_twice_in_a_round_of_another_kind():
    stream = Stream(keyed, lambda generator: torch.randint(0, 3, (7,), generator=generator))
    assert torch.equal(stream.rows(1, 7), torch.randint(0, 3, (7,), generator=keyed(1)))


def test_an_empty_round_is_refused():
    with pytest.raises(AssertionError):
        Stream(keyed, permutation_round(0))


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.999, 1.0])
def test_rows_come_as_often_as_their_class_weighs(beta):
    labels = torch.tensor([0] * 60 + [1] * 30 + [3] * 10)  # class 2 has no rows
    n = np.array([60, 30, 10])
    per_row = 1 / n if beta == 1 else (1 - beta) / (1 - beta**n)
    expected = n * per_row / (n * per_row).sum()
    stream = Stream(lambda number: keyed(number), class_aware_round(labels, beta))
    drawn = torch.bincount(labels[stream.rows(0, 20000)], minlength=4) / 20000
    np.testing.assert_allclose(drawn[[0, 1, 3]], expected, atol=0.02)
    assert drawn[2] == 0
