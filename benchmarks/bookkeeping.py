"""What the re-balancing methods cost beside the networks, and that it does not grow with the number of classes.

    python benchmarks/bookkeeping.py
    python benchmarks/bookkeeping.py --device cuda
    python benchmarks/bookkeeping.py --only CCL,CoSSL --repeats 5      # the second table alone, of these

On the CPU: one thread, CPU seconds, the variants of a row in turn, medians. On a GPU: wall time between two waits for
the device. The first table is per step, of the sizes of the paper (64 + 128 + 128 images, 128 features); the second is
whole training steps; the third per refinement of DARP (every tenth step after its warm-up) and per generation of CReST
(of which there are five): its selection, and with the pass over the unlabeled images that it selects from.
Ends with the load average and one line of JSON.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from daso.learners.base import Learner, Method
from daso.learners.cpe import Cpe
from daso.learners.fixmatch import FixMatch
from daso.nn.net import Net
from daso.nn.part import Part
from daso.nn.wrn import WideResNet
from daso.protocol.crest import select
from daso.schema import (
    AbcConfig,
    AdshConfidence,
    CclDebias,
    CosslDebias,
    CpeAlgorithm,
    DarpConfig,
    DasoConfig,
    DebiasPlDebias,
    FlexMatchConfidence,
    FreeMatchConfidence,
    OptimConfig,
    SawBalance,
    Schedule,
    ScSslDebias,
    SoftMatchConfidence,
)
from daso.slots.abc import Abc
from daso.slots.adsh import Adsh
from daso.slots.base import Confidence
from daso.slots.boss import Boss
from daso.slots.ccl import Ccl
from daso.slots.cossl import Cossl
from daso.slots.darp import Darp, refine
from daso.slots.daso import Daso
from daso.slots.debiaspl import DebiasPl
from daso.slots.flexmatch import FlexMatch
from daso.slots.freematch import FreeMatch
from daso.slots.saw import Saw
from daso.slots.scssl import ScSsl
from daso.slots.slots import Slots
from daso.slots.softmatch import SoftMatch
from daso.slots.supervised import CrossEntropy
from daso.train.engine import make_clock
from daso.train.meters import Meters
from daso.train.optimizer import build_optimizer
from daso.train.step import TrainStep
from daso.types import Aside, Batch, Chosen, Clock, Head, Labels, Nets, Outcome, Sizes, Target

LABELED, UNLABELED, DIM, ROWS, MANY = 64, 128, 128, 15_651, 100_000
SETS = [(9_922, 10), (100_000, 10), (15_651, 100)]  # unlabeled images and classes: CIFAR-10, STL-10, CIFAR-100
CLASSES = (10, 100)
GROWTH = 1.2  # the most that a hundred classes may cost of what ten do


def counts(classes: int, largest: int = 500) -> Tensor:
    """Long-tailed images per class, imbalance 10."""
    return (largest * 10 ** -torch.linspace(0, 1, classes, dtype=torch.float64)).long()


def measured(tasks: dict[str, Callable[[], object]], device: torch.device, repeats: int) -> dict[str, list[float]]:
    """Seconds of each task, taken in turn."""
    cuda = device.type == "cuda"
    clock = time.perf_counter if cuda else time.process_time
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for repeat in range(repeats + 1):
        for name, task in tasks.items():
            if cuda:
                torch.cuda.synchronize(device)
            began = clock()
            task()
            if cuda:
                torch.cuda.synchronize(device)
            if repeat:  # the first is a warm-up
                seconds[name].append(clock() - began)
    return seconds


def ratio(some: list[float], others: list[float]) -> float:
    """Median of the ratios pair by pair."""
    return statistics.median(a / b for a, b in zip(some, others, strict=True))


def total(tasks: dict[str, list[float]]) -> list[float]:
    """Seconds of all tasks together, turn by turn."""
    return [sum(turn) for turn in zip(*tasks.values(), strict=True)]


def device_clock(step: int, steps: int, device: torch.device) -> Clock:
    """The clock of `step`, on the device."""
    return Clock(*(value.to(device) for value in make_clock(step, steps)))


def bookkeeping(classes: int, device: torch.device) -> dict[str, Callable[[], object]]:
    """One step's work of each slot's state, the networks' outputs given."""
    torch.manual_seed(0)
    config = DasoConfig("daso")
    daso = Daso(classes, DIM, config).to(device)
    darp = Darp(counts(classes) * ROWS / counts(classes).sum(), ROWS, 10, DarpConfig("darp", warmup=0.0)).to(device)
    abc = Abc(counts(classes), 0.95, AbcConfig("abc")).to(device)
    boss, meters = Boss(classes, 0.25), Meters(classes, 0.95, device)
    y = torch.multinomial(counts(classes).double(), LABELED, True).to(device)
    feats, p = torch.randn(LABELED, DIM, device=device), torch.randn(UNLABELED, classes, device=device).softmax(1)
    idx, batch = torch.randperm(ROWS)[:UNLABELED].to(device), Batch(feats, y, (), y)
    conf, label = p.max(1)
    labels, clock, nets = Labels(label, conf), device_clock(7, 10, device), Nets(*[torch.nn.Module()] * 2)
    target = Target(p, *labels, labels)
    chosen = Chosen(label, conf >= 0.95)
    outcome = Outcome({"cls": conf.sum()}, torch.randn(LABELED, classes, device=device), target, chosen)

    debiaspl, saw = (
        DebiasPl(classes, DebiasPlDebias()).to(device),
        Saw(counts(classes), MANY, SawBalance()).to(device),
    )
    free, soft = FreeMatch(counts(classes), FreeMatchConfidence()), SoftMatch(classes, SoftMatchConfidence())
    flex = FlexMatch(counts(classes), MANY, 0.95, FlexMatchConfidence())
    adsh = Adsh(counts(classes), 0.95, AdshConfidence())
    z = torch.randn(UNLABELED, classes, device=device)
    scssl = ScSsl(counts(classes), 0.95, 1, ScSslDebias()).to(device)
    heads = {"cls": Head(), **scssl.heads}
    several = Nets(*(Net(WideResNet(10, 1), classes, heads).to(device) for _ in range(2)))

    sizes, nobody = Sizes(LABELED, UNLABELED), torch.zeros(ROWS, dtype=torch.bool)
    ccl = Ccl(counts(classes), nobody, sizes, DIM, 0, CclDebias()).to(device)

    def two_priors() -> None:
        ccl.observe(nets, batch, clock, None)
        ccl.note(target._replace(logits=z), idx)
        ccl.note_chosen(target, Chosen(label, conf))
        ccl.follow(clock)

    def mean_prediction() -> None:
        debiaspl.adjust(z, feats, nets)
        debiaspl.offset_strong()

    def choose(part: Confidence) -> Callable[[], object]:
        part.to(device)
        return lambda: part.consistency_losses(z, part.confident(target, idx, 0.95, clock).weight)

    def last_labels() -> None:
        saw.observe(nets, batch, clock, None)
        saw.note(target, idx)

    def prototypes_and_histogram() -> None:
        daso.observe(nets, batch, clock, feats)
        daso.count(label)

    return {
        "DASO: prototypes, histogram": prototypes_and_histogram,
        "ABC: probabilities": lambda: abc.keep(clock),
        "DARP: store": lambda: darp.refine(p, idx, clock, ()),
        "DebiasPL: mean prediction": mean_prediction,
        "SAW: last labels": last_labels,
        "SC-SSL: thresholds": lambda: scssl.observe(several, batch, clock, None),
        "CCL: two priors": two_priors,
        "BOSS: thresholds": lambda: boss.confident(target, idx, 0.95, clock),
        "FreeMatch: averages, fairness": choose(free),
        "FlexMatch: stored labels": choose(flex),
        "SoftMatch: averages, weights": choose(soft),
        "Adsh: ratios": choose(adsh),
        "meters (all methods)": lambda: meters.add(outcome, y, label),
    }


