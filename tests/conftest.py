"""Conditions that every test starts from."""

import gc
import signal

import pytest
import torch
from hypothesis import settings

from daso.credentials import HELD
from tests import composed

# The same examples in every run, however busy the machine; --hypothesis-profile=explore looks for others.
settings.register_profile("suite", max_examples=60, deadline=None, derandomize=True)
settings.register_profile("explore", max_examples=1000, deadline=None)
settings.load_profile("suite")

# A shell starts background commands with Ctrl-C ignored, `nohup` all with a closed terminal, and processes inherit that;
# tests send both to themselves.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


composed.patch()


def pytest_collection_finish():
    """What is imported and collected stays until the end: to look through it for garbage takes a tenth of the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def no_figures():
    """Runs draw none, which would take longer than they do; `tests/unit/test_figures.py` has one that does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("daso.run.training.draw_figures", lambda *given: None)
        yield


@pytest.fixture(autouse=True)
def nothing_held(monkeypatch):
    """No credentials of another test, and none left for the next one."""
    monkeypatch.setenv(HELD, "{}")


@pytest.fixture
def one_thread():
    """A single thread of computation, which many small operations are faster with."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
