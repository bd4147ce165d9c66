"""What a sweep would do: the runs it consists of, how far each is, and what the rest costs. Reads small files only; for
what a step costs on a GPU that was not timed, builds one of each kind.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from daso.outputs.rundir import RunDir, RunState
from daso.run.stages import own
from daso.schema import WORTH_COMPILING, Config
from daso.settings.identity import plain
from daso.sweep.cost import CARDS, card_of, cards_here, seconds_per_step
from daso.sweep.graph import Job, standing
from daso.track.jsonl import tail
from daso.track.progress import reached

if TYPE_CHECKING:
    from daso.run.work import Work

PROBES = ".probes"  # folder in out_root: short runs that were made for their speed
SETTLED = 3  # rows of a short run's log from which on they tell its speed
SAMPLES = 5  # runs of a kind that tell its speed
LOOKED_AT = 100  # of the newest runs
CONVOLUTION = 3 * 3
BYTES = 4  # of a number in a checkpoint
RESNET_WEIGHTS = {18: 11_176_512, 34: 21_284_672, 50: 23_508_032}  # by depth, without a classifier
COPIES = 3  # student, teacher, momentum
BESIDE = 500_000  # bytes of journal, figures and split


class Item(NamedTuple):
    """A run of a plan."""

    config: Config
    label: str
    overrides: list[str]
    state: RunState
    step: int  # steps that are done
    steps: int
    kind: "Kind"
    asked: bool = True  # False: only others are built on it

    @property
    def left(self) -> int:
        """Steps to train; a finished run has none."""
        return 0 if self.state is RunState.done else max(self.steps - self.step, 0)


class Kind(NamedTuple):
    """What decides the time of a step, device aside."""

    learner: str
    model: str
    resolution: int
    batch: str
    precision: str
    compile: tuple[str, str]  # what train.compile comes to on a CPU, and on a GPU

    @property
    def said(self) -> str:
        """What a person calls it."""
        return f"{self.learner} on {self.model}"


class Speed(NamedTuple):
    """How fast runs of a kind were."""

    device: str
    seconds_per_step: float
    runs: int


def survey(jobs: Iterable[Job]) -> list[Item]:
    """How far the run of each job is, once."""
    return list({job.key: _item(job.config, job) for job in jobs if job.config is not None}.values())


def speeds(items: Sequence[Item]) -> dict[Kind, list[Speed]]:
    """The speed of each kind of run that is left to train, by device, from the finished and partial runs beside it."""
    wanted = {item.kind: item.config.device.partition(":")[0] for item in items if item.left}
    found: dict[Kind, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in _newest(items) if wanted else []:
        sample, device, seconds = _sample(run)
        if sample is None or not math.isfinite(seconds):
            continue
        on_gpu = device != "cpu"
        for kind, asked in wanted.items():
            same = sample._replace(compile=kind.compile) == kind and sample.compile[on_gpu] == kind.compile[on_gpu]
            fits = asked == "auto" or (asked != "cpu") == on_gpu
            if same and fits and len(found[kind][device]) < SAMPLES:
                found[kind][device].append(seconds)
    return {
        kind: [Speed(device, statistics.median(rates), len(rates)) for device, rates in sorted(found[kind].items())]
        for kind in wanted
    }


class Estimate(NamedTuple):
    """How fast runs of a kind should be on a GPU that none of them was timed on."""

    device: str
    seconds_per_step: float
    rule: str  # what it follows from


def estimates(items: Sequence[Item], known: Mapping[Kind, Sequence[Speed]]) -> dict[Kind, list[Estimate]]:
    """Of each kind of run that is left to train and may go to a GPU: on the GPUs of this machine, or on every one that
    is known where a GPU is asked for and there is none. What was timed (`known`) is not estimated; what was timed on
    another GPU is scaled.
    """
    samples = {item.kind: item.config for item in items if item.left and item.config.device != "cpu"}
    asked = any(config.device != "auto" for config in samples.values())
    devices = (cards_here() or [card.name for card in CARDS] * asked) if samples else []
    found: dict[Kind, list[Estimate]] = {}
    for kind, config in samples.items():
        timed = [speed.device for speed in known.get(kind, ())]
        wanted = [device for device in devices if device not in timed and card_of(device) is not None]
        work = _work(config) if wanted else None
        if work is not None:
            found[kind] = [_estimate(device, kind, config, work, known.get(kind, ())) for device in wanted]
    return found


def _estimate(device: str, kind: Kind, config: Config, work: "Work", timed: Sequence[Speed]) -> Estimate:
    def model(name: str) -> float:
        card = card_of(name)
        assert card is not None, "only of a card that is known"
        return seconds_per_step(work, card, config.train.precision.value, kind.compile[1])

    for speed in timed:
        if card_of(speed.device) is not None:
            rule = f"{kind.learner} as on {speed.device}"
            return Estimate(device, speed.seconds_per_step * model(device) / model(speed.device), rule)
    size = f"{work.flops / 1e12:.2g} TFLOP and {work.octets / 1e9:.2g} GB a step"
    return Estimate(device, model(device), f"{kind.learner} with {size}")


def _work(config: Config) -> "Work | None":
    """The work of a step; None where it cannot be counted, for no plan fails for that."""
    from daso.run.work import work_of

    try:
        return work_of(config)
    except Exception:
        return None


def kind_of(config: Config) -> Kind:
    """The kind of a run."""
    return _kind(plain(config))


def disk_bytes(config: Config) -> int:
    """About what a finished run takes: three copies of the network, DASO's bank, and what lies beside a checkpoint."""
    classes = config.dataset.num_classes
    bank = BYTES * config.daso.queue_size * config.model.features * classes if config.daso.name != "none" else 0
    if config.model.name == "resnet":
        return BYTES * COPIES * (RESNET_WEIGHTS[config.model.depth] + config.model.features * classes) + bank + BESIDE
    widths = [16, *(width * config.model.width for width in (16, 32, 64))]
    blocks = (config.model.depth - 4) // 6
    weights = config.dataset.channels * widths[0] * CONVOLUTION + widths[-1] * classes
    for before, after in pairwise(widths):
        weights += before * after * (CONVOLUTION + 1) + (2 * blocks - 1) * after * after * CONVOLUTION
    return BYTES * COPIES * weights + bank + BESIDE


