"""The training loop, whole and in plain sight.

Host reads happen at three places only, each named below: a log, an evaluation, a checkpoint.
"""

import math
import resource
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple
from typing import Protocol as Interface

import torch
from torch import Generator, Tensor

from daso.data.feed import Feed
from daso.data.views import Views
from daso.errors import Interrupted, RunFailed
from daso.learners.base import Learner
from daso.nn.net import Net
from daso.protocol.base import Protocol, Stage
from daso.schema import Config
from daso.slots.slots import Slots
from daso.train import checkpoint, evaluate
from daso.train.meters import Meters
from daso.train.optimizer import set_lr
from daso.train.schedule import learning_rate
from daso.train.step import TrainStep, draw_noise
from daso.types import Clock, Draw, Nets


class Parts(NamedTuple):
    """Everything that a run is made of; `daso/build.py` puts it together."""

    config: Config
    device: torch.device
    nets: Nets
    learner: Learner
    slots: Slots
    optimizer: torch.optim.Optimizer
    protocol: Protocol
    step: TrainStep
    feed: Feed
    views: Views
    resize: Callable[[Tensor], Tensor]  # uint8 images -> uint8 images at network resolution
    meters: Meters
    draws: dict[str, Draw]
    generator: Callable[[str, int], Generator]
    splits: dict[str, tuple[Tensor, Tensor]]  # "valid", "test" -> (uint8 images at network resolution, labels)
    counts: list[int]  # labeled images per class
    autocast: Callable[[], AbstractContextManager[object]]


class Reporter(Interface):
    """Where the loop tells what happened."""

    def row(self, event: str, step: int, values: dict[str, float]) -> None:
        """A row of measurements, at most one per event and step."""

    def progress(self, step: int) -> None:
        """A step is done."""

    def warn(self, step: int, text: str) -> None:
        """Something a person should know."""

    def sync(self) -> None:
        """Make every row so far durable."""


class State:
    """How far a run is: together with the buffers of `Parts` all that a checkpoint holds."""

    def __init__(self) -> None:
        self.step = 0  # finished steps
        self.seconds = 0.0  # spent training, over all resumes
        self.history = evaluate.History()
        self.last: dict[str, float] = {}  # the newest evaluation
        self.confusion = torch.zeros(0, 0, dtype=torch.int64)  # [C,C] of it on the test set, rows = truth
        self.warned: list[str] = []

    def pack(self, parts: Parts) -> dict[str, Any]:
        """Everything as one nested dict of tensors and plain values."""
        return {
            "run_key": parts.config.run_key,
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history.values,
            "last": self.last,
            "confusion": self.confusion,
            "warned": self.warned,
            "student": parts.nets.student.state_dict(),
            "teacher": parts.nets.teacher.state_dict(),
            "learner": parts.learner.state_dict(),
            "slots": parts.slots.state_dict(),
            "protocol": parts.protocol.state_dict(),
            "optimizer": parts.optimizer.state_dict(),
            "meters": parts.meters.state_dict(),
        }

    def unpack(self, parts: Parts, saved: dict[str, Any]) -> None:
        """Take everything from `saved`, in place."""
        self.step, self.seconds = saved["step"], saved["seconds"]
        self.history = evaluate.History(saved["history"])
        self.last, self.confusion, self.warned = saved["last"], saved["confusion"].cpu(), saved["warned"]
        parts.nets.student.load_state_dict(saved["student"])
        parts.nets.teacher.load_state_dict(saved["teacher"])
        parts.learner.load_state_dict(saved["learner"])
        parts.slots.load_state_dict(saved["slots"])
        parts.protocol.load_state_dict(saved["protocol"])
        parts.protocol.restore(make_stage(parts))
        parts.optimizer.load_state_dict(saved["optimizer"])
        parts.meters.load_state_dict(saved["meters"])


def train(
    parts: Parts,
    state: State,
    report: Reporter,
    checkpoint_path: Path,
    environment: dict[str, Any],
    stopped_by: Callable[[], int | None] = lambda: None,
) -> None:
    """Train from `state.step` to the end, or until a signal: then write a checkpoint and raise `Interrupted`.

    Raises:
        RunFailed: a loss is not finite (the last good checkpoint stays), or a checkpoint cannot be written.
        Interrupted: `stopped_by` named a signal; a checkpoint is written.
    """
    config, steps = parts.config.train, parts.config.train.steps
    began, window_began, window_start = time.monotonic() - state.seconds, time.monotonic(), state.step

    def save() -> None:
        if not parts.meters.finite():  # host read
            raise RunFailed(_not_finite(state.step))
        state.seconds = time.monotonic() - began
        report.sync()
        checkpoint.save(checkpoint_path, {**state.pack(parts), "environment": environment})

    stage = make_stage(parts)
    while state.step < steps:
        phase = parts.protocol.enter(state.step, stage)
        batch, truth = parts.feed(state.step)
        noise = draw_noise(parts.draws, parts.generator, state.step, parts.device)
        clock = make_clock(state.step - phase.start, phase.steps, parts.device)
        lr = learning_rate(parts.config.optim, state.step - phase.start, phase.steps)
        set_lr(parts.optimizer, lr)
        outcome = parts.step(batch, noise, clock, parts.slots.flags(state.step - phase.start))
        parts.meters.add(outcome, batch.y, truth)
        state.step += 1
        report.progress(state.step)

        if due(state.step, config.log_every, steps):  # host read
            now = time.monotonic()
            means = parts.meters.read_train()
            rate = (state.step - window_start) / max(now - window_began, 1e-9)
            window_began, window_start = now, state.step
            row = {f"train/{name}": value for name, value in means.items()}
            row |= parts.protocol.metrics()
            row |= {"train/lr": lr, "time/steps_per_second": rate, "memory/peak_bytes": peak_bytes(parts.device)}
            report.row("train", state.step, row)
            if not all(map(math.isfinite, means.values())):
                raise RunFailed(_not_finite(state.step))
        if due(state.step, config.eval_every, steps):  # host read
            state.last, state.confusion = measure(parts)
            state.last |= parts.protocol.measured(stage)
            state.last |= state.history.add(state.last)
            state.last |= parts.meters.read_labels()
            report.row("eval", state.step, state.last)
            for text in collapse(state.last["test/bacc"], state.confusion, (state.step - phase.start) / phase.steps):
                if text not in state.warned:
                    state.warned.append(text)
                    report.warn(state.step, text)
        if due(state.step, config.checkpoint_every, steps):  # host read
            save()
        elif (signum := stopped_by()) is not None:
            save()
            raise Interrupted(signum)
    state.seconds = time.monotonic() - began


