"""Locks where the file system has none: Lustre without -o flock says ENOSYS, NFS without its lock daemon ENOLCK."""

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from daso.errors import UserError
from daso.outputs.locks import lock_on, marker
from daso.outputs.rundir import RunDir, RunState

HOLD = """
import fcntl, sys, time
number = int(sys.argv[3])
def flock(*args):
    raise OSError(number, "no")
fcntl.flock = flock
from daso.outputs.rundir import RunDir
with RunDir(sys.argv[1], sys.argv[2]).lock():
    print("held", flush=True)
    time.sleep(30)
"""


@pytest.fixture(params=["ENOSYS", "ENOLCK", "EOPNOTSUPP"])
def without(request, monkeypatch):
    """A file system without locks; the number that it says so with."""
    number = getattr(errno, request.param)

    def flock(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    return number


@pytest.fixture
def run(tmp_path):
    return RunDir(tmp_path / "outputs", "k")


@pytest.fixture
def holder(run, without):
    command = [sys.executable, "-c", HOLD, str(run.root), "k", str(without)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_without_locks_a_run_is_locked_and_freed_again(run, without):
    for _ in range(2):
        with run.lock(patience=0):
            assert run.state() is RunState.running
            assert marker(run.path / "lock").exists()
            with pytest.raises(UserError, match="taken"), RunDir(run.root, "k").lock(patience=0):
                pass
        assert not marker(run.path / "lock").exists()
        assert run.state() is not RunState.running


def test_without_locks_a_killed_process_of_this_host_frees_its_run(run, holder):
    assert run.state() is RunState.running
    with pytest.raises(UserError, match=f"taken by process {holder.pid} on "), run.lock(patience=0.2):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with run.lock(patience=5):
        pass


def test_without_locks_a_process_that_may_live_elsewhere_is_named_with_its_file(run, without):
    with run.lock():
        held = marker(run.path / "lock")
        left = held.read_text()
    lines = left.splitlines()
    held.write_text(left.replace(lines[1], "another-host"))
    os.utime(held, (0, 0))
    with pytest.raises(UserError, match=rf"wait for it, stop it, or, if it was killed, remove .*{held.name}"):
        run.lock(patience=0.2).__enter__()
    held.unlink()
    with run.lock(patience=0.2):
        pass


def test_without_locks_a_folder_that_was_begun_with_them_can_be_used(run, monkeypatch, without):
    with pytest.MonkeyPatch.context() as patch:
        patch.undo()
        run.path.mkdir(parents=True)
        (run.path / "lock").touch()  # what the kernel's lock leaves
    with run.lock(patience=0):
        pass
    run.remove()
    assert not run.path.exists()


def test_where_there_are_locks_no_marker_is_left(tmp_path):
    with lock_on(tmp_path / "lock"):
        assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_other_errors_are_said_as_they_are(run, monkeypatch):
    def flock(*args):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(UserError, match="lock: input/output error") as refusal:
        run.lock(patience=0).__enter__()
    assert "writable" not in str(refusal.value)
