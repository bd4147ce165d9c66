"""Rows of `gpu.py` that start processes of their own: several runs at once on one GPU, and tests."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

from gpu_rows import Photos, Row, Speed, Tests, Together
from gpu_run import ROOT, WARMUP_STEPS, Bench, Run, clocked, config_of, make_data, speeds


def measure(row: Row, bench: Bench) -> None:
    """Measure a row, of whatever kind."""
    if isinstance(row, Speed):
        speeds(row, bench)
    elif isinstance(row, Together):
        together(row, bench)
    elif isinstance(row, Photos):
        from gpu_store import photos

        photos(row, bench)
    elif isinstance(row, Tests):
        tests(row, bench)
    elif row.fault == "crash":
        os.abort()
    else:
        time.sleep(600)


def together(row: Together, bench: Bench) -> None:
    """Steps per second of several processes on one GPU, as a multiple of one alone."""
    alone = next((line["steps_per_second"] for line in reversed(list(bench.lines.read()))
                  if line.get("row") == row.of.name and "steps_per_second" in line), None)  # fmt: skip
    alone = alone or in_all(1, row, bench)
    rate = in_all(row.runs, row, bench)
    bench.tell(in_all=rate, throughput=rate / alone)


def in_all(runs: int, row: Together, bench: Bench) -> float:
    """Steps per second of some processes that work at the same time, summed."""
    command = [sys.executable, str(ROOT / "benchmarks/gpu.py"), "--worker", row.of.name, "--device", str(bench.device)]
    command += ["--smoke"] * bench.smoke
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(runs)]
    for worker in workers:
        if not worker.stdout.readline():
            raise RuntimeError(f"a worker ended before it was ready, exit code {worker.wait()}")
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    return sum(float(worker.communicate()[0].split()[-1]) for worker in workers)


def work(row: Speed, bench: Bench) -> None:
    """One of several processes: gets ready, says so, waits for the word, counts steps."""
    run = Run(row, bench, make_data(config_of(row, bench.size, bench.device), bench.size))
    run.take(WARMUP_STEPS)
    clocked(lambda: None, run.device)
    print("ready", flush=True)
    sys.stdin.readline()
    began, steps = time.perf_counter(), 0
    while (seconds := time.perf_counter() - began) < bench.size.seconds:
        clocked(lambda: run.take(bench.size.block), run.device)
        steps += bench.size.block
    print(steps / seconds)


def tests(row: Tests, bench: Bench) -> None:
    """Which tests pass that only a GPU can run; without one, that they can be collected."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-m", "gpu", "-k", row.words, "tests/gpu"]
        command += [f"--junitxml={report}"] if bench.device.type == "cuda" else ["--collect-only"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        print(done.stdout, done.stderr)
        if bench.device.type != "cuda":
            done.check_returncode()
            bench.tell(collected=done.stdout.count("::"))
            return
        cases = ElementTree.parse(report).getroot().iter("testcase")
        bad = {str(case.get("name")): any(case.find(how) is not None for how in ("failure", "error")) for case in cases}
    failures = [name for name in bad if bad[name]]
    bench.tell(passed=len(bad) - len(failures), failures=failures)
    if failures or not bad:
        raise SystemExit(f"{len(failures)} of {len(bad)} tests failed: {', '.join(failures)}")
