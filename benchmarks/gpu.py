"""What one GPU does: the whole table of docs/performance.md in one command, in under eight minutes.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --only bf16             # rows whose name holds that word
    python benchmarks/gpu.py --device cpu --smoke    # does the script still run? (no figure of it means anything)

WRN-28-2, 64 + 2 x 64 weak + 2 x 64 strong images of 32x32, 15,000 images an evaluation, synthetic pictures. Each
variant takes its steps as the training loop does, from `Engine`. Before its speed is printed its first losses must
agree with those of the plain fp32 step. Time is that of CUDA events around blocks of steps, after everything has been
compiled and recorded; medians, with minimum and maximum. Rows are printed as they come and summed up in one line of
JSON.
"""

import argparse
import json
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from gpu_run import (
    ROOT,
    STEPS,
    Result,
    Run,
    Size,
    Variant,
    config_of,
    evaluation,
    idle,
    make_data,
    memory,
    parts_of_a_step,
    speed,
    system,
)

from daso.data.sources import Arrays
from daso.data.split import Split
from daso.machine.execution import configure_torch
from daso.schema import Compile
from daso.train.capture import CudaGraphs

EVALUATIONS, WARMUP_STEPS = 500, 20
TOLERANCE = {"fp32": 1e-3, "tf32": 5e-3, "bf16": 5e-2}  # of the first losses, relative to the plain fp32 step's
FLOOR = 707  # steps/s of bf16 by a model of a H200: convolutions at their peak, everything else fused
FULL = Size("model=wrn28_2", 5000, 15_000, 100, 6)
SMOKE = Size("model=wrn10_1 train.batch_size=4", 60, 50, 2, 2)
VARIANTS = [
    Variant("fixmatch", "bf16", Compile.graph, False, 300, 430),
    Variant("fixmatch_daso", "bf16", Compile.graph, False, 270, 400),
    Variant("fixmatch_daso", "tf32", Compile.graph, False, 170, 215),
    Variant("fixmatch_daso", "fp32", Compile.graph, False, 60, 75),
    Variant("fixmatch_daso", "bf16", Compile.none, True),
    Variant("fixmatch_daso", "bf16", Compile.none),
    Variant("fixmatch_daso", "tf32", Compile.none),
    Variant("fixmatch_daso", "bf16", Compile.default),
]


def together(k: int, variant: Variant, seconds: float) -> float:
    """Steps per second of k processes on one GPU, summed."""
    command = [sys.executable, __file__, "--worker", variant.name, str(seconds)]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(k)
    ]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()  # ready
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    return sum(float(worker.communicate()[0].split()[-1]) for worker in workers)


def work(name: str, seconds: float) -> None:
    """One of several processes: gets ready, says so, waits for the word, counts steps."""
    device = torch.device("cuda")
    variant = next(v for v in VARIANTS if v.name == name)
    run = Run(config_of(variant, FULL, device), device, make_data(FULL), None)
    run.take(WARMUP_STEPS)
    torch.cuda.synchronize(device)
    print("ready", flush=True)
    sys.stdin.readline()
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        run.take(50)
        torch.cuda.synchronize(device)
        steps += 50
    print(steps / (time.perf_counter() - began))


