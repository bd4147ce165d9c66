"""With little address space a run says so before it starts, instead of a library that cannot go on."""

import resource

import pytest

from daso.errors import UserError
from daso.machine import memory


def limit(monkeypatch, size):
    monkeypatch.setattr(resource, "getrlimit", lambda what: (size, size))


def test_without_a_limit_nothing_is_said(monkeypatch):
    limit(monkeypatch, resource.RLIM_INFINITY)
    memory.require_room()
    with pytest.raises(ImportError), memory.loading():
        raise ImportError


def test_a_limit_that_leaves_no_room_is_named_with_one_that_would(monkeypatch):
    limit(monkeypatch, 1 << 20)
    with pytest.raises(UserError, match=r"limited to 0\.0 GiB \(ulimit -v\).* allow \d+\.\d GiB"):
        memory.require_room()
    limit(monkeypatch, 1 << 50)
    memory.require_room()


def test_a_library_that_does_not_fit_is_a_sentence(monkeypatch):
    limit(monkeypatch, 1 << 30)
    with (
        pytest.raises(UserError, match=r"limited to 1\.0 GiB \(ulimit -v\), into which torch cannot"),
        memory.loading(),
    ):
        raise ImportError("libtorch_cpu.so: failed to map segment from shared object")
