"""A run that takes steps when it is told to, and what can be measured on it: the parts of `gpu.py`."""

import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from daso.data.sources import Arrays
from daso.data.split import Split
from daso.machine.execution import configure_torch
from daso.nn import ema
from daso.run.build import build
from daso.schema import Compile, Config
from daso.settings.compose import configuration
from daso.train import evaluate
from daso.train.capture import Captured, Graphs
from daso.train.loop import Parts, evaluated, predictor, tallies
from daso.types import Clock

CLASSES, STEPS = 10, 250_000
ROOT = Path(__file__).resolve().parents[1]
Result = dict[str, float]


class Size(NamedTuple):
    """How much is done."""

    overrides: str
    images: int  # a class, for training
    held_out: int
    block: int  # steps between two looks at the clock
    blocks: int


FULL = Size("model=wrn28_2", 5000, 15_000, 100, 6)
SMOKE = Size("model=wrn10_1 train.batch_size=4", 60, 50, 2, 2)


class Variant(NamedTuple):
    """One way to execute a method."""

    method: str
    precision: str
    compile: Compile
    recorded: bool = False  # as a CUDA graph even if `compile` does not ask for it
    required: float = 0.0  # steps/s on a H200
    stretch: float = 0.0

    @property
    def name(self) -> str:
        """What the row is called."""
        how = "graph of eager kernels" if self.recorded else self.compile.value
        return f"{self.method} {self.precision} {how}"


def make_data(size: Size) -> tuple[Arrays, Split]:
    """Noise on a coloured ground; 500 labels a class at most, long-tailed, ten times as many unlabeled images."""
    random = np.random.RandomState(0)
    y = np.repeat(np.arange(CLASSES), size.images)
    ground = random.randint(0, 200, (len(y), 3, 4, 4), dtype=np.uint8).repeat(8, axis=2).repeat(8, axis=3)
    x = ground + random.randint(0, 56, ground.shape, dtype=np.uint8)
    first = size.images // 10
    labeled = np.concatenate([size.images * k + np.arange(max(2, first // (k + 1))) for k in range(CLASSES)])
    unlabeled = np.concatenate([size.images * k + np.arange(first, size.images) for k in range(CLASSES)])
    test = random.randint(0, len(x), size.held_out)
    return Arrays(x, y, x[test], y[test], None), Split(labeled, unlabeled, np.zeros(0, dtype=np.int64))


def config_of(variant: Variant, size: Size, device: torch.device) -> Config:
    """The paper's run; DASO's second phase begins at once, so that it is what is measured."""
    overrides = (
        f"dataset=cifar10 algorithm={variant.method} track=none {size.overrides} train.compile={variant.compile.value} "
        f"train.precision={variant.precision} device={device.type} daso.warmup_steps=100 daso.update_every=100 "
        "algorithm.threshold=0.2"
    )
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))  # Hydra looks for the project's plugins on the path
    return configuration(overrides.split())


class Run:
    """A run that takes steps when it is told to."""

    def __init__(self, config: Config, device: torch.device, data: tuple[Arrays, Split], graphs: Graphs | None) -> None:
        configure_torch(config, device)
        self.parts: Parts = build(config, device, *data, graphs=graphs)
        self.device, self.step = device, 0
        self.begin = config.daso.warmup_steps

    def take(self, steps: int) -> None:
        """Take steps of the phase after DASO's warm-up."""
        parts = self.parts
        for _ in range(steps):
            at = self.begin + self.step
            parts.engine(parts.engine.draw(at, at, STEPS, 0.03), parts.slots.flags(at))
            self.step += 1

    def losses(self, steps: int) -> dict[str, float]:
        """Means over some steps."""
        self.take(steps)
        means = self.parts.meters.read_train().get()
        return {name: value for name, value in means.items() if name.startswith("loss_")}


def clocked(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of the device's work."""
    if device.type != "cuda":
        began = time.perf_counter()
        work()
        return time.perf_counter() - began
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    work()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3


def repeated(work: Callable[[], object], run: Run, times: int = 20) -> float:
    """Median seconds of something, recorded if steps are."""
    task = Captured(lambda _: work(), run.parts.graphs)
    for _ in range(5):
        task(None)
    return statistics.median(clocked(lambda: task(None), run.device) for _ in range(times))


@contextmanager
def syncs_counted(device: torch.device) -> Iterator[list[str]]:
    """The host's waits for the device meanwhile."""
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


def speed(run: Run, size: Size) -> Result:
    """Steps per second, and what should not happen meanwhile."""
    made = recompiles()
    with syncs_counted(run.device) as syncs:
        seconds = [clocked(lambda: run.take(size.block), run.device) / size.block for _ in range(size.blocks)]
    rates = sorted(1 / s for s in seconds)
    return {
        "steps_per_second": statistics.median(rates),
        "min": rates[0],
        "max": rates[-1],
        "syncs_per_step": len(syncs) / (size.block * size.blocks),
        "recompiles": float(recompiles() - made),
    }


def parts_of_a_step(run: Run) -> Result:
    """Seconds of the augmentation, and of what is neither images nor network (EMA, queue, histogram, meters)."""
    parts = run.parts
    given = parts.engine._given
    batch, truth = parts.feed.batch(given)
    nets, slots = parts.nets, parts.slots
    clock = Clock(given["clock/step"], given["clock/progress"])
    with torch.no_grad(), parts.autocast():
        outcome = parts.learner(nets, batch, slots, {}, clock, slots.flags(STEPS))
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


def evaluation(run: Run) -> float:
    """Seconds of one evaluation, its metrics included."""
    predict = predictor(run.parts, evaluated(run.parts))
    count: Captured[None, evaluate.Tallies] = Captured(lambda _: tallies(run.parts, predict), run.parts.graphs, 1)
    for _ in range(3):
        count(None)
    began = time.perf_counter()
    for _ in range(5):
        evaluate.measure(count(None), run.parts.counts).get()
    return (time.perf_counter() - began) / 5


def memory(run: Run) -> Result:
    """Peak bytes over those of data, model and activations, i.e. of what one plain step saves for its backward."""
    parts, seen = run.parts, {}

    def pack(tensor: Tensor) -> Tensor:
        seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    pool = parts.feed.pool
    data = sum(t.nbytes for t in (pool.train_x, pool.test_x, *(x for x, _ in parts.splits.values())))
    model = 4 * sum(p.nbytes for p in parts.nets.student.parameters())  # student, teacher, momentum, gradient
    given = parts.engine._given
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t), parts.autocast():
        batch, _ = parts.feed.batch(given)
        parts.nets.student.predict(torch.cat([batch.x, *batch.u]))
    return {"over_needed": torch.cuda.max_memory_allocated(run.device) / (data + model + sum(seen.values()))}


def idle(run: Run) -> float:
    """Share of the time without a kernel, over 100 steps."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        began = time.perf_counter()
        run.take(100)
        torch.cuda.synchronize(run.device)
        seconds = time.perf_counter() - began
    busy = sum(event.self_device_time_total for event in profiled.key_averages()) / 1e6
    return max(0.0, 1 - busy / seconds)


def system(device: torch.device) -> dict[str, object]:
    """What the figures were measured on."""
    found: dict[str, object] = {
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "load": os.getloadavg()[0],
    }
    if device.type == "cuda":
        query = "--query-gpu=name,clocks.sm,clocks.max.sm,clocks.mem,driver_version"
        asked = subprocess.run(["nvidia-smi", query, "--format=csv,noheader"], capture_output=True, text=True)
        found |= {"gpu": torch.cuda.get_device_name(device), "nvidia_smi": asked.stdout.strip()}
        found |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    return found
