"""The training loop, whole and in plain sight.

Host reads happen at three places only, each named below: a log and an evaluation, which do not wait for the device, and
a checkpoint. A part's interlude, where there is one, has its own.
"""

import math
import resource
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from typing import Protocol as Interface

import torch
from torch import Generator, Tensor

from daso.data.feed import Feed
from daso.data.views import Views
from daso.errors import Interrupted, RunFailed
from daso.learners.base import Learner, Method
from daso.machine.execution import effective_precision
from daso.nn.net import Net
from daso.nn.part import joined
from daso.protocol.base import Protocol, Stage
from daso.schema import Compile, Config
from daso.slots.slots import Slots
from daso.train import alarms, checkpoint, evaluate
from daso.train.capture import Captured, Graphs
from daso.train.engine import Engine, explained
from daso.train.later import Later
from daso.train.meters import Meters, read_metrics
from daso.train.pace import Pace
from daso.train.scene import scene_of
from daso.train.schedule import learning_rate
from daso.types import Nets, View

SURVEY = "survey"  # the stream of what a survey's views draw
Result = TypeVar("Result")


class Parts(NamedTuple):
    """Everything that a run is made of; `daso/run/build/` puts it together."""

    config: Config
    device: torch.device
    nets: Nets
    method: Method
    optimizer: torch.optim.Optimizer
    protocol: Protocol
    engine: Engine
    graphs: Graphs | None  # records evaluations; None executes them one operation after the other
    feed: Feed
    views: Views
    resize: Callable[[Tensor], Tensor]  # uint8 images -> uint8 images at network resolution
    meters: Meters
    generator: Callable[[str, int], Generator]
    splits: dict[str, tuple[Tensor, Tensor]]  # "valid", "test" -> (uint8 images at network resolution, labels)
    counts: list[int]  # labeled images per class
    autocast: Callable[[], AbstractContextManager[object]]

    @property
    def learner(self) -> Learner:
        """The method's."""
        return self.method.learner

    @property
    def slots(self) -> Slots:
        """The method's."""
        return self.method.slots


class Reporter(Interface):
    """Where the loop tells what happened."""

    def row(self, event: str, step: int, values: dict[str, float]) -> None:
        """A row of measurements, at most one per event and step."""

    def progress(self, step: int) -> None:
        """A step is done."""

    def warn(self, step: int, text: str) -> None:
        """Something a person should know."""

    def sync(self) -> dict[str, Any]:
        """Make every row so far durable; returns what says later whether they still are what they were."""


