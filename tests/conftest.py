"""Conditions that every test starts from."""

import copy
import gc
import os
import signal
from functools import cache

import pytest
import torch
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hypothesis import settings

from daso.credentials import HELD

# The same examples in every run, however busy the machine; --hypothesis-profile=explore looks for others.
settings.register_profile("suite", max_examples=60, deadline=None, derandomize=True)
settings.register_profile("explore", max_examples=1000, deadline=None)
settings.load_profile("suite")

# A shell starts background commands with Ctrl-C ignored, and processes inherit that; tests send it to themselves.
signal.signal(signal.SIGINT, signal.default_int_handler)


plainly_loaded = FileConfigSource.load_config


@cache
def loaded(folder, provider, config_path, edition):
    return plainly_loaded(FileConfigSource(provider, folder), config_path=config_path)


def load_config(self, config_path):
    """Hydra's, but an option file is parsed once, for as long as nobody writes it."""
    try:
        found = os.stat(os.path.join(self.path, self._normalize_file_name(config_path)))
    except OSError:
        return plainly_loaded(self, config_path=config_path)
    edition = found.st_ino, found.st_size, found.st_mtime_ns
    return copy.deepcopy(loaded(os.path.abspath(self.path), self.provider, config_path, edition))


FileConfigSource.load_config = load_config


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
