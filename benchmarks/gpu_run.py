"""What is measured of a method's steps on a GPU, or shown to run without one: a speed of `gpu.py`."""

import gc
import math
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the project need not be installed; Hydra looks for its plugins on the path, too

import numpy as np  # noqa: E402
import torch  # noqa: E402
from gpu_rows import REFERENCE, Figures, Lines, Speed  # noqa: E402
from torch import Tensor  # noqa: E402

from daso.data.sources import Arrays  # noqa: E402
from daso.data.split import Split  # noqa: E402
from daso.machine.execution import configure_torch  # noqa: E402
from daso.nn import ema  # noqa: E402
from daso.run.build import build  # noqa: E402
from daso.schema import Config  # noqa: E402
from daso.settings.compose import configuration  # noqa: E402
from daso.train import evaluate  # noqa: E402
from daso.train.capture import Captured, CudaGraphs, Graphs  # noqa: E402
from daso.train.loop import Parts, evaluated, opinions_of, predictor, tallies  # noqa: E402
from daso.types import Clock  # noqa: E402

STEPS, EVALUATIONS, WARMUP_STEPS, FIRST_STEPS = 250_000, 500, 20, 3
JUDGED = ("loss_cls", "loss_align", "loss_total")  # a pseudo-label at the threshold moves loss_cons by 2 %
TOLERANCE = {"fp32": 3e-3, "tf32": 5e-3, "bf16": 2e-2}  # of the first losses, relative to the plain fp32 step's


class Size(NamedTuple):
    """How much is done."""

    overrides: str
    images: int  # a class, for training
    held_out: int
    block: int  # steps between two looks at the clock
    blocks: int
    seconds: float  # that several runs at once are counted for


FULL = Size("model=wrn28_2", 5000, 15_000, 100, 6, 8.0)
SMOKE = Size("model=wrn10_1 train.batch_size=2", 60, 50, 2, 2, 0.5)


class Bench(NamedTuple):
    """Where a row is measured, how thoroughly, and whom it tells."""

    row: str
    device: torch.device
    smoke: bool
    lines: Lines

    @property
    def size(self) -> Size:
        return SMOKE if self.smoke else FULL

    def tell(self, **figures: object) -> None:
        """Something is known of the row."""
        self.lines.add(row=self.row, **figures)

    def attempt(self, name: str, measure: Callable[[], Figures]) -> None:
        """Tell what can be measured; where it cannot, why, for the rest of the row counts all the same."""
        try:
            self.tell(**measure())
        except Exception as error:
            self.tell(**{name: f"{type(error).__name__}: {error}".splitlines()[0]})


def config_of(row: Speed, size: Size, device: torch.device) -> Config:
    """The paper's run; DASO's second phase begins at once, so that it is what is measured."""
    precision, compile = (row.precision, row.compile) if device.type == "cuda" else ("fp32", "none")
    return configuration(
        [
            "dataset=cifar10", f"algorithm={row.method}", "track=none", *size.overrides.split(),
            f"train.compile={compile}", f"train.precision={precision}", f"device={device.type}",
            "daso.warmup_steps=100", "daso.update_every=100", "algorithm.threshold=0.2", *row.overrides.split(),
        ]
    )  # fmt: skip


