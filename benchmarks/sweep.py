"""Jobs per hour of a real sweep with k jobs at once on each device.

    python benchmarks/sweep.py
    python benchmarks/sweep.py --k 1,2,4
    python benchmarks/sweep.py --device cuda --steps 3000 model=wrn28_2 train.batch_size=64 train.compile=graph

Each k is one `python train.py -m hydra/launcher=joblib_gpu jobs_per_device=k`, of the same jobs: the quickstart's
FixMatch + DASO on digits with several seeds, and whatever overrides are given. Devices are the GPUs or, without, the
CPU's core sets. "jobs an hour" is of the whole command, workers' imports included; "steps/s" of all jobs together while
every place is taken, starts of further jobs included. Both are wall time: only a machine without other work gives
them. "CPU s a job" is less sensitive to it.

On a GPU, k = 2 relative to k = 1 answers whether one run fills the card: at 1.0 it does, from 1.3 on two at once are
worth their memory. Ask it with the network and batch that are meant to run, as in the third line.
Ends with one line of JSON.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import torch

from daso.machine.devices import parallel_jobs
from daso.track.jsonl import TIME, Row, read

ROOT = Path(__file__).resolve().parents[1]
REQUIRED = 1.3  # times the throughput of k = 1, at k = 2, on a GPU
ROUNDS, ROWS = 2, 20  # jobs a place at the largest k; rows a job leaves


def sweep(k: int, jobs: int, steps: int, device: str, overrides: list[str]) -> tuple[float, float, list[list[Row]]]:
    """Run one sweep; its wall and CPU seconds, and the rows of training that each job left."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, str(ROOT / "train.py"), "-m", "experiment=quickstart", "hydra/launcher=joblib_gpu",
            f"jobs_per_device={k}", f"device={device}", f"seed={','.join(map(str, range(jobs)))}", "track=none",
            f"train.steps={steps}", f"train.log_every={max(1, steps // ROWS)}", f"train.eval_every={steps}",
            f"out_root={folder}/outputs", f"hydra.sweep.dir={folder}/sweep", *overrides,
        ]  # fmt: skip
        began, before = time.perf_counter(), cpu_seconds()
        done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        wall, cpu = time.perf_counter() - began, cpu_seconds() - before
        if done.returncode:
            raise SystemExit(done.stdout)
        paths = sorted(Path(folder).glob("outputs/*/metrics.jsonl"))
        return wall, cpu, [[row for row in read(path) if row["event"] == "train"] for path in paths]


def cpu_seconds() -> float:
    """CPU time of the finished children of this process, and of theirs."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def throughput(jobs: list[list[Row]], places: int) -> float:
    """Steps per second of all jobs together, from when every place is taken until there is nothing left for one."""
    begin = sorted(rows[0][TIME] for rows in jobs)[places - 1]
    end = sorted(rows[-1][TIME] for rows in jobs)[len(jobs) - places]
    if end <= begin:
        raise SystemExit("The jobs were never all under way at once: more --steps would change that.")
    steps = 0.0
    for rows in jobs:
        for before, after in pairwise(rows):
            overlap = min(end, after[TIME]) - max(begin, before[TIME])
            steps += max(0.0, overlap) / (after[TIME] - before[TIME]) * (after["step"] - before["step"])
    return steps / (end - begin)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--k", default="1,2", help="jobs at once on each device, 1 first")
    parser.add_argument("--steps", type=int, default=200, help="of each job")
    parser.add_argument("overrides", nargs="*", help="of the command line that is swept")
    args = parser.parse_args()
    ks = [int(k) for k in args.k.split(",")]
    places = {k: parallel_jobs(args.device, k, 1) for k in ks}
    jobs = ROUNDS * max(places.values())
    rows: dict[int, dict[str, float]] = {}
    print(
        f"{jobs} jobs of {args.steps} steps{'':6}{'at once':>9}{'seconds':>9}{'jobs an hour':>14}{'steps/s':>9}{'':10}"
    )
    for k in ks:
        seconds, cpu, found = sweep(k, jobs, args.steps, args.device, args.overrides)
        rate = throughput(found, places[k])
        rows[k] = {
            "at_once": places[k],
            "seconds": seconds,
            "jobs_per_hour": 3600 * jobs / seconds,
            "steps_per_s": rate,
        }
        rows[k] |= {"relative": rate / rows[ks[0]]["steps_per_s"], "cpu_s_per_job": cpu / jobs}
        print(f"k = {k:<21}{places[k]:9}{seconds:9.1f}{rows[k]['jobs_per_hour']:14.0f}{cpu / jobs:13.1f}{rate:9.1f}"
              f"{rows[k]['relative']:9.2f}x")  # fmt: skip
    if args.device != "cpu" and 2 in rows:
        reached = rows[2]["relative"] >= REQUIRED
        print(f"k = 2: required {REQUIRED}x {'reached' if reached else 'missed: one run fills the card'}")
    record = {
        "benchmark": "sweep", "device": args.device, "overrides": args.overrides, "steps": args.steps, "jobs": jobs,
        "cores": len(os.sched_getaffinity(0)), "torch": torch.__version__, "load": os.getloadavg()[0], "rows": rows,
    }  # fmt: skip
    print(f"load average {record['load']:.1f} on {record['cores']} cores")
    print(json.dumps(record))


if __name__ == "__main__":
    main()
