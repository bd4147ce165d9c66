"""What image files cost on a CPU: building a store, reading from it, the host's work in a step, memory, and whether
small images train as fast as arrays.

    python benchmarks/store.py [--only build|read|step|memory|start|small]

Photos are made for it: 500 x 375 pixels in JPEG of about 90 kB, as in Semi-Aves. One thread, CPU seconds, medians of
rounds; the page cache is warm. Needs about 3 GB of memory and 1 GB in the folder for temporary files. Ends with one
line of JSON.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from PIL import Image

from benchmarks.synthetic_store import synthetic
from daso.data.freight import SPARE, Freight
from daso.data.images.build import ready
from daso.data.images.decode import Rule
from daso.data.images.store import Request
from daso.data.ragged import Reader, Shelf
from daso.data.sources import Arrays
from daso.run.build import build, data_of
from daso.settings.compose import configuration

GOALS = {  # figure -> required, stretch; the more the better, but for those of LESS
    "build_256": (230, 400),
    "build_384": (420, None),
    "read_images": (10_000, 15_000),
    "read_gigabytes": (2.7, 4.1),
    "step_seconds": (0.3, 0.2),
    "memory_gigabytes": (1.0, None),
    "start_seconds": (5.0, 3.0),
    "small_ratio": (1.03, None),  # 1, and the noise of a machine that does other work
}
LESS = {"step_seconds", "memory_gigabytes", "start_seconds", "small_ratio"}
PHOTOS, QUALITY = 120, 95
SHARE = 8  # of the paper's batch that a step is measured with
Figures = dict[str, float]


def photo(number: int) -> Image.Image:
    """A picture with slopes, shapes and grain, so that its file is as long as a photo's."""
    random = np.random.RandomState(number)
    coarse = Image.fromarray(random.randint(0, 256, (12, 16, 3), dtype=np.uint8)).resize((500, 375), 3)
    fine = Image.fromarray(random.randint(0, 256, (94, 125, 3), dtype=np.uint8)).resize((500, 375), 2)
    grain = random.normal(0, 3.5, (375, 500, 1))
    mixed = 0.75 * np.asarray(coarse, float) + 0.25 * np.asarray(fine, float) + grain
    return Image.fromarray(mixed.clip(0, 255).astype(np.uint8))


def seconds(work: Callable[[], object], rounds: int = 5) -> float:
    """Median CPU seconds."""
    found = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return statistics.median(found)


def building(folder: Path) -> Figures:
    """Images a second and core."""
    paths = [f"{k}.jpg" for k in range(PHOTOS)]
    for k, path in enumerate(paths):
        photo(k).save(folder / path, quality=QUALITY)
    size = [(folder / path).stat().st_size for path in paths]
    found: Figures = {"photo_bytes": sum(size) / len(size)}
    for short in (256, 384):
        request, rounds = Request(folder, paths, size, Rule("fit", short)), iter(range(100))
        found[f"build_{short}"] = PHOTOS / seconds(lambda: ready(folder / f"{short}-{next(rounds)}", request))  # noqa: B023
    return found


def reading(folder: Path) -> Figures:
    """Images of a 256-px store a second and core, in the order of a step, into memory that is used again."""
    gallery, _ = synthetic(folder, 1000, 256, 224, 10)
    shelf = Shelf.of(gallery.stores)
    order = np.random.RandomState(0).permutation(1000)
    some = shelf.take(order)
    length = some.length
    block = np.empty(256 * int(length.max()), dtype=np.uint8)

    def work() -> None:
        with Reader(shelf.files) as reader:
            for start in range(0, 1000, 200):
                place = 0
                for row in range(start, start + 200):
                    end = place + int(length[row])
                    reader.read(0, int(some.start[row]), block[place:end])
                    place = end

    work()
    spent = seconds(work, 15)
    return {"read_images": 1000 / spent, "read_gigabytes": float(length.sum()) / spent / 1e9}


def stepping(folder: Path) -> Figures:
    """The host's CPU seconds in a step of 256 + 1,280 images at 384 px: rows, boxes, operations, and the reading."""
    batch = 256 // SHARE
    config = configuration(
        [
            "dataset=semi_aves", f"dataset.root={folder / 'none'}", "algorithm=fixmatch_daso", "model=resnet18",
            f"train.batch_size={batch}", "dataset.place=host", "track=none", "device=cpu",
        ]
    )  # fmt: skip
    parts = build(config, torch.device("cpu"), *synthetic(folder, 1600, 384, 224, 200))
    images = parts.feed.pool.images
    assert isinstance(images, Freight)
    step = iter(range(10_000))

    def work() -> None:
        parts.feed.draw(next(step))

    for _ in range(3):
        work()
    return {"step_seconds": SHARE * seconds(work, 15)}