def make_data(config: Config, size: Size) -> tuple[Arrays, Split]:
    """Noise on a coloured ground; 500 labels a class at most, long-tailed, ten times as many unlabeled images."""
    random, data = np.random.RandomState(0), config.dataset
    y = np.repeat(np.arange(data.num_classes), size.images)
    side = -(-data.source_size // 8)
    ground = random.randint(0, 200, (len(y), data.channels, side, side), dtype=np.uint8)
    ground = ground.repeat(8, axis=2).repeat(8, axis=3)[..., : data.source_size, : data.source_size]
    x = ground + random.randint(0, 56, ground.shape, dtype=np.uint8)
    first, classes = size.images // 10, range(data.num_classes)
    labeled = np.concatenate([size.images * k + np.arange(max(2, first // (k + 1))) for k in classes])
    unlabeled = np.concatenate([size.images * k + np.arange(first, size.images) for k in classes])
    test = random.randint(0, len(x), size.held_out)
    return Arrays(x, y, x[test], y[test], None), Split(labeled, unlabeled, np.zeros(0, dtype=np.int64))


class Run:
    """A run that takes steps when it is told to."""

    def __init__(self, row: Speed, bench: Bench, data: tuple[Arrays, Split]) -> None:
        config, self.device = config_of(row, bench.size, bench.device), bench.device
        configure_torch(config, self.device)
        graphs: Graphs | None = CudaGraphs(self.device) if row.recorded and self.device.type == "cuda" else None
        self.parts: Parts = build(config, self.device, *data, graphs=graphs)
        self.begin, self.step = config.daso.warmup_steps, 0

    def take(self, steps: int) -> None:
        """Take steps of the phase after DASO's warm-up."""
        parts = self.parts
        for _ in range(steps):
            at = self.begin + self.step
            parts.engine(parts.engine.draw(at, at, STEPS, 0.03), parts.method.flags(at))
            self.step += 1

    def first_losses(self) -> dict[str, float]:
        """Means over the first steps."""
        self.take(FIRST_STEPS)
        return {name: mean for name, mean in self.parts.meters.read_train().get().items() if name.startswith("loss_")}

    @property
    def waited(self) -> float:
        """Seconds that the host has waited for the device so far, being ahead of it."""
        packet = self.parts.engine._packet
        return 0.0 if packet is None else packet.waited


def speeds(row: Speed, bench: Bench) -> None:
    """Steps per second of one way to execute a method, and what its steps are made of."""
    config_of(row, FULL, torch.device("cuda"))  # composes whatever the device, which a smoke run is to show
    data = make_data(config_of(row, bench.size, bench.device), bench.size)
    expected = reference(row, bench, data)
    if bench.device.type == "cuda":  # the peak is that of this run alone, without the one that it is compared with
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(bench.device)
    began = time.perf_counter()
    run = Run(row, bench, data)
    losses = run.first_losses()
    bench.tell(losses=losses, losses_off=difference(losses, expected), tolerance=TOLERANCE[row.precision])
    run.take(WARMUP_STEPS)
    pace = speed(run, bench.size)
    bench.tell(first_seconds=time.perf_counter() - began - pace.pop("seconds"), **pace)
    rate = float(pace["steps_per_second"])
    bench.attempt("clocks", lambda: clocks(run))
    bench.attempt("augmentation", lambda: parts_of_a_step(run))
    bench.attempt("evaluation", lambda: evaluation(run, rate))
    bench.attempt("memory", lambda: memory(run))
    bench.attempt("idle", lambda: idle(run, rate))


def reference(row: Speed, bench: Bench, data: tuple[Arrays, Split]) -> dict[str, float]:
    """The first losses of the plain fp32 step: from the file, if an earlier row has left them there."""
    key = f"{row.method} {row.overrides} {bench.size.overrides}"
    for line in bench.lines.read():
        if line.get(REFERENCE) == key:
            return dict(line["losses"])
    losses = Run(row._replace(precision="fp32", compile="none", recorded=False), bench, data).first_losses()
    bench.lines.add(**{REFERENCE: key, "losses": losses})
    return losses


def difference(losses: dict[str, float], expected: dict[str, float]) -> float:
    """How far losses are from the expected ones, relative; the one that a threshold decides is left out."""
    judged = [name for name in JUDGED if name in expected]
    far = [abs(losses[name] - expected[name]) / max(abs(expected[name]), 1e-6) for name in judged]
    return max(far) if all(value == value for value in far) else float("inf")


def speed(run: Run, size: Size) -> Figures:
    """Steps per second, and what should not happen meanwhile."""
    made, waited, computed, began = recompiles(), run.waited, time.process_time(), time.perf_counter()
    with waits_counted(run.device) as waits:
        blocks = [clocked(lambda: run.take(size.block), run.device) / size.block for _ in range(size.blocks)]
    steps, seconds, rates = size.block * size.blocks, time.perf_counter() - began, sorted(1 / s for s in blocks)
    return {
        "steps_per_second": statistics.median(rates),
        "min": rates[0],
        "max": rates[-1],
        "waits_per_step": len(waits) / steps,
        "recompiles": recompiles() - made,
        "host_rests": (run.waited - waited) / seconds,
        "host_ms": 1e3 * (time.process_time() - computed) / steps,
        "seconds": seconds,
    }


def clocked(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of the device's work."""
    if device.type != "cuda":
        began = time.perf_counter()
        work()
        return time.perf_counter() - began
    start, end = (torch.cuda.Event(enable_timing=True, blocking=True) for _ in range(2))
    start.record()
    work()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3


@contextmanager
def waits_counted(device: torch.device) -> Iterator[list[str]]:
    """Operations meanwhile for which the host had to wait for the device."""
    found: list[str] = []
    if device.type != "cuda":
        yield found
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode("default")
            found += [str(w.message) for w in caught if "synchroniz" in str(w.message).lower()]


def recompiles() -> int:
    """Graphs that torch.compile has made so far."""
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"]) if "torch._dynamo" in sys.modules else 0


def clocks(run: Run) -> Figures:
    """Clocks, power and heat while the GPU works."""
    if run.device.type != "cuda":
        return {}
    asked = subprocess.Popen(
        ["nvidia-smi", "--query-gpu=clocks.sm,clocks.mem,power.draw,temperature.gpu", "--format=csv,noheader"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    while asked.poll() is None:
        run.take(10)
    return {"clocks": [part.strip() for part in asked.communicate()[0].strip().split(",")]}


def parts_of_a_step(run: Run) -> Figures:
    """Seconds of the augmentation, and of what is neither images nor network (EMA, queue, histogram, meters)."""
    parts = run.parts
    given = parts.engine._given
    batch, truth = parts.feed.batch(given)
    nets, slots = parts.nets, parts.slots
    clock = Clock(given["clock/step"], given["clock/progress"])
    with torch.no_grad(), parts.autocast():
        outcome = parts.learner(nets, batch, slots, {}, clock, parts.method.flags(STEPS))
    feats = nets.teacher.encode(batch.x).detach()

    def bookkeeping() -> None:
        ema.update(nets.student, nets.teacher, clock.step, 0.999)
        if slots.semantic is not None:
            slots.semantic.observe(nets, batch, clock, feats)
            slots.semantic.count(outcome.target.label)
        parts.meters.add(outcome, batch.y, truth)

    return {
        "augmentation_ms": 1e3 * repeated(lambda: parts.engine._batch(given), run),
        "bookkeeping_ms": 1e3 * repeated(bookkeeping, run),
    }


def repeated(work: Callable[[], object], run: Run, times: int = 20) -> float:
    """Median seconds of something, recorded if steps are."""
    task = Captured(lambda _: work(), run.parts.graphs)
    for _ in range(5):
        task(None)
    return statistics.median(clocked(lambda: task(None), run.device) for _ in range(times))


def evaluation(run: Run, rate: float) -> Figures:
    """Seconds of one evaluation, its metrics included; what that makes of a run."""
    net = evaluated(run.parts)
    opinions = opinions_of(run.parts, net, predictor(run.parts, net))
    count: Captured[None, evaluate.Tallies] = Captured(lambda _: tallies(run.parts, opinions), run.parts.graphs, 1)
    for _ in range(3):
        count(None)
    began = time.perf_counter()
    for _ in range(5):
        evaluate.measure(count(None), run.parts.counts).get()
    seconds = (time.perf_counter() - began) / 5
    whole = STEPS / rate + EVALUATIONS * seconds
    return {
        "evaluation_ms": 1e3 * seconds, "run_minutes": whole / 60, "evaluation_share": EVALUATIONS * seconds / whole
    }  # fmt: skip


def memory(run: Run) -> Figures:
    """Peak bytes, and as a multiple of those of data, model and activations, i.e. of what one plain step saves for its
    backward.
    """
    if run.device.type != "cuda":
        return {}
    peak, reserved = torch.cuda.max_memory_allocated(run.device), torch.cuda.max_memory_reserved(run.device)
    parts, seen = run.parts, {}

    def pack(tensor: Tensor) -> Tensor:
        seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    pool = parts.feed.pool
    data = sum(t.nbytes for t in (pool.train_x, pool.test_x, *(x for x, _ in parts.splits.values())))
    model = 4 * sum(p.nbytes for p in parts.nets.student.parameters())  # student, teacher, momentum, gradient
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t), parts.autocast():
        batch, _ = parts.feed.batch(parts.engine._given)
        parts.nets.student.predict(torch.cat([batch.x, *batch.u]))
    return {"allocated": peak, "reserved": reserved, "over_needed": peak / (data + model + sum(seen.values()))}


def idle(run: Run, rate: float) -> Figures:
    """Share of the time without a kernel: what the kernels of a step take, under a profiler that slows down all the
    rest, against what a step takes without one.
    """
    if run.device.type != "cuda":
        return {}
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    steps = 100
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        run.take(steps)
        torch.cuda.synchronize(run.device)
    kernels = [event.time_range for event in profiled.events() if event.device_type == DeviceType.CUDA]
    return {"idle": 1 - covered((span.start, span.end) for span in kernels) / 1e6 / steps * rate}


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """How much time spans (start, end) take in all, counted once where they overlap."""
    total, latest = 0.0, -math.inf
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, latest))
        latest = max(latest, end)
    return total


def system(device: torch.device) -> dict[str, object]:
    """What the figures are measured on."""
    found: dict[str, object] = {
        "torch": torch.__version__, "python": sys.version.split()[0], "load": os.getloadavg()[0]
    }  # fmt: skip
    if device.type == "cuda":
        query = ["nvidia-smi", "--query-gpu=name,clocks.max.sm,clocks.max.mem,driver_version", "--format=csv,noheader"]
        asked = subprocess.run(query, capture_output=True, text=True).stdout.strip()
        found |= {"gpu": asked, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    return found
