"""How long `python train.py` takes from the start of its process to the end of its first step.

    python benchmarks/startup.py
    python benchmarks/startup.py --device cuda

The quickstart without and with MLflow (a new SQLite store each time), and the jobs of a sweep that come after the
first, which are forked from a process that has imported everything. Wall and CPU seconds; a first start, which warms
the disk's cache, is not counted. Beside them, as floor, what importing torch and building one of its optimizers takes
in an empty program. Ends with one line of JSON.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
REQUIRED, STRETCH = 5.0, 3.0  # seconds
FLOOR = "import os, torch; torch.optim.SGD([torch.zeros(1)], lr=0.1, fused=True); os._exit(0)"  # without tearing down
TICKS = os.sysconf("SC_CLK_TCK")
JOBS = 4  # of the sweep
Seconds = tuple[float, float]
"""Wall and CPU."""


def command(folder: Path, *arguments: str) -> list[str]:
    """One step of the quickstart, or of a sweep of it."""
    return [
        sys.executable, str(ROOT / "train.py"), *arguments, "experiment=quickstart", "train.steps=1",
        f"out_root={folder}/outputs", f"track.uri=sqlite:///{folder}/mlflow.db", f"hydra.sweep.dir={folder}/sweep",
    ]  # fmt: skip


def first_step(*arguments: str) -> Seconds:
    """From the start of a run's process to the row that its first step leaves."""
    with tempfile.TemporaryDirectory() as name:
        began = time.time()
        process = subprocess.Popen(command(Path(name), *arguments), cwd=name, stdout=subprocess.DEVNULL)
        while not (rows := [row for path in Path(name).glob("outputs/*/metrics.jsonl") for row in read(path)]):
            if process.poll() is not None:
                raise SystemExit(f"The run ended with exit code {process.returncode} before its first step.")
            time.sleep(0.005)
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        process.wait()
        return rows[0]["time/unix"] - began, (int(fields[11]) + int(fields[12])) / TICKS  # user and system time


def later_jobs(*arguments: str) -> list[float]:
    """Wall seconds from the end of a sweep's job to the row that the first step of the next one leaves."""
    with tempfile.TemporaryDirectory() as name:
        sweep = command(Path(name), "-m", f"seed={','.join(map(str, range(JOBS)))}", *arguments)
        subprocess.run(sweep, cwd=name, stdout=subprocess.DEVNULL, check=True)
        done = sorted(Path(name).glob("outputs/*/DONE"), key=lambda path: path.stat().st_mtime)
        firsts = [read(path.with_name("metrics.jsonl"))[0]["time/unix"] for path in done]
        return [first - path.stat().st_mtime for path, first in zip(done[:-1], firsts[1:], strict=True)]


def read(path: Path) -> list[dict[str, float]]:
    """The whole lines of a journal."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def floor() -> Seconds:
    """What a program needs that does nothing but prepare torch."""
    wall, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", FLOOR], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - wall, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--reps", type=int, default=5)
    args = parser.parse_args()
    device = f"device={args.device}"
    cases: dict[str, Callable[[], Seconds]] = {
        "torch and an optimizer": floor,
        "first step, track=none": lambda: first_step(device, "track=none"),
        "first step, track=mlflow": lambda: first_step(device, "track=mlflow"),
    }
    spent: dict[str, list[Seconds]] = {name: [] for name in cases}
    for repeat in range(args.reps + 1):
        for name, case in cases.items():
            seconds = case()
            if repeat:
                spent[name].append(seconds)
    record: dict[str, object] = {"benchmark": "startup", "device": args.device, "torch": torch.__version__}
    print(f"{'seconds, median (min..max)':34}{'CPU':>18}{'wall':>22}")
    for name, pairs in spent.items():
        wall, cpu = ([pair[column] for pair in pairs] for column in range(2))
        columns = (f"{statistics.median(t):.2f} ({min(t):.2f}..{max(t):.2f})" for t in (cpu, wall))
        print("{:34}{:>20}{:>22}".format(name, *columns))
        record[name] = {"cpu_s": statistics.median(cpu), "wall_s": statistics.median(wall)}
        if name.startswith("first step"):
            reached = [f"{goal:g} s {'reached' if statistics.median(cpu) <= goal else 'missed'}"
                       for goal in (REQUIRED, STRETCH)]  # fmt: skip
            print(f"{'':4}CPU seconds: required {reached[0]}, stretch {reached[1]}")
    later = later_jobs(device, "track=none")
    print(f"{'next job of a sweep, track=none':34}{'':>20}{statistics.median(later):>6.2f} "
          f"({min(later):.2f}..{max(later):.2f})")  # fmt: skip
    record |= {"next_job_wall_s": statistics.median(later), "load": os.getloadavg()[0]}
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(json.dumps(record))


if __name__ == "__main__":
    main()