class State:
    """How far a run is: together with the buffers of `Parts` all that a checkpoint holds."""

    def __init__(self) -> None:
        self.step = 0  # finished steps
        self.seconds = 0.0  # spent training, over all resumes
        self.journal: dict[str, Any] = {}  # what the rows reported up to the last checkpoint are known by
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
            "journal": self.journal,
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

    def model(self, parts: Parts) -> dict[str, Any]:
        """What a checkpoint of the run must look like, in the terms of `checkpoint.unlike`."""
        classes = parts.config.dataset.num_classes
        counts = torch.zeros(classes, dtype=torch.int64)
        meters = {
            "sums": {str: torch.zeros(2)},
            "labels": {str: torch.zeros(classes + 2, classes)},
            "seen": {"labeled": counts},
        }
        optimizer = {"state": parts.optimizer.state_dict()["state"], "param_groups": list}
        return self.pack(parts) | {
            "run_key": str,
            "step": int,
            "seconds": float,
            "journal": dict,
            "history": {str: [float]},
            "last": {str: float},
            "confusion": Tensor,
            "warned": [str],
            "optimizer": optimizer,
            "meters": meters,
            "environment": {str: object},
        }

    def unpack(self, parts: Parts, saved: dict[str, Any]) -> None:
        """Take everything from `saved`, in place.

        Raises:
            KeyError, ValueError, RuntimeError: it is of another run.
        """
        self.step, self.seconds, self.journal = saved["step"], saved["seconds"], saved["journal"]
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
    names: Sequence[str] = (),
) -> None:
    """Train from `state.step` to the end, or until a signal: then write a checkpoint and raise `Interrupted`.

    Args:
        names: what people call the classes, if they have names.

    Raises:
        RunFailed: a loss or a weight is not finite (the last checkpoint stays), or a checkpoint cannot be written.
        Interrupted: `stopped_by` named a signal; a checkpoint is written.
    """
    config, steps = parts.config.train, parts.config.train.steps
    began, pace = time.monotonic() - state.seconds, Pace(parts.feed.pool, state.step)
    predict = predictor(parts, evaluated(parts))
    stage = make_stage(parts, predict)
    interlude = parts.slots.interlude
    looks = [
        (part, predictor(parts, parts.nets.teacher if part.surveys_teacher else parts.nets.student, part.surveys_head))
        for part in parts.slots.surveyors
    ]
    opinions = opinions_of(parts, evaluated(parts), predict)
    count: Captured[None, evaluate.Tallies] = Captured(lambda _: tallies(parts, opinions), parts.graphs, warmup=1)
    saved = state.step  # of the newest checkpoint; 0: there is none
    pending: deque[Later[None]] = deque()  # reports whose numbers are on their way to the host, in order

    def settle(wait: bool = True) -> None:
        while pending and (wait or pending[0].ready()):
            pending.popleft().get()

    def told(step: int, sentences: list[str]) -> None:
        for text in sentences:
            state.warned, is_new = alarms.noted(state.warned, step, text)
            if is_new:
                report.warn(step, text)

    def logged(step: int, row: dict[str, float], own: Later[dict[str, float]], means: dict[str, float]) -> None:
        measured = joined("metric", (means, parts.meters.with_distances(own.get())))
        report.row("train", step, {f"train/{name}": value for name, value in measured.items()} | row)
        told(step, parts.method.alarms(measured))
        if not all(map(math.isfinite, means.values())):
            raise diverged("loss", step)

    def measured(
        step: int, progress: float, found: dict[str, float], labels: Later[dict[str, float]], test: evaluate.Measurement
    ) -> None:
        state.last = test.metrics | found
        state.last |= state.history.add(state.last) | labels.get()
        state.confusion = test.confusion
        report.row("eval", step, state.last)
        told(step, alarms.collapse(state.last["test/bacc"], state.confusion, progress, names))

    def diverged(what: str, step: int) -> RunFailed:
        return RunFailed(alarms.not_finite(what, step, saved, effective_precision(config.precision, parts.device)))

    def save() -> None:
        nonlocal saved
        settle()
        if not parts.meters.finite():  # host read
            raise diverged("loss", state.step)
        state.seconds = time.monotonic() - began
        state.journal = report.sync()
        packed = state.pack(parts)
        if not checkpoint.finite(packed):  # host read
            raise diverged("network", state.step)
        checkpoint.save(checkpoint_path, {**packed, "environment": environment})
        saved = state.step

    while state.step < steps:
        with explained(parts.engine.mode):
            phase = parts.protocol.enter(state.step, stage)
        position = state.step - phase.start
        if interlude is not None:
            scene = scene_of(parts.feed, parts.nets.teacher, parts.generator, parts.autocast)
            for _ in interlude.prepare(position, scene):
                if (signum := stopped_by()) is not None:
                    save()
                    raise Interrupted(signum)
        lr = learning_rate(parts.config.optim, position, phase.steps)
        parts.engine(parts.engine.draw(state.step, position, phase.steps, lr), parts.method.flags(position))
        state.step += 1
        report.progress(state.step)

        if due(state.step, config.log_every, steps):  # starts a host read
            speed = pace.look(state.step)
            if sentence := pace.remark(speed):
                report.warn(state.step, sentence)
            row = parts.protocol.metrics() | {"train/lr": lr, **speed, "memory/peak_bytes": peak_bytes(parts.device)}
            own = read_metrics(parts.method.metrics())
            pending.append(parts.meters.read_train().then(partial(logged, state.step, row, own)))
        if config.evaluates(state.step):  # starts a host read
            progress = (position + 1) / phase.steps
            with explained(parts.engine.mode):
                found = parts.protocol.measured(stage)
                measurement = evaluate.measure(count(None), parts.counts)
            labels = parts.meters.read_labels()
            pending.append(measurement.then(partial(measured, state.step, progress, found, labels)))
        for surveyor, look in looks:
            if surveyor.due(position + 1):
                with explained(parts.engine.mode):
                    draws = parts.generator(SURVEY, state.step)
                    surveyor.survey(over_unlabeled(parts, look, surveyor.surveys_view, draws))
        settle(wait=False)
        signum = stopped_by() if state.step < steps else None
        if signum is not None or due(state.step, config.checkpoint_every, steps):  # host read
            save()
        if signum is not None:
            raise Interrupted(signum)
    settle()
    state.seconds = time.monotonic() - began