def _item(config: Config, job: Job) -> Item:
    state, step = standing(config), 0
    if state not in (RunState.done, RunState.new):
        step = reached(RunDir(config.out_root, config.run_key), state)
    return Item(config, job.label, job.overrides, state, step, own(config).train.steps, kind_of(config), job.asked)


def _newest(items: Sequence[Item]) -> list[RunDir]:
    """The runs in the folders that the items go to, and their probes, the newest first."""
    places = {RunDir(item.config.out_root, "").root for item in items}
    roots = [root for place in places for root in (place, place / PROBES)]
    cards = [card for root in roots if root.is_dir() for card in root.glob("*/run.json")]
    cards.sort(key=lambda card: -card.stat().st_mtime)
    return [RunDir(card.parents[1], card.parent.name) for card in cards[:LOOKED_AT]]


def _sample(run: RunDir) -> tuple[Kind | None, str, float]:
    """Kind, device and seconds per step of a run on disk; nan where nothing tells."""
    try:
        kind = _kind(run.config() or {})
    except (AttributeError, KeyError, TypeError, ValueError):
        return None, "", math.nan
    device = str(run.about().get("device", "unknown"))
    summary = run.numbers()
    settled = settled_speed(run)
    if summary is not None and summary.get("steps") and summary.get("seconds"):
        short = summary["steps"] < WORTH_COMPILING and settled is not None
        return kind, device, settled if short and settled else summary["seconds"] / summary["steps"]
    rates = _rates(run)
    return kind, device, 1 / statistics.median(rates) if rates else math.nan


def settled_speed(run: RunDir) -> float | None:
    """Seconds of a step once a run has settled: its first steps are those that kernels are chosen and compiled in. None
    where its log is too short to tell.
    """
    rates = _rates(run)
    return 1 / statistics.median(rates[1:]) if len(rates) >= SETTLED else None


def _rates(run: RunDir) -> list[float]:
    """The newest steps a second of a run's log."""
    return [row["time/steps_per_second"] for row in tail(run.metrics) if row.get("time/steps_per_second")]


def _kind(config: dict[str, object]) -> Kind:
    nodes: dict[str, dict[str, object]] = {key: node for key, node in config.items() if isinstance(node, dict)}
    model, train = nodes["model"], nodes["train"]
    word, long = str(train["compile"]), int(str(train["steps"])) >= WORTH_COMPILING

    def compiled(on_gpu: bool) -> str:
        return word if word != "auto" else "graph" if on_gpu and long else "none"

    stride = model["stem_stride"]
    second = nodes["protocol"]["name"] == "crt"  # trains a classifier on frozen features
    return Kind(
        learner=str(nodes["algorithm"]["name"]) + " with crt" * second,
        model=f"{model['name']}{model['depth']}_{model['width']}"
        + ("" if stride == 1 else f" of stem stride {stride}"),
        resolution=int(str(nodes["dataset"]["resolution"])),
        batch=f"{train['batch_size']} x (1+{train['mu']})",
        precision=f"{train['precision']}, {train['threads']} threads",
        compile=(compiled(False), compiled(True)),
    )
