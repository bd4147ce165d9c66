"""One run: all nodes together."""

from dataclasses import dataclass, field, fields
from typing import Any

from daso.schema.balance import BalanceConfig
from daso.schema.base import NOT_SCIENCE, require, require_place
from daso.schema.confidence import ConfidenceConfig
from daso.schema.data import DatasetConfig, ImbalanceConfig
from daso.schema.debias import DebiasConfig
from daso.schema.labeled import SupervisedLossConfig
from daso.schema.learners import AlgorithmConfig
from daso.schema.protocol import ProtocolConfig, SamplerConfig
from daso.schema.record import Record
from daso.schema.slots import AbcConfig, AlignConfig, DarpConfig, DasoConfig
from daso.schema.sweep import SweepConfig
from daso.schema.training import ModelConfig, OptimConfig, RecipeConfig, TrackConfig, TrainConfig
from daso.schema.tuning import TuneConfig

PLANS = (False, True, "full", "probe")  # none, by row, also run by run, by row after timing each kind of run here


@dataclass
class Config:
    """One run."""

    dataset: DatasetConfig
    imb: ImbalanceConfig
    algorithm: AlgorithmConfig
    supervised: SupervisedLossConfig
    align: AlignConfig
    darp: DarpConfig
    confidence: ConfidenceConfig
    abc: AbcConfig
    daso: DasoConfig
    debias: DebiasConfig
    balance: BalanceConfig
    sampler: SamplerConfig
    protocol: ProtocolConfig
    model: ModelConfig
    optim: OptimConfig
    train: TrainConfig
    track: TrackConfig = field(metadata=NOT_SCIENCE)
    seed: int = 0
    device: str = field(default="auto", metadata=NOT_SCIENCE)
    # jobs that share a GPU or a set of CPU cores at most; 0: never wait for one, and no core sets
    jobs_per_device: int = field(default=0, metadata=NOT_SCIENCE)
    out_root: str = field(default="outputs", metadata=NOT_SCIENCE)
    force: bool = field(default=False, metadata=NOT_SCIENCE)
    eval_only: bool = field(default=False, metadata=NOT_SCIENCE)
    plan: Any = field(default=False, metadata=NOT_SCIENCE)  # say what would be trained, and train nothing; see PLANS
    fail_fast: bool = field(default=False, metadata=NOT_SCIENCE)  # the first failure ends a sweep
    # allow a resume on another device type or torch version, or another precision or compiler that `auto` comes to
    resume_across: bool = field(default=False, metadata=NOT_SCIENCE)
    recipe: RecipeConfig = field(default_factory=RecipeConfig, metadata=NOT_SCIENCE)  # what it sets is
    sweep: SweepConfig = field(default_factory=SweepConfig, metadata=NOT_SCIENCE)
    tune: TuneConfig = field(default_factory=TuneConfig, metadata=NOT_SCIENCE)
    run_key: str = field(default="", metadata=NOT_SCIENCE)  # filled by resolve(); never set by hand

    @property
    def phase_steps(self) -> int:
        """Steps of a phase of the run, or of the shortest one."""
        return self.train.steps // self.protocol.phases

    @property
    def reads_unlabeled(self) -> bool:
        """Whether the run reads unlabeled images."""
        return self.protocol.name == "estimate" or self.algorithm.reads_unlabeled

    @property
    def miniature(self) -> bool:
        """Whether it is of the kind of this project's own experiments, `quickstart` and `fashion_mnist_lt`, where some
        knobs have other usual values than in the paper's.
        """
        return self.dataset.name in ("digits", "fashion_mnist") and self.model.depth == 10

    @property
    def records(self) -> dict[str, Record]:
        """The nodes that choose a method, by their names."""
        nodes = ((f.name, getattr(self, f.name)) for f in fields(self))
        return {name: node for name, node in nodes if isinstance(node, Record)}

    def fills(self, place: str) -> bool:
        """Whether a chosen method fills a place of the step."""
        return any(place in node.places for node in self.records.values() if node.name != node.absent)

    @property
    def periodic(self) -> bool:
        """Whether a chosen method changes something once a period."""
        return any(node.periodic for node in self.records.values() if node.name != node.absent)

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**32, "seed", self.seed, "a whole number from 0 to 4294967295")
        kind, _, index = self.device.partition(":")
        ok = self.device in ("auto", "cpu", "cuda") or (kind == "cuda" and index.isdecimal() and len(index) <= 3)
        require(ok, "device", self.device, "auto, cpu, cuda or, for the second GPU, cuda:1")
        require(self.jobs_per_device >= 0, "jobs_per_device", self.jobs_per_device, "0 or more")
        require(
            self.plan in PLANS, "plan", self.plan, "true, full (each run), probe (times some steps first), or false"
        )
        right = "eval_only=true evaluates what there is and trains nothing again, so leave out one of the two"
        require(not (self.force and self.eval_only), "force", "true", right)
        self.out_root = require_place("out_root", self.out_root)