def whole_steps(classes: int, device: torch.device) -> dict[str, Callable[[], object]]:
    """Training steps of WRN-10-1 on 32x32 images, one for each method."""
    torch.manual_seed(0)
    x = torch.randn(LABELED, 3, 32, 32, device=device)
    u = tuple(torch.randn(UNLABELED, 3, 32, 32, device=device) for _ in FixMatch().views)
    y = torch.multinomial(counts(classes).double(), LABELED, True).to(device)
    batch = Batch(x, y, u, torch.arange(UNLABELED, device=device))
    noise = {"abc/labeled": torch.rand(LABELED, device=device), "abc/unlabeled": torch.rand(UNLABELED, device=device)}
    noise |= {f"cossl/{name}": torch.rand(LABELED, device=device) for name in ("coin", "share")}
    goal, sizes = counts(classes) * ROWS / counts(classes).sum(), Sizes(LABELED, UNLABELED)

    def step(*fillings: Part, learner: Learner | None = None) -> Callable[[], object]:
        method = Method((learner or FixMatch()).to(device), Slots(CrossEntropy(), *fillings).to(device))
        norms = method.learner.norms
        nets = Nets(*(Net(WideResNet(10, 1), classes, method.heads, norms).to(device) for _ in range(2)))
        nets.student.init(torch.Generator().manual_seed(0))
        optim = OptimConfig("sgd", 0.03, Schedule.constant)
        train = TrainStep(nets, method.learner, method.slots, build_optimizer(nets.student, optim), optim)
        aside = {name: Aside(x, y) for name in method.wants}
        seen = batch._replace(further=(x,) * len(method.further_views), aside=aside)
        flags = tuple(sorted({"semantic", *(wanted.flag for wanted in method.wants.values())}))
        return lambda: train(seen, noise, device_clock(6000, 250_000, device), flags)

    return {
        "FixMatch": step(),
        "FixMatch, again": step(),  # the noise
        "FixMatch + DASO": step(Daso(classes, 64, DasoConfig("daso"))),
        "FixMatch + ABC": step(Abc(counts(classes), 0.95, AbcConfig("abc"))),
        "FixMatch + BOSS": step(Boss(classes, 0.25)),
        "FixMatch + DebiasPL": step(DebiasPl(classes, DebiasPlDebias())),
        "FixMatch + SAW": step(Saw(counts(classes), ROWS, SawBalance())),
        "FixMatch + SC-SSL": step(ScSsl(counts(classes), 0.95, 1, ScSslDebias())),
        "CPE": step(learner=Cpe(counts(classes), CpeAlgorithm("cpe"))),
        "FixMatch + FreeMatch": step(FreeMatch(counts(classes), FreeMatchConfidence())),
        "FixMatch + FlexMatch, N=100,000": step(FlexMatch(counts(classes), MANY, 0.95, FlexMatchConfidence())),
        "FixMatch + SoftMatch": step(SoftMatch(classes, SoftMatchConfidence())),
        "FixMatch + Adsh": step(Adsh(counts(classes), 0.95, AdshConfidence())),
        "FixMatch + CCL": step(Ccl(counts(classes), torch.zeros(ROWS) > 0, sizes, 64, 0, CclDebias())),
        "FixMatch + CoSSL": step(Cossl(counts(classes), 64, LABELED, 0, 1, CosslDebias())),
        "FixMatch + DARP": step(Darp(goal, ROWS, 1, DarpConfig("darp", warmup=0.0))),
    }


