"""A sweep and its jobs are one program to a terminal, and to nobody else one process."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

ROOT = str(Path(__file__).resolve().parents[2])
# Prints the process id of a job, which ends when `end` exists, and then what it returned.
PROGRAM = """
    import os, signal, time
    from daso.sweep.supervise import isolated

    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, lambda *_: None)  # as the process that starts a sweep, which hears them for its jobs

    def job():
        print(os.getpid(), flush=True)
        while not os.path.exists("end"):
            time.sleep(0.02)
        return "done"

    print(isolated(job), flush=True)
"""


@pytest.fixture
def program(tmp_path):
    """A program with a job, in a group of processes as a shell makes it; and the job's process id."""
    environment = os.environ | {"PYTHONPATH": ROOT}
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=os.setpgrp,
    )
    yield process, int(process.stdout.readline())
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def stopped(pid):
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=True).stdout
    return state.startswith("T")


def until(true):
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_ctrl_z_stops_the_job_as_well_and_fg_continues_both(program, tmp_path):
    process, job = program
    os.killpg(process.pid, signal.SIGTSTP)
    until(lambda: stopped(process.pid) and stopped(job))
    os.killpg(process.pid, signal.SIGCONT)
    until(lambda: not stopped(process.pid) and not stopped(job))
    (tmp_path / "end").touch()
    assert process.stdout.readline() == "done\n"


def test_what_a_terminal_ends_programs_with_does_not_reach_a_job_directly(program, tmp_path):
    process, _ = program
    for number in (signal.SIGINT, signal.SIGQUIT):
        os.killpg(process.pid, number)
    (tmp_path / "end").touch()
    assert process.stdout.readline() == "done\n"
