"""Conditions that every test starts from."""

import signal

import pytest
import torch

# A shell starts background commands with Ctrl-C ignored, and processes inherit that; tests send it to themselves.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def one_thread():
    """A single thread of computation, which many small operations are faster with."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