def table_of_steps(
    tasks: dict[str, Callable[[], object]], device: torch.device, repeats: int
) -> dict[str, dict[str, float]]:
    """Print what whole steps cost, and over that of FixMatch, the median of the pairs; returns the figures."""
    figures = {}
    steps = measured(tasks, device, repeats)
    print(f"{'whole step, WRN-10-1, C=10':32}{'ms':>10}{'over FixMatch':>16}")
    for name, seconds in steps.items():
        over = 100 * (ratio(seconds, steps["FixMatch"]) - 1)
        print(f"{name:32}{1e3 * statistics.median(seconds):10.1f}{over:15.1f}%")
        figures[f"whole step, {name}"] = {"ms": 1e3 * statistics.median(seconds), "over_percent": over}
    return figures


def between_generations(device: torch.device) -> dict[str, Callable[[], object]]:
    """What CReST does beside its selection: the pass over unlabeled images, here 1,000, and a fresh start."""
    torch.manual_seed(0)
    net = Net(WideResNet(10, 1), 10).to(device)
    images = torch.randn(1000, 3, 32, 32, device=device)

    @torch.no_grad()
    def predict() -> Tensor:
        return net.classify(net.encode(images, running_stats=True)).softmax(1)

    return {"pass": predict, "init": lambda: net.init(torch.Generator().manual_seed(0))}


