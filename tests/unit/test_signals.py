"""A stop request is remembered until a checkpoint is written, then handed on to whoever starts the job again."""

import os
import signal
import stat

import pytest

from daso.errors import Interrupted
from daso.machine.signals import StopRequest

ALL = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2]


@pytest.fixture
def queued(monkeypatch):
    """The signals that a scheduler's handler at SIGUSR2 was called with."""
    calls = []
    previous = signal.signal(signal.SIGUSR2, lambda signum, frame: calls.append(signum))
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    yield calls
    signal.signal(signal.SIGUSR2, previous)


@pytest.fixture
def slurm_says(monkeypatch, tmp_path):
    """Gives SLURM's answer about the third task of array 7, and another one about the whole array."""

    def say(state):
        program = tmp_path / "squeue"
        program.write_text(f'#!/bin/sh\n[ "$3" = 7_3 ] && echo {state} || printf "RUNNING\nCOMPLETING\n"\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("SLURM_JOB_ID", "7")
        monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    return say


def run_stopped_by(*signals):
    with StopRequest() as stop:
        for signum in signals:
            os.kill(os.getpid(), signum)
        raise Interrupted(stop())


def stopped_by(signum):
    with pytest.raises(Interrupted):
        run_stopped_by(signum)


@pytest.mark.parametrize("signum", ALL)
def test_a_signal_is_remembered(signum):
    with StopRequest() as stop:
        assert stop() is None
        os.kill(os.getpid(), signum)
        assert stop() == signum


@pytest.mark.parametrize("signum", ALL)
def test_handlers_from_before_are_back_afterwards(signum):
    before = signal.getsignal(signum)
    with StopRequest():
        assert signal.getsignal(signum) != before
    assert signal.getsignal(signum) == before


def test_a_second_interrupt_acts_at_once():
    with pytest.raises(Interrupted) as stopped:
        run_stopped_by(signal.SIGTERM, signal.SIGINT)
    assert stopped.value.signum == signal.SIGINT


def test_the_several_signals_of_a_scheduler_leave_time_for_the_checkpoint():
    with StopRequest() as stop:
        for signum in (signal.SIGTERM, signal.SIGTERM, signal.SIGUSR2):
            os.kill(os.getpid(), signum)
        assert stop() == signal.SIGTERM


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_a_stopped_job_is_put_into_the_queue_again(queued, signum):
    stopped_by(signum)
    assert queued == [signum]


@pytest.mark.parametrize(
    ("state", "again"), [("RUNNING", [signal.SIGTERM]), ("COMPLETING", []), ("CANCELLED", []), ("", [])]
)
def test_sigterm_requeues_only_what_slurm_does_not_end_itself(queued, slurm_says, state, again):
    slurm_says(state)
    stopped_by(signal.SIGTERM)
    assert queued == again


def test_the_end_of_a_terminal_is_nothing_to_a_run_under_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop() is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGHUP])
def test_an_interrupt_by_hand_requeues_nothing(queued, signum):
    stopped_by(signum)
    assert queued == []


def test_a_run_that_ends_by_itself_requeues_nothing(queued):
    with StopRequest():
        os.kill(os.getpid(), signal.SIGUSR2)
    assert queued == []


def test_outside_a_scheduler_nothing_is_requeued(queued, monkeypatch):
    monkeypatch.delenv("SUBMITIT_EXECUTOR")
    stopped_by(signal.SIGUSR2)
    assert queued == []
