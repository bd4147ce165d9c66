"""How much faster one FixMatch + DASO step is than in the per-image, per-tensor, per-class style of the public code.

    python benchmarks/step.py --model wrn28_2
    python benchmarks/step.py --model wrn10_1

Both sides train on the same images with the same random numbers. First their losses are compared, in float64 over
several steps and in float32 at the first one: where they differ, no speed is printed. Then the steps are taken in
turn, each side in a process of its own, one thread, CPU seconds, ratios pair by pair, the median of them reported.
Where a process's memory lies moves its speed by several percent, so there are several rounds, each with new processes.
The baseline's images come from its loaders, which draw their own random numbers, without workers, so that their cost
is seen; it then trains on those that belong to the project's random numbers, which are made beforehand.
"""

import argparse
import functools
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from official_data import Images, loader, per_image
from official_step import ListHistogram, ListQueue, OfficialStep, PlainNet, average
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from daso.data.sources import Arrays
from daso.data.split import Split
from daso.data.views import ViewSpec, draw
from daso.machine.execution import configure_torch
from daso.nn import ema
from daso.nn.net import Net
from daso.nn.wrn import WideResNet
from daso.run.build import build
from daso.schema import Config, DasoConfig, OptimConfig, Precision, Schedule
from daso.settings.compose import configuration
from daso.slots.daso import Daso
from daso.slots.prototypes import Prototypes
from daso.train.engine import make_clock
from daso.train.optimizer import build_optimizer, set_lr
from daso.train.schedule import learning_rate
from daso.types import Batch, View

BATCH = 64  # labeled images a step
GOALS = {("wrn28_2", "fp32"): 1.25, ("wrn28_2", "bf16"): 2.2, ("wrn10_1", "fp32"): 1.7, ("wrn10_1", "bf16"): 2.7}
CLASSES, MU, WARMUP = 10, 2, 2  # WARMUP: steps of DASO's warm-up and of its histogram period
OPTIM = OptimConfig("sgd", 0.03, Schedule.constant)
CHECK_STEPS, CHECK_BATCH, REL_F64, REL_F32 = 5, 8, 1e-6, 1e-4
OFFICIAL = "official fp32"
SIDES = (OFFICIAL, "ours fp32", "ours bf16")
LOADED = 1000  # batches of the baseline's loaders, more than are taken
CPU = torch.device("cpu")


@functools.cache
def make_config(model: str, batch: int, precision: Precision) -> Config:
    """The paper's FixMatch + DASO on images of CIFAR's shape, the blend switched on after two steps.

    The threshold is low: an untrained network is sure of nothing, and the consistency loss shall be compared, too.
    """
    overrides = (
        "dataset=cifar10 algorithm=fixmatch_daso algorithm.threshold=0.2 track=none "
        f"model={model} train.batch_size={batch} train.precision={precision.name} "
        f"daso.warmup_steps={WARMUP} daso.update_every={WARMUP}"
    )
    root = str(Path(__file__).resolve().parents[1])  # Hydra looks for the project's plugins on the path
    if root not in sys.path:
        sys.path.insert(0, root)
    return configuration(overrides.split())


