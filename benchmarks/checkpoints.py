"""What it costs to look at a checkpoint and a journal before they are believed.

    python benchmarks/checkpoints.py
    python benchmarks/checkpoints.py model=wrn28_8

CPU milliseconds of one thread, medians, each beside what it would be without the look: of the quickstart's FixMatch +
DASO with the network that the overrides say (WRN-28-2), and of a journal of 500 evaluations with 1,600 numbers each.
The disk is not part of it. Ends with one line of JSON.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from daso.run.build import build, data_of
from daso.settings.compose import configuration
from daso.track.jsonl import Journal, kept
from daso.train import checkpoint
from daso.train.loop import State

CPU = torch.device("cpu")
REPEATS = 9
NUMBERS = {f"test/class/{k}": k / 7 for k in range(1600)}


def milliseconds(work: Callable[[], object]) -> float:
    """Median CPU time of some calls."""
    seconds = []
    for _ in range(REPEATS):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return round(1000 * statistics.median(seconds), 1)


def main() -> None:
    """Measure, and print a table."""
    torch.set_num_threads(1)
    overrides = sys.argv[1:] or ["model=wrn28_2"]
    config = configuration(("experiment=quickstart", "track=none", *overrides))
    parts, state = build(config, CPU, *data_of(config)), State()
    packed = {**state.pack(parts), "environment": {}}
    with tempfile.TemporaryDirectory() as name:
        path, journal = Path(name, "checkpoint.pt"), Journal(Path(name, "metrics.jsonl"))
        for step in range(500):
            journal.append("eval", step, NUMBERS)
        mark = journal.sync()
        journal.close()
        written = milliseconds(lambda: checkpoint.save(path, packed))
        model = state.model(parts)
        found = {
            "checkpoint, MB": round(path.stat().st_size / 1e6, 1),
            "write it": written,
            "is it finite": milliseconds(lambda: checkpoint.finite(packed)),
            "read it": milliseconds(lambda: torch.load(path, weights_only=True)),
            "read and believe it": milliseconds(lambda: checkpoint.load(path, config.run_key, CPU)),
            "does it fit": milliseconds(lambda: [checkpoint.unlike(packed[k], v, k) for k, v in model.items()]),
            "journal, MB": round(journal.path.stat().st_size / 1e6, 1),
            "read it again": milliseconds(journal.path.read_bytes),
            "read and believe it again": milliseconds(lambda: kept(journal.path, 500, mark)),
        }
    for what, value in found.items():
        print(f"{what:28} {value:8.1f}")
    print(json.dumps(found | {"load": os.getloadavg()[0]}))


if __name__ == "__main__":
    main()
