"""What an evaluation costs beside the network's own work, and what share of a run all of them take.

    python benchmarks/evaluate.py
    python benchmarks/evaluate.py --device cuda

Held-out images as in the paper's CIFAR protocol (15,000), the EMA network of FixMatch + DASO, 10 and 100 classes. What
is beside the network: conversion and normalisation of the images, both kinds of counts, all metrics. The run: 250,000
steps of 64 + 128 + 128 images and 500 evaluations. On the CPU: one thread, CPU seconds, parts in turn, medians; the
network's time is that of fewer images, scaled. On a GPU: CUDA events, everything compiled and recorded as in a run.
Ends with one line of JSON.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from gpu_run import ROOT, Run, clocked, system
from step import matmul_peak
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from daso.data.sources import Arrays
from daso.data.split import Split
from daso.schema import Compile
from daso.settings.compose import configuration
from daso.train import evaluate
from daso.train.capture import Captured, CudaGraphs
from daso.train.loop import evaluated

MODELS, DATASETS = ("wrn28_2", "wrn10_1"), {10: "cifar10", 100: "cifar100"}
HELD_OUT, STEPS, EVALUATIONS = 15_000, 250_000, 500
BESIDE, REQUIRED, STRETCH = 0.05, 0.04, 0.02  # shares: of the network's time, of a run, of a run


def make_data(classes: int) -> tuple[Arrays, Split]:
    """Noise; a long tail of labels, twice as many unlabeled images as a batch needs."""
    random = np.random.RandomState(0)
    x = random.randint(0, 256, (HELD_OUT, 3, 32, 32), dtype=np.uint8)
    y = np.arange(HELD_OUT) % classes
    labeled = np.flatnonzero(np.arange(HELD_OUT) // classes < 1 + (classes - y) // 4)
    return Arrays(x, y, x, y, None), Split(labeled, np.arange(300), np.zeros(0, dtype=np.int64))


def make_run(model: str, classes: int, device: torch.device) -> Run:
    """A run in DASO's second phase, executed as it would be without asking for anything."""
    overrides = f"dataset={DATASETS[classes]} algorithm=fixmatch_daso model={model} track=none device={device.type}"
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))  # Hydra looks for the project's plugins on the path
    graphs = CudaGraphs(device) if device.type == "cuda" else None
    return Run(configuration(overrides.split()), device, make_data(classes), graphs)


def network(run: Run) -> Callable[[Tensor], Tensor]:
    """Normalised images -> logits, as in an evaluation."""
    net, parts = evaluated(run.parts), run.parts

    @torch.no_grad()
    def logits(x: Tensor) -> Tensor:
        with parts.autocast():
            return net.classify(net.encode(x, running_stats=True), parts.method.answers)

    return logits if parts.engine.mode is Compile.none else torch.compile(logits, fullgraph=True, dynamic=False)


def beside(run: Run, classes: int) -> Callable[[], object]:
    """A whole evaluation by a network that answers at once."""
    parts, answers = run.parts, torch.randn(evaluate.BATCH, classes, device=run.device)
    counts = parts.feed.pool.counts.double()
    log_prior = (counts / counts.sum()).log()

    def predict(images: Tensor) -> Tensor:
        parts.views.normalise(images, torch.float32)
        return answers

    def count(_: None) -> evaluate.Tallies:
        return {"test": evaluate.evaluate(predict, *parts.splits["test"], log_prior)}

    task: Captured[None, evaluate.Tallies] = Captured(count, parts.graphs, 1)
    history = evaluate.History()
    return lambda: history.add(evaluate.measure(task(None), parts.counts).get().metrics)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """CPU seconds of one thread, or seconds of a GPU."""
    if device.type == "cuda":
        return clocked(work, device)
    began = time.process_time()
    work()
    return time.process_time() - began


def parts_of(run: Run, classes: int, images: int, reps: int) -> dict[str, float]:
    """Seconds of the network over all held-out images ("network"), of the rest of an evaluation ("beside"), of a step,
    and the network's FLOPs an image.
    """
    device, logits = run.device, network(run)
    x = run.parts.views.normalise(run.parts.splits["test"][0][:images], torch.float32).clone()
    chunks = torch.split(x, evaluate.BATCH)
    forward: Captured[None, list[Tensor]] = Captured(lambda _: [logits(c) for c in chunks], run.parts.graphs, 1)
    steps = 20 if device.type == "cuda" else 1
    tasks: dict[str, tuple[Callable[[], object], float]] = {
        "network": (lambda: forward(None), HELD_OUT / images),
        "beside": (beside(run, classes), 1.0),
        "step": (lambda: run.take(steps), 1 / steps),
    }
    found: dict[str, list[float]] = {name: [] for name in tasks}
    warmup = 4 if device.type == "cuda" else 1
    for repeat in range(warmup + reps):
        for name, (work, scale) in tasks.items():
            spent = seconds(work, device) * scale
            if repeat >= warmup:
                found[name].append(spent)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        evaluated(run.parts).encode(x[:10], running_stats=True)
    return {name: statistics.median(values) for name, values in found.items()} | {
        "flops": counter.get_total_flops() / 10
    }


def verdict(name: str, share: float, goals: dict[str, float]) -> str:
    """Which goals a share reaches."""
    reached = (f"{goal} {100 * of:g} % {'reached' if share <= of else 'missed'}" for goal, of in goals.items())
    return f"{name}: {', '.join(reached)}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", choices=MODELS, help="one of the networks alone")
    parser.add_argument("--reps", type=int, default=3)
    args = parser.parse_args()
    device = torch.device(args.device)
    images = HELD_OUT if device.type == "cuda" else 500
    rows: dict[str, dict[str, float]] = {}
    heading = ("network", "beside it", "share", "a step", "of a run", "GFLOP/s")
    print(f"{HELD_OUT} images, ms{'':14}" + "".join(f"{name:>11}" for name in heading))
    for model in MODELS if args.model is None else (args.model,):
        for classes in DATASETS:
            found = parts_of(make_run(model, classes, device), classes, images, args.reps)
            evaluation, share = found["network"] + found["beside"], found["beside"] / found["network"]
            of_run = EVALUATIONS * evaluation / (EVALUATIONS * evaluation + STEPS * found["step"])
            rate = HELD_OUT * found["flops"] / found["network"] / 1e9
            rows[f"{model} C={classes}"] = found | {"beside_share": share, "run_share": of_run, "gflops": rate}
            print(f"{f'{model}, C={classes}':30}{1e3 * found['network']:11.1f}{1e3 * found['beside']:11.1f}"
                  f"{100 * share:9.2f} %{1e3 * found['step']:11.2f}{100 * of_run:9.2f} %{rate:11.0f}")  # fmt: skip
    worst = {name: max(row[name] for row in rows.values()) for name in ("beside_share", "run_share")}
    print(verdict("beside the network", worst["beside_share"], {"goal": BESIDE}))
    print(verdict("of a run", worst["run_share"], {"required": REQUIRED, "stretch": STRETCH}))
    record: dict[str, object] = {"benchmark": "evaluate", "device": args.device, **system(device), "rows": rows}
    if device.type == "cpu":
        peak = matmul_peak(torch.float32) / 1e9
        record["peak_gflops"] = peak
        print(f"this machine's matrix product, one thread: {peak:.0f} GFLOP/s")
    print(f"load average {record['load']:.1f}")
    print(json.dumps(record))


if __name__ == "__main__":
    main()
