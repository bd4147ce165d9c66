import os
import pickle
import shutil
import sys
import time

import pytest

from daso.command import program
from daso.command.guard import guard
from tests import warm


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Runs a command line in this process; gives exit code, stdout, stderr and the jobs that got as far as `run`.

    What this machine lacks for a sweep's jobs is not looked for: `run` needs nothing.
    """

    def call(*arguments, run=lambda config, provenance: 1.5, lacking=lambda configs, stopping=None: {}):
        seen = tmp_path / "jobs"
        seen.mkdir(exist_ok=True)

        def record(config, provenance):  # in a sweep, in a process of its own
            (seen / f"{time.monotonic_ns()}").write_bytes(pickle.dumps((config, provenance)))
            return run(config, provenance)

        with monkeypatch.context() as patch:
            patch.setattr(program, "run", record)
            patch.setattr(program, "prepare", lambda: None)
            patch.setattr("daso.sweep.here.lacking", lacking)
            patch.setattr("daso.track.sweeps.subprocess", warm.Forks)
            patch.setattr(sys, "argv", ["train.py", *arguments])
            patch.setenv("HYDRA_FULL_ERROR", "0")
            patch.setattr(sys, "path", [os.getcwd(), *sys.path])
            try:
                code = guard(program.job)
            except SystemExit as end:
                code = end.code
        out, err = capsys.readouterr()
        jobs = [pickle.loads(path.read_bytes()) for path in sorted(seen.iterdir())]
        shutil.rmtree(seen)
        return code, out, err, jobs

    return call


@pytest.fixture
def sweep(command, tmp_path):
    """As `command`, for `-m` with a folder of its own and no tracking."""
    return lambda *arguments, **run: command("-m", f"out_root={tmp_path / 'out'}", "track=none", *arguments, **run)