def predictions(rows: int, classes: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Predictions as of a half-trained network, and the true images per class."""
    torch.manual_seed(0)
    goal = counts(classes).double()
    truth = torch.multinomial(goal, rows, True)
    logits = torch.randn(rows, classes)
    logits[torch.arange(rows), truth] += 3 * torch.rand(rows)
    return (2 * logits).softmax(1).to(device), (goal * rows / goal.sum()).to(device)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument(
        "--only", type=lambda text: text.split(","), help="whole steps of methods alone, by their names"
    )
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    torch.set_num_threads(1)
    if arguments.only:
        every = whole_steps(10, device)
        chosen = [name for name in every if any(part in name for part in ("FixMatch, again", *arguments.only))]
        table_of_steps({name: every[name] for name in ("FixMatch", *chosen)}, device, arguments.repeats)
        print(f"\nload average {os.getloadavg()[0]:.1f}")
        return

    figures: dict[str, dict[str, float]] = {}
    print(f"{'ms a step':32}" + "".join(f"{f'C={classes}':>10}" for classes in CLASSES) + f"{'ratio':>8}")
    tasks = {f"{name}/{c}": task for c in CLASSES for name, task in bookkeeping(c, device).items()}
    found = measured(tasks, device, 20 * arguments.repeats)
    few, many = ({k: v for k, v in found.items() if k.endswith(f"/{c}")} for c in CLASSES)
    for name, values in {"together": None, **few}.items():
        pair = [few[name], many[name.replace(*map(str, CLASSES))]] if values else [total(few), total(many)]
        line = "".join(f"{1e3 * statistics.median(seconds):10.3f}" for seconds in pair)
        label = name.rpartition("/")[0] or name
        figures[label] = {f"ms_c{c}": 1e3 * statistics.median(times) for c, times in zip(CLASSES, pair, strict=True)}
        figures[label]["ratio"] = ratio(*reversed(pair))
        print(f"{label:32}{line}{figures[label]['ratio']:8.2f}")
    reached = "reached" if figures["together"]["ratio"] <= GROWTH else "missed"
    print(f"C={CLASSES[1]} at no more than {GROWTH}x the cost of C={CLASSES[0]}: {reached}")

    print()
    figures |= table_of_steps(whole_steps(10, device), device, arguments.repeats)

    aside = measured(between_generations(device), device, arguments.repeats)
    image, init = statistics.median(aside["pass"]) / 1000, statistics.median(aside["init"])
    heads = [f"{head:>18}" for head in ("DARP, s", "ms a step", "CReST select, ms", "with pass, s")]
    print(f"\n{'N x C, once':32}" + "".join(heads))
    for rows, classes in SETS:
        p, goal = predictions(rows, classes, device)
        tasks = {
            "darp": lambda p=p, goal=goal: refine(p, (2 * goal).long(), goal, 10),
            "crest": lambda p=p, classes=classes: select(p, counts(classes).to(device), 3.0),
        }
        once = measured(tasks, device, max(2, arguments.repeats // 3))
        darp, crest = (statistics.median(once[name]) for name in ("darp", "crest"))
        found = [f"{darp:18.3f}", f"{100 * darp:18.1f}", f"{1e3 * crest:18.1f}", f"{crest + rows * image + init:18.2f}"]
        print(f"{f'{rows:,} x {classes}':32}" + "".join(found))
        figures[f"{rows} x {classes}"] = {
            "darp_refinement_ms": 1e3 * darp,
            "crest_selection_ms": 1e3 * crest,
            "crest_generation_s": crest + rows * image + init,
        }
    load = os.getloadavg()[0]
    print(f"\nload average {load:.1f}")
    record = {"benchmark": "bookkeeping", "device": arguments.device, "torch": torch.__version__, "load": load}
    print(json.dumps(record | {"rows": figures}))


if __name__ == "__main__":
    main()