def make_data() -> tuple[Arrays, Split]:
    """Noise on a smooth coloured ground, long-tailed labels."""
    random = np.random.RandomState(0)
    y = np.repeat(np.arange(CLASSES), 300)
    ground = random.randint(0, 200, (len(y), 3, 4, 4)).repeat(8, axis=2).repeat(8, axis=3)
    x = (ground + random.randint(0, 56, ground.shape)).astype(np.uint8)
    labeled = np.concatenate([300 * k + np.arange(100 // (k + 1)) for k in range(CLASSES)])
    unlabeled = np.concatenate([300 * k + np.arange(100, 300) for k in range(CLASSES)])
    return Arrays(x, y, x[:CLASSES], y[:CLASSES], None), Split(labeled, unlabeled, np.zeros(0, dtype=np.int64))


class Ours:
    """The project's step, called as the training loop calls it."""

    def __init__(self, config: Config, dtype: torch.dtype = torch.float32) -> None:
        self.parts = build(config, CPU, *make_data(), dtype)

    def prepare(self, step: int) -> None:
        """Nothing is given to it."""

    def data(self, step: int) -> tuple[Batch, Tensor | None]:
        return self.parts.feed(step)

    def train(self, step: int, fed: tuple[Batch, Tensor | None]) -> dict[str, Tensor]:
        parts, steps, (batch, truth) = self.parts, self.parts.config.train.steps, fed
        set_lr(parts.optimizer, learning_rate(parts.config.optim, step, steps))
        outcome = parts.engine.step(batch, {}, make_clock(step, steps), parts.slots.flags(step))
        parts.meters.add(outcome, batch.y, truth)
        return outcome.losses


class Official:
    """The baseline, given the weights, the rows and the random numbers of the project's step before it takes any."""

    def __init__(self, ours: Ours) -> None:
        (arrays, split), parts = make_data(), ours.parts
        images = arrays.train_x.transpose(0, 2, 3, 1)
        self.feed, self.generator, self.spec = parts.feed, parts.generator, ViewSpec.of(parts.config.dataset)
        self.labeled = images[split.labeled], arrays.train_y[split.labeled]
        self.unlabeled = images[split.unlabeled], arrays.train_y[split.unlabeled]
        self.step = OfficialStep(parts.config, parts.nets.student)
        self.loaders = [self.batches(*self.labeled, (View.WEAK,), self.feed.sizes.labeled)]
        self.loaders.append(self.batches(*self.unlabeled, (View.WEAK, View.STRONG), self.feed.sizes.unlabeled))
        self.fed: tuple[Tensor, ...] = ()

    def batches(self, images: np.ndarray, labels: np.ndarray, views: tuple[View, ...], size: int) -> Iterator[object]:
        """The baseline's endless loader."""
        rows = np.random.RandomState(0).randint(0, len(images), LOADED * size).tolist()
        return iter(loader(Images(images, labels, views, self.spec), rows, size, 0))

    def prepare(self, step: int) -> None:
        """Make the images of the project's step."""
        b, bu = self.feed.sizes
        rows = self.feed.labeled.rows(step, b).tolist()
        idx = self.feed.unlabeled.rows(step, bu).tolist()
        views = (
            (self.labeled, rows, View.WEAK, "views/labeled"),
            (self.unlabeled, idx, View.WEAK, "views/unlabeled/0"),
            (self.unlabeled, idx, View.STRONG, "views/unlabeled/1"),
        )
        x, weak, strong = (
            self.step.view(
                images, r, view, per_image(draw(view, len(r), self.generator(stream, step), self.spec), len(r))
            )
            for (images, _), r, view, stream in views
        )
        self.fed = x, torch.tensor(self.labeled[1][rows]), weak, strong, torch.tensor(self.unlabeled[1][idx])

    def data(self, step: int) -> tuple[Tensor, ...]:
        for batches in self.loaders:
            next(batches)
        return self.fed

    def train(self, step: int, fed: tuple[Tensor, ...]) -> dict[str, float]:
        return self.step(step, *fed)


def losses_of(side: Ours | Official, step: int) -> dict[str, float]:
    """Take one step."""
    side.prepare(step)
    return {name: float(loss) for name, loss in side.train(step, side.data(step)).items()}


def difference(a: dict[str, float], b: dict[str, float]) -> float:
    """The largest relative difference between the losses of two steps."""
    assert a.keys() == b.keys(), f"{sorted(a)} are not {sorted(b)}"
    return max(abs(a[k] - b[k]) / max(abs(b[k]), 1e-12) for k in a)


def compare(config: Config, dtype: torch.dtype, steps: int) -> float:
    """How far the two sides' losses are apart, at most, over some steps from the same start."""
    ours = Ours(config, dtype)
    official = Official(ours)
    return max(difference(losses_of(ours, t), losses_of(official, t)) for t in range(steps))


def check(model: str, batch: int) -> dict[str, float]:
    """Compare the losses; leave with a sentence where they differ."""
    f64 = compare(make_config(model, CHECK_BATCH, Precision.fp32), torch.float64, CHECK_STEPS)
    f32 = compare(make_config(model, batch, Precision.fp32), torch.float32, 1)
    print(
        f"losses differ by {f64:.1e} in float64 over {CHECK_STEPS} steps, by {f32:.1e} in float32 at the first, at most"
    )
    if f64 > REL_F64 or f32 > REL_F32:
        raise SystemExit(f"No speed is reported: the bounds are {REL_F64:.0e} and {REL_F32:.0e}.")
    return {"loss_rel_f64": f64, "loss_rel_f32": f32}


def seconds(action: Callable[[], object], times: int = 1) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    for _ in range(times):
        action()
    return (time.process_time() - start) / times


def matmul_peak(dtype: torch.dtype) -> float:
    """FLOP/s of one thread in a large matrix product."""
    a = torch.randn(1024, 1024).to(dtype)
    return 2 * 1024**3 / min(seconds(lambda: a @ a) for _ in range(30))


def timed(side: Ours | Official, step: int) -> tuple[float, float]:
    """CPU seconds of the data and of the training of one step."""
    side.prepare(step)
    start = time.process_time()
    fed = side.data(step)
    middle = time.process_time()
    side.train(step, fed)
    return middle - start, time.process_time() - middle


def make_side(name: str, model: str, batch: int) -> Ours | Official:
    """A side by its name in `SIDES`, its process set up as its own code would set it up."""
    if name == OFFICIAL:
        torch.set_num_threads(1)
        return Official(Ours(make_config(model, batch, Precision.fp32)))
    config = make_config(model, batch, Precision[name.split()[1]])
    configure_torch(config, CPU)
    return Ours(config)


def serve(name: str, model: str, batch: int, pipe: Connection) -> None:
    """One side, in this process: steps in, CPU seconds of their data and training out, until None."""
    side = make_side(name, model, batch)
    while (step := pipe.recv()) is not None:
        pipe.send(timed(side, step))


def time_steps(model: str, batch: int, reps: int) -> dict[str, list[tuple[float, float]]]:
    """CPU seconds of data and training per side, each side in a new process, the sides taking each step in turn."""
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    processes = []
    for name in SIDES:
        pipes[name], far = context.Pipe()
        processes.append(context.Process(target=serve, args=(name, model, batch, far), daemon=True))
        processes[-1].start()
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in SIDES}
    for step in range(WARMUP + 1 + reps):
        for name, pipe in pipes.items():
            pipe.send(step)
            answer = pipe.recv()
            if step > WARMUP:
                spent[name].append(answer)
    for process, pipe in zip(processes, pipes.values(), strict=True):
        pipe.send(None)
        process.join()
    return spent


def flops_of_step(model: str, batch: int) -> float:
    """FLOPs of convolutions and matrix products in a whole step."""
    ours = Ours(make_config(model, batch, Precision.fp32))
    fed = ours.data(0)
    with FlopCounterMode(display=False) as counter:
        ours.train(0, fed)
    return counter.get_total_flops()


def bookkeeping(model: str, classes: int, reps: int) -> dict[str, tuple[float, float]]:
    """(official, ours) CPU seconds of everything that is neither images nor network, for a number of classes."""
    shape = make_config(model, 1, Precision.fp32).model
    dim, cap, bl = 64 * shape.width, 256, 64
    random = torch.Generator().manual_seed(0)
    plain = [PlainNet(shape.depth, shape.width, 3, classes) for _ in range(2)]
    nets = [Net(WideResNet(shape.depth, shape.width), classes).to(memory_format=torch.channels_last) for _ in range(2)]
    for net in (plain[0], nets[0]):
        for p in net.parameters():
            p.grad = torch.ones_like(p)
    sgd = torch.optim.SGD(plain[0].parameters(), OPTIM.lr, OPTIM.momentum, 0, 5e-4, OPTIM.nesterov, foreach=False)
    fused = build_optimizer(nets[0], OPTIM)
    queue, bank = ListQueue(classes, dim, cap), Prototypes(classes, dim, cap)
    for _ in range(3 * cap * classes // 512):  # full, or nearly
        f, y = torch.randn(512, dim, generator=random), torch.randint(0, classes, (512,), generator=random)
        queue.push(f, y)
        bank.push(f, y)
    f, y = torch.randn(bl, dim, generator=random), torch.randint(0, classes, (bl,), generator=random)
    label = torch.randint(0, classes, (MU * bl,), generator=random)
    listed, daso = ListHistogram(classes, 100), Daso(classes, dim, DasoConfig("daso"))
    daso.prototypes = NoPrototypes()  # type: ignore[assignment]
    batch, step, clock = Batch(f, y, (), label), [0], make_clock(1000, 10**6)

    def official_histogram() -> None:
        listed.push(label)
        listed.update(step[0])
        step[0] += 1

    def our_histogram() -> None:
        daso.observe(None, batch, clock, f)  # type: ignore[arg-type]
        daso.count(label)

    pairs: dict[str, tuple[Callable[[], object], Callable[[], object], int]] = {
        "EMA": (
            lambda: average(plain[0], plain[1], 5, 0.999),
            lambda: ema.update(nets[0], nets[1], clock.step, 0.999),
            10,
        ),
        "SGD": (sgd.step, fused.step, 10),
        "queue": (lambda: queue.push(f, y), lambda: (bank.push(f, y), bank.means()), 50),
        "histogram": (official_histogram, our_histogram, 100),
    }
    out = {}
    for name, (theirs, ours, times) in pairs.items():
        samples = [(seconds(theirs, times), seconds(ours, times)) for _ in range(max(reps, 5) + 1)][1:]
        out[name] = tuple(statistics.median(column) for column in zip(*samples, strict=True))
    return out


class NoPrototypes(nn.Module):
    """What is left of `Daso` without prototypes is its histogram."""

    def push(self, feats: Tensor, y: Tensor) -> None:
        """Take no note."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("wrn28_2", "wrn10_1"), default="wrn28_2")
    parser.add_argument(
        "--batch", type=int, default=BATCH, help="labeled images a step; twice as many unlabeled ones, two views each"
    )
    parser.add_argument("--rounds", type=int, default=3, help="each with new processes")
    parser.add_argument("--reps", type=int, default=5, help="steps of each side in a round")
    args = parser.parse_args()
    batch = args.batch
    configure_torch(make_config(args.model, batch, Precision.fp32), CPU)
    record: dict[str, object] = {
        "benchmark": "step", "model": args.model, "batch": [batch, MU * batch, MU * batch],
        "rounds": args.rounds, "reps": args.reps,
        "torch": torch.__version__, "threads": torch.get_num_threads(), "cpu": torch.backends.cpu.get_cpu_capability(),
    }  # fmt: skip
    record |= check(args.model, batch)

    wall = time.perf_counter()
    rounds = [time_steps(args.model, batch, args.reps) for _ in range(args.rounds)]
    spent = {name: [pair for each in rounds for pair in each[name]] for name in SIDES}
    flops = flops_of_step(args.model, batch)
    peaks = {"fp32": matmul_peak(torch.float32), "bf16": matmul_peak(torch.bfloat16)}
    whole = {name: [sum(pair) for pair in pairs] for name, pairs in spent.items()}
    images = batch * (1 + 2 * MU)
    print(f"\n{args.model}, {batch}+{MU * batch}+{MU * batch} images a step, {flops / 1e9:.0f} GFLOP, CPU milliseconds")
    print(f"{'':15}{'step':>9}{'min':>9}{'max':>9}{'data':>9}{'train':>9}{'images/s':>10}{'% of peak':>11}{'ratio':>8}")
    for name, times in whole.items():
        data, train = (1e3 * statistics.median(part) for part in zip(*spent[name], strict=True))
        median, precision = statistics.median(times), name.split()[1]
        ratios = [a / b for a, b in zip(whole[OFFICIAL], times, strict=True)]
        ratio = statistics.median(ratios)
        by_round = [statistics.median(ratios[k : k + args.reps]) for k in range(0, len(ratios), args.reps)]
        used = 100 * flops / (train / 1e3) / peaks[precision]
        print(f"{name:15}{1e3 * median:9.1f}{1e3 * min(times):9.1f}{1e3 * max(times):9.1f}{data:9.1f}{train:9.1f}"
              f"{images / median:10.0f}{used:11.0f}{ratio:7.2f}x")  # fmt: skip
        record[name] = {
            "ms": 1e3 * median,
            "data_ms": data,
            "train_ms": train,
            "peak_share": used,
            "ratio": ratio,
            "ratios": by_round,
        }
        if name.startswith("ours"):
            goal = GOALS[args.model, precision]
            print(f"{'':15}goal {goal}x {'reached' if ratio >= goal else 'missed'}, in the rounds", end=" ")
            print(*(f"{r:.2f}" for r in by_round))

    step = statistics.median(whole["ours fp32"])
    for classes in (10, 100):
        print(f"\nC = {classes:<11}{'official':>9}{'ours':>9}{'ratio':>9}   CPU milliseconds")
        rows = bookkeeping(args.model, classes, args.reps)
        for name, (theirs, ours) in rows.items():
            print(f"{name:15}{1e3 * theirs:9.3f}{1e3 * ours:9.3f}{theirs / ours:8.1f}x")
        share = sum(ours for _, ours in rows.values()) / step
        print(f"{'all of ours':15}{100 * share:.2f} % of a step")
        record[f"bookkeeping_c{classes}"] = {k: [1e3 * a, 1e3 * b] for k, (a, b) in rows.items()} | {"share": share}
    record |= {"wall_s": time.perf_counter() - wall, "load": os.getloadavg()[0]}
    print("\n" + json.dumps(record))


if __name__ == "__main__":
    main()