def make_stage(parts: Parts) -> Stage:
    """What the run's protocol may touch between two phases."""

    predict = predictor(parts, evaluated(parts))

    @torch.no_grad()
    def predict_valid() -> tuple[Tensor, Tensor]:
        images, labels = parts.splits["valid"]
        return torch.cat([predict(chunk).softmax(1) for chunk in torch.split(images, evaluate.BATCH)]), labels

    @torch.no_grad()
    def predict_unlabeled() -> Tensor:
        pool = parts.feed.pool
        assert pool.unlabeled_x is not None
        chunks = torch.split(pool.unlabeled_x, evaluate.BATCH)
        return torch.cat([predict(parts.resize(images)).softmax(1) for images in chunks])

    return Stage(
        parts.nets, parts.slots, parts.optimizer, parts.feed, predict_unlabeled, parts.generator, predict_valid
    )


def evaluated(parts: Parts) -> Net:
    """The network that answers at test time: the EMA, or the raw one where the learner says so (spec 8.2)."""
    return parts.nets.student if parts.learner.evaluates_student else parts.nets.teacher


def predictor(parts: Parts, net: Net) -> evaluate.Predict:
    """uint8 images at network resolution -> logits in at least float32, by the running statistics of `net`."""
    dtype = next(net.parameters()).dtype

    def predict(images: Tensor) -> Tensor:
        with parts.autocast():
            features = net.encode(parts.views.normalise(images, dtype), running_stats=True)
            logits = net.classify(features, parts.slots.head)
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    return predict


def make_clock(step: int, steps: int, device: torch.device) -> Clock:
    """The clock of `step`, as scalars on the device."""
    return Clock(
        torch.full((), step, dtype=torch.int64, device=device),
        torch.full((), step / steps, dtype=torch.float64, device=device),
    )


def due(step: int, period: int, steps: int) -> bool:
    """Whether something periodic happens after `step` finished steps; always at the end of the run."""
    return step % period == 0 or step == steps


def measure(parts: Parts) -> tuple[dict[str, float], Tensor]:
    """Evaluate the network on every held-out set.

    Returns:
        The metrics by name, and the confusion counts [C,C] of the test set (rows = truth) on the CPU.
    """
    predict = predictor(parts, evaluated(parts))
    counts = torch.tensor(parts.counts, dtype=torch.float64, device=parts.device)
    log_prior = (counts / counts.sum()).log()
    out: dict[str, float] = {}
    confusion = torch.zeros(0, 0)
    for split, (images, labels) in parts.splits.items():
        raw, adjusted = evaluate.evaluate(predict, images, labels, log_prior)
        out |= evaluate.metrics(raw, adjusted, evaluate.class_groups(parts.counts), split)
        confusion = raw.confusion[:-1].cpu()
    return out, confusion


def collapse(balanced_accuracy: float, confusion: Tensor, progress: float) -> list[str]:
    """Sentences about a collapsed network in the second half of a phase: accuracy at chance, classes never predicted.

    Args:
        balanced_accuracy: on the test set, percent.
        confusion: [C,C] counts of the test set, rows = truth.
        progress: share of the steps done, of the phase.
    """
    if progress < 0.5:
        return []
    chance = 100 / len(confusion)
    if balanced_accuracy <= 1.2 * chance:
        return [f"The balanced test accuracy is at chance ({chance:.3g} %): the network has collapsed."]
    silent = (confusion.sum(0) == 0).nonzero().flatten().tolist()
    if not silent:
        return []
    noun = "class" if len(silent) == 1 else "classes"
    return [f"The network never predicts {noun} {', '.join(map(str, silent))} on the test set."]


def peak_bytes(device: torch.device) -> float:
    """Most memory held so far: of the GPU's allocator, or of this process."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def _not_finite(step: int) -> str:
    return (
        f"The loss is not finite at step {step}: the run stops and its last good checkpoint stays. "
        "A smaller optim.lr, or train.precision=fp32, usually helps."
    )