def make_stage(parts: Parts, predict: evaluate.Predict | None = None) -> Stage:
    """What the run's protocol may touch between two phases; `predict`: the evaluated network, if at hand."""
    predict = predict or predictor(parts, evaluated(parts))

    def predict_valid() -> tuple[Tensor, Tensor]:
        images, labels = parts.splits["valid"]
        return evaluate.distributions(predict, images), labels

    def predict_unlabeled() -> Tensor:
        return over_unlabeled(parts, predict, View.IDENTITY, Generator()).softmax(1)

    return Stage(
        parts.nets, parts.method, parts.optimizer, parts.feed, predict_unlabeled, parts.generator, predict_valid
    )


def over_unlabeled(parts: Parts, predict: evaluate.Predict, view: View, draws: Generator) -> Tensor:
    """Logits [N,C] of a view of the unlabeled set, drawn from `draws`, in its order."""
    rows, at_once = torch.arange(parts.feed.unlabeled_count), min(evaluate.BATCH, parts.feed.at_once)
    return evaluate.logits(lambda some: predict(parts.feed.looked_at(some, view, draws)), rows, at_once)


def evaluated(parts: Parts) -> Net:
    """The network that answers at test time."""
    net: Net = getattr(parts.nets, parts.learner.evaluated)
    return net


def predictor(parts: Parts, net: Net, head: str = "") -> evaluate.Predict:
    """uint8 images at network resolution -> logits in at least float32, by the running statistics of `net`, of the
    classifier that answers, less what a slot takes off them; or of the classifier `head`.
    """
    head = head or parts.method.answers
    heads = (head,) if parts.slots.reading is None else parts.method.classifiers
    compare = comparer(parts, net, heads, head)
    return _as_executed(parts, lambda images: compare(images)[""])


def opinions_of(parts: Parts, net: Net, predict: evaluate.Predict) -> evaluate.Opinions:
    """What an evaluation counts: the answers of `predict`, which is the predictor of `net`.

    Beside them: each classifier's and each reading, by its name, where there are several; `raw` ones, where a slot
    corrects the answer.
    """
    heads = parts.method.classifiers
    if len(heads) == 1 and parts.slots.correction is None and parts.slots.reading is None:
        return lambda images: {"": predict(images)}
    return _as_executed(parts, comparer(parts, net, heads, parts.method.answers))


def comparer(parts: Parts, net: Net, heads: tuple[str, ...], answers: str) -> evaluate.Opinions:
    """Images -> the answer, and the opinions of `heads` and readings if there are several, from one pass of `net`."""
    correction = parts.slots.correction if answers == parts.method.answers else None
    reading = parts.slots.reading
    bias = None if correction is None else partial(correction.posthoc, net, answers)
    read = None if reading is None else reading.read
    return evaluate.opinions(net, parts.views.normalise, parts.autocast, heads, answers, bias, read)


def _as_executed(parts: Parts, function: Callable[[Tensor], Result]) -> Callable[[Tensor], Result]:
    if parts.engine.mode is Compile.none:
        return function
    compiled: Callable[[Tensor], Result] = torch.compile(function, fullgraph=True, dynamic=False)
    return compiled


def due(step: int, period: int, steps: int) -> bool:
    """Whether something periodic happens after `step` finished steps; always at the end of the run."""
    return step % period == 0 or step == steps


def tallies(parts: Parts, opinions: evaluate.Opinions) -> evaluate.Tallies:
    """Counts of every held-out set, on the device."""
    counts = parts.feed.pool.counts.to(torch.float64)
    log_prior = (counts / counts.sum()).log()
    found = {split: evaluate.evaluate(opinions, x, y, log_prior) for split, (x, y) in parts.splits.items()}
    return {f"{split}/{name}" if name else split: pair for split in found for name, pair in found[split].items()}


def peak_bytes(device: torch.device) -> float:
    """Most memory held so far: of the GPU's allocator, or of this process."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
