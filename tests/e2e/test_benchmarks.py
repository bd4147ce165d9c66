"""The benchmark of a GPU still runs where there is none, every row in a process of its own; that of MLflow in a short
form; runs survive what others try on them.
"""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_runs_survive_kills_damaged_files_and_random_values():
    command = [sys.executable, "benchmarks/torture.py", "--minutes", "3", "--seed", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    tried = json.loads(done.stdout.splitlines()[-1])["kinds"]
    assert {"runs finished after kills", "damaged checkpoint.pt", "lines with random values"} <= tried.keys()


@pytest.mark.slow
def test_no_knob_of_abc_is_without_effect_but_one_that_a_cpu_does_not_read_is_found():
    command = [sys.executable, "benchmarks/without_effect.py", "abc", "algorithm=fixmatch_abc", "abc.every=2"]
    done = subprocess.run([*command, "algorithm.threshold=0.2"], cwd=ROOT, capture_output=True, text=True)
    assert json.loads(done.stdout) == {"found": 0, "runs": 8}, done.stderr
    sys.path.insert(0, str(ROOT))
    from benchmarks.without_effect import Survey

    survey = Survey(["algorithm=supervised"])
    survey.usual["train"] = {"deterministic": survey.usual["train"]["deterministic"]}
    assert ("", "train.deterministic", ["false"]) in list(survey.findings(["train"]))


@pytest.mark.slow
def test_every_row_of_the_gpu_benchmark_runs_beside_one_that_crashes_and_one_that_hangs(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"OUT": str(tmp_path)}
    command = [sys.executable, str(ROOT / "benchmarks/gpu.py"), "--device", "cpu", "--smoke"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    found = [json.loads(line) for line in (tmp_path / "gpu.jsonl").read_text().splitlines()]
    failed = {line["row"]: line["failed"] for line in found if "failed" in line}
    assert failed == {"planted crash": "exit code -6", "planted hang": "it took more than 2 s"}
    assert sum("steps_per_second" in line for line in found) == 8
    assert sum("throughput" in line for line in found) == 2
    assert sum("step_ms" in line for line in found) == 2
    assert [line["collected"] > 0 for line in found if "collected" in line] == [True]


def test_the_benchmark_of_mlflow_counts_bytes_and_seconds(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tracking.py", "--evaluations", "2", "--classes", "10"])
    runpy.run_path(str(ROOT / "benchmarks" / "tracking.py"), run_name="__main__")
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert 0 < record["cpu_s"] < 10
    assert 0 < record["bytes"] < 1e6
    assert record["journal_bytes"] > 0
