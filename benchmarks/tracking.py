"""What a tracker costs a full CIFAR-100 run: CPU seconds of its mirror, and bytes of the store, artifacts included.

    python benchmarks/tracking.py
    python benchmarks/tracking.py --to tensorboard
    python benchmarks/tracking.py --evaluations 100 --classes 10

The journal is that of FixMatch + DASO with a validation set, 250,000 steps and an evaluation and a log every 500, with
random counts for numbers; the names come from the code that measures a run. Each evaluation is sent by itself, as in a
run that takes hours, into a new store (of MLflow, a SQLite file); then the run ends. "journal" is the size of
`metrics.jsonl`, which holds everything. CPU seconds are of the calls to the tracker in this process, MLflow's import
and the making of its store apart. Ends with one line of JSON.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from daso.outputs.files import write_json
from daso.outputs.rundir import RunDir
from daso.schema import TRACKERS
from daso.settings.compose import configuration
from daso.settings.identity import to_yaml
from daso.track.jsonl import Journal
from daso.track.mirror import artifacts
from daso.track.mlflow import init_store
from daso.track.selection import per_class
from daso.track.trackers import backend
from daso.train.evaluate import History, Tally, class_groups, metrics
from daso.train.meters import label_metrics

AIM_BYTES, AIM_SECONDS = 10e6, 10.0  # of a run of 500 evaluations
HELD_OUT = {"valid": 50, "test": 100}  # images per class
LABELS = ("final", "linear", "semantic")
LOG = ("loss_cls", "loss_con", "loss_align", "loss_total", "top1", "lr")
PERIOD = 500  # steps


def evaluations(count: int, classes: int) -> Iterator[dict[str, float]]:
    """What the evaluations of a run report, from random counts."""
    random, history = np.random.default_rng(0), History()
    groups = class_groups(list(range(classes, 0, -1)))

    def tally(images: int) -> Tally:
        counts = random.multinomial(images, np.full(classes, 1 / classes), classes + 1)
        counts[-1] = 0
        top5, cost = random.uniform(0, images * classes, 2)
        return Tally(torch.from_numpy(counts), torch.tensor(int(top5)), torch.tensor(cost, dtype=torch.float64))

    for _ in range(count):
        found: dict[str, float] = {}
        for split, images in HELD_OUT.items():
            found |= metrics(tally(images), tally(images), groups, split)
        pairs = {kind: torch.from_numpy(random.poisson(5.0, (classes + 2, classes))) for kind in LABELS}
        seen = torch.from_numpy(random.integers(1, 1000, classes))
        yield found | history.add(found) | label_metrics(pairs, seen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=int, default=500)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--to", choices=TRACKERS, default="mlflow")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run, uri = RunDir(folder / "outputs", "benchmark"), f"sqlite:///{folder}/mlflow.db"
        run.path.mkdir(parents=True)
        run.resolved.write_text(to_yaml(configuration(("dataset=cifar100", "algorithm=fixmatch_daso"))))
        write_json(run.card, {"name": "benchmark", "tags": {}, "steps": PERIOD * args.evaluations})
        if args.to == "mlflow":
            init_store(uri)
        empty = size(folder)
        journal, remote, spent, row = Journal(run.metrics), backend(args.to, run, uri, "daso"), 0.0, {}
        for number, row in enumerate(evaluations(args.evaluations, args.classes), 1):
            journal.append("train", PERIOD * number, {f"train/{key}": np.random.rand() for key in LOG})
            journal.append("eval", PERIOD * number, row)
            spent -= time.process_time()
            remote.send()
            spent += time.process_time()
        spent -= time.process_time()
        remote.close("FINISHED", artifacts(run))
        spent += time.process_time()
        taken, whole = size(folder) - empty - size(run.path), run.metrics.stat().st_size
    numbers = f"{len(row)} numbers, {sum(map(per_class, row))} of them per class"
    print(f"{args.evaluations} evaluations of {numbers}; journal {whole / 1e6:.1f} MB")
    goals = ((taken / 1e6, AIM_BYTES / 1e6, "MB"), (spent, AIM_SECONDS, "CPU s"))
    for found, aim, unit in goals:
        print(f"{found:8.1f} {unit:6} aim {aim:g}: {'reached' if found <= aim else 'missed'}")
    record = {
        "benchmark": "tracking",
        "to": args.to,
        "evaluations": args.evaluations,
        "classes": args.classes,
        "bytes": taken,
    }
    print(json.dumps(record | {"cpu_s": round(spent, 3), "journal_bytes": whole, "load": os.getloadavg()[0]}))


def size(folder: Path) -> int:
    """Bytes of the files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
