"""The row of `gpu.py` for photos: a ResNet-34 at 224 px on a synthetic store, resident or read ahead from the disk."""

import statistics
import tempfile
import time
from pathlib import Path

import torch
from gpu_rows import Figures, Photos
from gpu_run import Bench, clocked, recompiles, waits_counted

from benchmarks.synthetic_store import synthetic
from daso.machine.execution import configure_torch
from daso.run.build import build
from daso.schema import Config
from daso.settings.compose import configuration
from daso.train.loop import Parts

IMAGES, SMALL = 16_000, 60  # of the store: 8 GB at 384 px; of a smoke run
WARMUP, BLOCK, BLOCKS = 10, 10, 6
SMOKE = ("model=resnet18", "dataset.resolution=32", "dataset.cutout=16", "dataset.store_side=40", "train.batch_size=2")


def photos(row: Photos, bench: Bench) -> None:
    """Milliseconds of a step, what of it is waiting for images, what of it is augmentation, and memory."""
    with tempfile.TemporaryDirectory() as folder:
        config = config_of(row, bench, Path(folder))
        configure_torch(config, bench.device)
        images = SMALL if bench.smoke else IMAGES
        dataset = config.dataset
        data = synthetic(Path(folder), images, dataset.store_side, dataset.resolution, 200 if not bench.smoke else 10)
        parts = build(config, bench.device, *data)
        bench.tell(**speed(parts, bench))


def config_of(row: Photos, bench: Bench, folder: Path) -> Config:
    """The paper's run on Semi-Aves, whose images are replaced."""
    on_gpu = bench.device.type == "cuda"
    precision, compile = (row.precision, row.compile) if on_gpu else ("fp32", "none")
    return configuration(
        [
            "dataset=semi_aves", f"dataset.root={folder / 'none'}", f"dataset.place={row.place}", "track=none",
            f"algorithm={row.method}", f"train.precision={precision}", f"train.compile={compile}",
            f"device={bench.device.type}", *(SMOKE if bench.smoke else ["model=resnet34"]),
        ]
    )  # fmt: skip


def speed(parts: Parts, bench: Bench) -> Figures:
    """Of steps behind DASO's warm-up, which is over before them."""
    begin, steps, block = parts.config.daso.warmup_steps, parts.config.train.steps, 1 if bench.smoke else BLOCK
    at = iter(range(begin, steps + 10_000))

    def take(count: int) -> None:
        for _ in range(count):
            step = next(at)
            parts.engine(parts.engine.draw(step, step, steps, 0.04), parts.method.flags(step))

    began = time.perf_counter()
    take(1 if bench.smoke else WARMUP)
    clocked(lambda: None, bench.device)
    first, made, waited, computed = time.perf_counter() - began, recompiles(), waits(parts), time.process_time()
    began = time.perf_counter()
    with waits_counted(bench.device) as stops:
        blocks = [clocked(lambda: take(block), bench.device) / block for _ in range(BLOCKS)]
    seconds, taken = time.perf_counter() - began, block * BLOCKS
    host = (time.process_time() - computed) / taken
    given = parts.engine._given
    views = [clocked(lambda: parts.feed.batch(given), bench.device) for _ in range(5)]
    found: Figures = {
        "step_ms": 1e3 * statistics.median(blocks),
        "augmentation_eager_ms": 1e3 * statistics.median(views),
        "wait_share": (waits(parts) - waited) / seconds,
        "host_core_seconds": host,
        "waits_per_step": len(stops) / taken,
        "recompiles": recompiles() - made,
        "first_seconds": first,
    }
    if bench.device.type == "cuda":
        found["allocated"] = torch.cuda.max_memory_allocated(bench.device)
    return found


def waits(parts: Parts) -> float:
    """Seconds that steps have waited for images."""
    return parts.feed.pool.waited
