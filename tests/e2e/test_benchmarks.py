"""The benchmark of a GPU still runs where there is none, and runs survive what others try on them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_gpu_benchmark_s_parts_run_on_a_cpu():
    command = [sys.executable, "benchmarks/gpu.py", "--device", "cpu", "--smoke", "--only", "tf32 none"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout.splitlines()[-1])
    (row,) = record["rows"].values()
    assert row["steps_per_second"] > 0
    assert row["loss_rel"] == 0
    assert {"augmentation_ms", "bookkeeping_ms", "evaluation_ms", "run_minutes"} <= row.keys()


@pytest.mark.slow
def test_runs_survive_kills_damaged_files_and_random_values():
    command = [sys.executable, "benchmarks/torture.py", "--minutes", "3", "--seed", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    tried = json.loads(done.stdout.splitlines()[-1])["kinds"]
    assert {"runs finished after kills", "damaged checkpoint.pt", "lines with random values"} <= tried.keys()
