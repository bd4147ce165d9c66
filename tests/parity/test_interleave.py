"""Interleaving against the recorded arrays."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from daso.learners.mixing import interleave

V = np.load(Path(__file__).parents[1] / "golden" / "dist_align_interleave.npz")


def chunks(n, size):
    return [torch.arange(size) + 100 * k for k in range(n)]


@pytest.mark.parametrize(("n", "size"), [(3, 8), (4, 8), (4, 6), (3, 5)])
def test_interleaved_chunks(n, size):
    np.testing.assert_array_equal(torch.stack(interleave(chunks(n, size))), V[f"interleave_n{n}_b{size}"])


@settings(max_examples=100)
@given(n=st.integers(1, 6), size=st.integers(1, 12))
def test_interleaving_is_its_own_inverse(n, size):
    assert torch.equal(torch.stack(interleave(interleave(chunks(n, size)))), torch.stack(chunks(n, size)))
