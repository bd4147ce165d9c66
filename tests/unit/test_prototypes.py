from collections import deque

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from daso.slots.prototypes import Prototypes, add_grouped, add_in_order


def push_queues(queues, feats, y):
    for f, c in zip(feats.tolist(), y.tolist(), strict=True):
        queues[c].append(f)


@given(data=st.data())
def test_means_are_those_of_first_in_first_out_queues(data):
    classes = data.draw(st.integers(1, 4))
    caps = data.draw(st.lists(st.integers(1, 5), min_size=classes, max_size=classes))
    prototypes = Prototypes(classes, 3, caps).to(torch.float64)
    queues = [deque(maxlen=cap) for cap in caps]
    g = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    for size in data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=8)):
        feats = torch.randn(size, 3, generator=g, dtype=torch.float64)
        y = torch.randint(classes, (size,), generator=g)
        prototypes.push(feats, y)
        push_queues(queues, feats, y)
        expected = [np.mean(q, axis=0) if q else np.zeros(3) for q in queues]
        np.testing.assert_allclose(prototypes.means(), expected, rtol=1e-12, atol=1e-14)
        np.testing.assert_array_equal(prototypes.fill(), [len(q) for q in queues])


def test_of_a_batch_larger_than_the_ring_the_last_features_stay():
    prototypes = Prototypes(2, 1, 2)
    prototypes.push(torch.arange(5.0)[:, None], torch.tensor([0, 0, 1, 0, 0]))
    assert prototypes.means().tolist() == [[3.5], [2.0]]
    assert prototypes.fill().tolist() == [2, 1]


def test_a_class_never_seen_has_the_zero_vector():
    prototypes = Prototypes(3, 2, 4)
    prototypes.push(torch.ones(2, 2), torch.tensor([0, 0]))
    assert prototypes.means()[1:].eq(0).all()


def test_rounding_does_not_add_up():
    g = torch.Generator().manual_seed(0)
    prototypes = Prototypes(5, 8, 16)
    for step in range(400):
        scale = 1e6 if step < 100 else 1.0  # the huge features leave rounding errors of about 0.1 in a running sum
        prototypes.push(scale * torch.randn(8, 8, generator=g), torch.randint(5, (8,), generator=g))
    exact = prototypes.bank.double().sum(1) / prototypes.fill()[:, None]
    torch.testing.assert_close(prototypes.means().double(), exact, rtol=1e-5, atol=1e-5)


def test_prototypes_are_float32_at_least():
    prototypes = Prototypes(2, 2, 2).to(torch.bfloat16)
    assert prototypes.means().dtype == torch.float32
    assert prototypes.to(torch.float64).means().dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_features_of_another_dtype_are_taken(dtype):
    prototypes = Prototypes(2, 2, 2)
    prototypes.push(torch.full((1, 2), 0.5, dtype=dtype), torch.tensor([1]))
    assert prototypes.means()[1].tolist() == [0.5, 0.5]


def test_a_saved_state_continues_bit_for_bit():
    def push(target, steps):
        for step in steps:
            g = torch.Generator().manual_seed(step)
            target.push(torch.randn(7, 4, generator=g), torch.randint(3, (7,), generator=g))

    whole, first, second = (Prototypes(3, 4, 5) for _ in range(3))
    push(whole, range(9))
    push(first, range(4))
    second.load_state_dict(first.state_dict())
    push(second, range(4, 9))
    for name, buffer in whole.state_dict().items():
        assert torch.equal(buffer, second.state_dict()[name]), name


def test_reset_forgets_everything():
    prototypes = Prototypes(2, 2, 3)
    prototypes.push(torch.ones(3, 2), torch.tensor([0, 1, 1]))
    prototypes.reset()
    for name, buffer in Prototypes(2, 2, 3).state_dict().items():
        assert torch.equal(buffer, prototypes.state_dict()[name]), name


@pytest.mark.parametrize("add", [add_in_order, add_grouped])
def test_each_row_is_added_to_its_class(add):
    g = torch.Generator().manual_seed(0)
    total, change = torch.randn(5, 3, generator=g), torch.randn(20, 3, generator=g)
    y = torch.randint(4, (20,), generator=g)
    expected = total.numpy().copy()
    np.add.at(expected, y.numpy(), change.numpy())
    add(total, y, change)
    np.testing.assert_allclose(total, expected, rtol=1e-5, atol=1e-6)