def memory(folder: Path) -> Figures:
    """Gigabytes that a run of some steps on 2 GB of images needs beside the blocks that it reads into."""
    done = subprocess.run(
        [sys.executable, __file__, "--trained-in", str(folder)], capture_output=True, text=True, check=True
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def trained(folder: Path) -> Figures:
    """A few steps on images that are read from the disk; how much memory that took."""
    torch.set_num_threads(1)
    config = configuration(
        [
            "dataset=semi_aves", f"dataset.root={folder / 'none'}", "algorithm=fixmatch_daso", "model=wrn10_1_s2",
            "dataset.resolution=64", "dataset.cutout=32", "train.batch_size=16", "train.mu=2", "dataset.place=host",
            "track=none", "device=cpu", "train.epochs=0", "train.steps=30", "train.eval_every=30",
        ]
    )  # fmt: skip
    gallery, split = synthetic(folder, 3800, 384, 64, 200, sparse=True)
    parts = build(config, torch.device("cpu"), gallery, split)
    for step in range(6):
        parts.engine(parts.engine.draw(step, step, 30, 0.03), parts.method.flags(step))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    images = parts.feed.pool.images
    assert isinstance(images, Freight)
    slots = (images.ahead + SPARE + 1) * images.bytes.numel()
    return {
        "memory_gigabytes": (peak - slots) / 1e9,
        "slots_gigabytes": slots / 1e9,
        "store_gigabytes": int(gallery.stores[0].ends[-1]) / 1e9,
    }


def starting(folder: Path) -> Figures:
    """CPU seconds from a configuration to the data of a run: the first time, and with index and store there."""
    paths = [f"train/{k % 20}/{k}.png" for k in range(6000)] + [f"unlabeled/{k}.png" for k in range(26_000)]
    paths += [f"test/{k % 20}/{k}.png" for k in range(8000)]
    for k, path in enumerate(paths):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        tiny = np.random.RandomState(k).randint(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(tiny).save(folder / path, compress_level=0)
    time.sleep(3)  # a folder that has just been changed is looked through again
    first, then = (_start(folder) for _ in range(2))
    return {"files": len(paths), "first_start_seconds": first, "start_seconds": then}


def _start(folder: Path) -> float:
    done = subprocess.run(
        [sys.executable, __file__, "--started-in", str(folder)], capture_output=True, text=True, check=True
    )
    return float(done.stdout.splitlines()[-1])


def started(folder: Path) -> float:
    """CPU seconds of this process for configuration and data."""
    overrides = ["dataset=folder", f"dataset.root={folder}", "dataset.resolution=8", "dataset.crop=resized"]
    began = time.process_time()
    data_of(configuration([*overrides, "dataset.store_side=8", "algorithm=fixmatch_daso"]))
    return time.process_time() - began


def small(folder: Path, rounds: int = 3, pairs: int = 12) -> Figures:
    """CPU seconds of a step of FixMatch on 32-px image files over those on the same images as an array data set, by
    pairs of steps in turn; the losses are the same bits, or no figure is given.
    """
    paths = [f"train/{k % 10}/{k}.png" for k in range(3000)] + [f"test/{k}/0.png" for k in range(10)]
    for k, path in enumerate(paths):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        photo = np.random.RandomState(k).randint(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(photo).save(folder / path, compress_level=0)
    mean, std = "dataset.mean=[0.4914,0.4822,0.4465]", "dataset.std=[0.2471,0.2435,0.2616]"
    same = [mean, std, "dataset.num_valid=0", "algorithm=fixmatch", "model=wrn10_1", "track=none", "device=cpu"]
    of_files = ["dataset=folder", f"dataset.root={folder}", "dataset.resolution=32", "dataset.labels_per_class=100"]
    files, arrays = configuration([*of_files, *same]), configuration(["dataset=cifar10", *same])
    gallery, split = data_of(files)
    (training,) = gallery.stores
    pixels = training.map().reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2)
    held = Arrays(np.ascontiguousarray(pixels), gallery.train_y, gallery.test.x, gallery.test.y, None)
    spent: dict[str, list[float]] = {"files": [], "arrays": []}
    for number in range(rounds):  # memory lies elsewhere in each, and the other side is made first
        made = [("files", files, gallery), ("arrays", arrays, held)][:: 1 - number % 2 * 2]
        sides = {name: build(config, torch.device("cpu"), data, split) for name, config, data in made}
        for step in range(3 + pairs):
            for name in sorted(sides, reverse=bool(step % 2)):
                parts, began = sides[name], time.process_time()
                parts.engine(parts.engine.draw(step, step, 100, 0.03), parts.method.flags(step))
                if step >= 3:
                    spent[name].append(time.process_time() - began)
        one, other = (torch.cat([p.flatten() for p in parts.nets.student.parameters()]) for parts in sides.values())
        assert torch.equal(one, other), "files and arrays of the same images train the same network"
    ratios = [one / other for one, other in zip(spent["files"], spent["arrays"])]
    return {"small_ms": 1000 * statistics.median(spent["files"]), "small_ratio": statistics.median(ratios)}


PARTS = {"build": building, "read": reading, "step": stepping, "memory": memory, "start": starting, "small": small}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--trained-in", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--started-in", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.trained_in or args.started_in:
        print(json.dumps(trained(args.trained_in)) if args.trained_in else started(args.started_in))
        return
    torch.set_num_threads(1)
    found: Figures = {}
    for name, measure in PARTS.items():
        if args.only in (None, name):
            with tempfile.TemporaryDirectory() as folder:
                figures = measure(Path(folder))
            found |= figures
            for figure, value in figures.items():
                print(f"{figure:24}{value:12,.3f}{goal(figure, value)}", flush=True)
    print(f"load average {os.getloadavg()[0]:.1f}")
    print(json.dumps({"benchmark": "store", **found}))


def goal(figure: str, value: float) -> str:
    """What it should be, and whether it is."""
    if figure not in GOALS:
        return ""
    required, stretch = GOALS[figure]
    told = [f"  {word} {'at most' if figure in LESS else 'at least'} {wanted:,} "
            f"{'reached' if (value <= wanted) == (figure in LESS) else 'missed'}"
            for word, wanted in (("required", required), ("stretch", stretch)) if wanted]  # fmt: skip
    return ";".join(told)


if __name__ == "__main__":
    main()
