"""How fast images become network input: the batched views against the per-image Pillow path.

    python benchmarks/augment.py

Both sides run on one thread, interleaved; figures are CPU seconds (workers included), medians of paired repetitions.
Before any speed is printed, both must give the same bytes for the same draws. Ends with the goals and one line of JSON.
"""

import itertools
import json
import os
import random
import resource
import statistics
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from PIL import Image
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.official_data import Images, augment, loader, per_image
from daso.data.views import Views, ViewSpec, draw
from daso.types import View

SPEC = ViewSpec(32, 32, 3, True, 4, 16, (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616))
POOL, EVALUATION = 4096, 15_000
LABELED, UNLABELED = 64, 128
GOALS = {  # case -> (figure, required, stretch)
    "strong, B=1024": ("ours_per_second", 25_000, 35_000),
    "data path, workers 0": ("ratio", 15, 20),
    "data path, workers 2": ("ratio", 15, 20),
}
Work = Callable[[], None]


def pictures(n: int) -> np.ndarray:
    """Synthetic images [n,32,32,3] uint8: slopes with noise, some of low contrast, so that every operation has work."""
    rng = np.random.RandomState(0)
    y, x = np.mgrid[:32, :32]
    slope = rng.uniform(-4, 4, (2, n, 1, 1, 3))
    images = 128 + slope[0] * (x[..., None] - 16) + slope[1] * (y[..., None] - 16) + rng.normal(0, 20, (n, 32, 32, 3))
    images[: n // 4] = 110 + images[: n // 4] / 16
    return images.clip(0, 255).astype(np.uint8)


def checksums(images: np.ndarray, pool: Tensor, views: Views) -> dict[str, str]:
    """CRC-32 of the bytes of each view; exits where the two paths differ."""
    sums = {}
    for view in (View.IDENTITY, View.WEAK, View.STRONG):
        draws = draw(view, 1024, torch.Generator().manual_seed(1), SPEC)
        ours = views.augment(pool[:1024], view, draws).permute(0, 2, 3, 1).contiguous().numpy().tobytes()
        rows = per_image(draws, 1024)
        theirs = b"".join(augment(Image.fromarray(i), view, r, SPEC).tobytes() for i, r in zip(images, rows))
        if ours != theirs:
            sys.exit(f"The {view.value} view differs from Pillow's bytes: no speed is reported.")
        sums[view.value] = f"{zlib.crc32(ours):08x}"
    return sums


def cpu_seconds() -> float:
    """CPU time of this process and of its finished workers."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def measure(work: Work) -> tuple[float, float]:
    """CPU and wall seconds of one call."""
    cpu, wall = cpu_seconds(), time.perf_counter()
    work()
    return cpu_seconds() - cpu, time.perf_counter() - wall


class Case:
    """One comparison: `units` pieces of work done by both sides in one repetition."""

    def __init__(self, name: str, unit: str, theirs: tuple[Work, int], ours: tuple[Work, int], repeats: int) -> None:
        self.name, self.unit, self.sides, self.repeats = name, unit, (theirs, ours), repeats

    def times(self) -> tuple[list[list[float]], list[list[float]]]:
        """CPU and wall seconds a unit, each as [theirs, ours], taken in turn."""
        cpu: list[list[float]] = [[], []]
        wall: list[list[float]] = [[], []]
        self.sides[1][0]()
        for _ in range(self.repeats):
            for side, (work, units) in enumerate(self.sides):
                seconds = measure(work)
                cpu[side].append(seconds[0] / units)
                wall[side].append(seconds[1] / units)
        return cpu, wall

    def run(self) -> dict[str, Any]:
        cpu, wall = self.times()
        ratios = [a / b for a, b in zip(*cpu)]
        return {
            "case": self.name,
            "unit": self.unit,
            **{f"{who}_us": statistics.median(cpu[side]) * 1e6 for side, who in enumerate(("pillow", "ours"))},
            **{f"{who}_wall_us": statistics.median(wall[side]) * 1e6 for side, who in enumerate(("pillow", "ours"))},
            "ours_per_second": 1 / statistics.median(cpu[1]),
            "ratio": statistics.median(ratios),
            "ratio_min": min(ratios),
            "ratio_max": max(ratios),
        }


def cases(images: np.ndarray, pool: Tensor, views: Views) -> list[Case]:
    generator = torch.Generator().manual_seed(0)
    labels = np.zeros(len(images), dtype=np.int64)
    targets = torch.from_numpy(labels)

    def official(view: View, n: int) -> Work:
        dataset = Images(images, labels, (view,), SPEC)
        return lambda: [dataset[k] for k in range(n)] and None

    def batched(view: View, n: int, batch: int) -> Work:
        def work() -> None:
            for _ in range(n // batch):
                views(pool[:batch], view, draw(view, batch, generator, SPEC), torch.float32)

        return work

    def official_path(steps: int, workers: int) -> Work:
        labeled = Images(images, labels, (View.WEAK,), SPEC)
        unlabeled = Images(images, labels, (View.WEAK, View.STRONG), SPEC)

        def work() -> None:
            order = torch.randint(len(images), (steps * UNLABELED,), generator=generator).tolist()
            parts = (loader(labeled, order[: steps * LABELED], LABELED, workers),
                     loader(unlabeled, order, UNLABELED, workers))  # fmt: skip
            assert sum(1 for _ in zip(*parts)) == steps

        return work

    def our_path(steps: int) -> Work:
        def work() -> None:
            for _ in range(steps):
                rows = torch.randint(len(pool), (LABELED + UNLABELED,), generator=generator)
                labeled, unlabeled = rows.split([LABELED, UNLABELED])
                targets.index_select(0, labeled)
                for at, view in ((labeled, View.WEAK), (unlabeled, View.WEAK), (unlabeled, View.STRONG)):
                    views(pool.index_select(0, at), view, draw(view, len(at), generator, SPEC), torch.float32)

        return work

    def our_evaluation() -> None:
        draws = draw(View.IDENTITY, 0, generator, SPEC)
        for start in range(0, EVALUATION, 1000):
            rows = torch.arange(start, min(start + 1000, EVALUATION)) % len(pool)
            views(pool.index_select(0, rows), View.IDENTITY, draws, torch.float32)

    def official_evaluation() -> None:
        dataset = Images(images, labels, (View.IDENTITY,), SPEC)
        for _ in loader(dataset, list(itertools.islice(itertools.cycle(range(len(images))), EVALUATION)), 64, 0):
            pass

    return [
        Case("weak, B=128", "image", (official(View.WEAK, 256), 256), (batched(View.WEAK, 5120, 128), 5120), 15),
        Case("strong, B=128", "image", (official(View.STRONG, 256), 256), (batched(View.STRONG, 2560, 128), 2560), 15),
        Case("strong, B=1024", "image", (official(View.STRONG, 256), 256), (batched(View.STRONG, 4096, 1024), 4096), 9),
        Case("data path, workers 0", "step", (official_path(1, 0), 1), (our_path(10), 10), 15),
        Case("data path, workers 2", "step", (official_path(24, 2), 24), (our_path(20), 20), 3),
        Case(f"evaluation of {EVALUATION} images", "pass", (official_evaluation, 1), (our_evaluation, 1), 3),
    ]


def main() -> None:
    torch.set_num_threads(1)
    random.seed(0)
    np.random.seed(0)
    images = pictures(POOL)
    pool = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    views = Views(SPEC)
    sums = checksums(images, pool, views)
    print(f"same bytes as Pillow: {', '.join(f'{view} {crc}' for view, crc in sums.items())}")
    heading = f"{'Pillow path':>22}{'ours':>20}{'ours /s':>10}{'ratio (min..max)':>22}"
    print(f"{'one thread, CPU us per unit (wall)':36}{heading}")
    rows = []
    for case in cases(images, pool, views):
        row = case.run()
        rows.append(row)
        print(
            f"{row['case']:36}{row['pillow_us']:10,.0f} ({row['pillow_wall_us']:9,.0f}){row['ours_us']:9,.1f}"
            f" ({row['ours_wall_us']:8,.1f}){row['ours_per_second']:10,.0f}"
            f"{row['ratio']:9.1f} ({row['ratio_min']:.1f}..{row['ratio_max']:.1f})"
        )
    for row in rows:
        if row["case"] in GOALS:
            figure, *goals = GOALS[row["case"]]
            reached = (f"{goal:,} {'reached' if row[figure] >= goal else 'missed'}" for goal in goals)
            print(f"{row['case']}: {row[figure]:,.1f}; required {', stretch '.join(reached)}")
    print(f"load average {os.getloadavg()[0]:.1f}; data path: {LABELED} + {UNLABELED} + {UNLABELED} images a step")
    record = {
        "benchmark": "augment", "threads": 1, "torch": torch.__version__, "pillow": PIL.__version__,
        "load": os.getloadavg()[0], "crc32": sums, "rows": rows,
    }  # fmt: skip
    print(json.dumps(record))


if __name__ == "__main__":
    main()