def agree(run: Run, variant: Variant, reference: dict[str, dict[str, float]], size: Size, data: object) -> float:
    """How far the first losses are from those of the plain fp32 step; leaves a row without speed where too far."""
    if variant.method not in reference:
        plain = Variant(variant.method, "fp32", Compile.none)
        first = Run(config_of(plain, size, run.device), run.device, data, None)  # type: ignore[arg-type]
        reference[variant.method] = first.losses(3)
        configure_torch(run.parts.config, run.device)
    losses, expected = run.losses(3), reference[variant.method]
    return max(abs(losses[k] - expected[k]) / max(abs(expected[k]), 1e-6) for k in expected)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--only", default="", help="rows whose name holds this")
    parser.add_argument("--seconds", type=float, default=470, help="no further row is begun after that")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes")
    parser.add_argument("--worker", nargs=2, metavar=("NAME", "SECONDS"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(args.worker[0], float(args.worker[1]))
        return
    device, size, began = torch.device(args.device), SMOKE if args.smoke else FULL, time.perf_counter()
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("There is no CUDA here; --device cpu --smoke shows that the script runs.")
    data, record = make_data(size), {"benchmark": "gpu", **system(device)}
    print(json.dumps(record))
    print(f"\n{'steps per second':44}{'median':>8}{'min':>8}{'max':>8}{'required':>10}{'stretch':>9}  remarks")
    reference: dict[str, dict[str, float]] = {}
    rows: dict[str, Result] = {}
    for variant in (v for v in VARIANTS if args.only in v.name):
        if time.perf_counter() - began > args.seconds:
            print(f"{variant.name:44}out of time: --only {variant.precision!r}")
            continue
        if device.type == "cpu":
            variant = variant._replace(compile=Compile.none, recorded=False, precision="fp32")
        with going_on(variant.name):
            rows[variant.name] = measured(variant, device, size, data, reference)
    alone = rows.get(VARIANTS[0].name, {}).get("steps_per_second")
    if alone and device.type == "cuda" and not args.only and time.perf_counter() - began < args.seconds:
        for k in (2, 4):
            with going_on(f"{k} runs at once"):
                times = together(k, VARIANTS[0], 8.0) / alone
                rows[f"together {k}"] = {"throughput": times}
                print(f"{k} runs at once: {times:.2f}x one run's throughput (required: 1.3x at 2)")
    print(json.dumps(record | {"rows": rows, "seconds": time.perf_counter() - began}))


@contextmanager
def going_on(name: str) -> Iterator[None]:
    """What goes wrong in one row is printed in its place, and the rest of the table comes all the same."""
    try:
        yield
    except Exception as error:
        traceback.print_exc()
        print(f"{name:44}failed: {type(error).__name__}: {str(error).strip().splitlines()[:1]}", flush=True)


def measured(
    variant: Variant,
    device: torch.device,
    size: Size,
    data: tuple[Arrays, Split],
    reference: dict[str, dict[str, float]],
) -> Result:
    """Measure one variant and print its row, then what its steps are made of."""
    torch.compiler.reset()
    config, began = config_of(variant, size, device), time.perf_counter()
    run = Run(config, device, data, CudaGraphs(device) if variant.recorded else None)
    far = agree(run, variant, reference, size, data)
    if device.type == "cuda":  # the peak is that of this run alone, without the one that it was compared with
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    run.take(WARMUP_STEPS)
    first = time.perf_counter() - began
    if far > TOLERANCE[variant.precision]:
        print(f"{variant.name:44}no speed: its first losses are {far:.1e} from the plain fp32 step's")
        return {"loss_rel": far}
    out = speed(run, size) | {"loss_rel": far, "first_seconds": first}
    rate = out["steps_per_second"]
    goals = f"{variant.required or '':>10}{variant.stretch or '':>9}"
    of_floor = f", {100 * rate / FLOOR:.0f} % of {FLOOR}" if variant.precision == "bf16" else ""
    print(
        f"{variant.name:44}{rate:8.1f}{out['min']:8.1f}{out['max']:8.1f}{goals}  "
        f"{out['syncs_per_step']:.2f} syncs a step, {out['recompiles']:.0f} recompiles, {first:.0f} s to get going, "
        f"losses within {far:.0e}{of_floor}",
        flush=True,
    )
    if variant.required or device.type == "cpu":
        out |= parts_of_a_step(run) | {"evaluation_ms": 1e3 * evaluation(run)}
        whole = STEPS / rate + EVALUATIONS * out["evaluation_ms"] / 1e3
        out |= {"run_minutes": whole / 60, "evaluation_share": EVALUATIONS * out["evaluation_ms"] / 1e3 / whole}
        share = out["augmentation_ms"] * rate / 1e3
        print(
            f"{'':6}a run {whole / 60:.1f} min (15, 10); augmentation {100 * share:.0f} % of a step (12); "
            f"EMA, queue, histogram, meters {out['bookkeeping_ms']:.3f} ms (0.25); "
            f"evaluations {100 * out['evaluation_share']:.1f} % (4, 2)",
            flush=True,
        )
    if variant.required and device.type == "cuda":
        out |= memory(run) | {"idle": idle(run)}
        print(f"{'':6}peak memory {out['over_needed']:.2f}x (1.2); GPU idle {100 * out['idle']:.1f} % (5)", flush=True)
    return out


if __name__ == "__main__":
    main()
