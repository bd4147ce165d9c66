"""Runs that a run is built on, and what is left for it to train itself. Host side; torch is not needed to ask.

A stage is an ordinary run with a folder, a key and a journal of its own: whoever needs it again finds it finished.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from daso import schema
from daso.errors import Damaged
from daso.outputs.files import digest, read_file
from daso.outputs.rundir import RunDir
from daso.schema import (
    OPTIONS,
    UNKNOWN,
    Config,
    CrtProtocol,
    EstimateProtocol,
    RetrainAlgorithm,
    SamplerConfig,
    Schedule,
    SupervisedAlgorithm,
    darp_assumes,
)
from daso.settings.assumed import shipped
from daso.settings.identity import identified, plain
from daso.settings.options import CONF

if TYPE_CHECKING:
    from torch import Tensor

    from daso.data.split import Split

LABEL_ONLY = CONF / "optim" / "supervised.yaml"  # how label-only learners are trained


def prerequisites(config: Config) -> list[Config]:
    """The runs that must be finished before the training of `config` can begin."""
    protocol = config.protocol
    if not isinstance(protocol, CrtProtocol):
        return [estimation(config)] if _wants_estimate(config) else []
    return [] if protocol.from_run else [_first_stage(config, protocol)]


def estimation(config: Config) -> Config:
    """The run that estimates the class distribution of the unlabeled set of `config`: supervised, with the schedule of
    label-only methods, and the same for all learners.
    """
    learner = SupervisedAlgorithm("supervised")
    stage = _empty_slots(config) | {
        "algorithm": learner,
        "protocol": EstimateProtocol(),
        "optim": replace(config.optim, **_label_only()),
        "train": replace(config.train, mu=learner.unlabeled_ratio),
    }
    return identified(replace(config, **stage, force=False))


def assumed_counts(config: Config, rows: int) -> list[float]:
    """Images per class, with the sum `rows`, that DARP assumes the unlabeled set of `config` to hold.

    Where no estimate was acceptable, they are those of `darp.goal=labeled`.

    Raises:
        UserError: the estimate is not there, or the reference has none.
    """
    imb, classes = config.imb, config.dataset.num_classes
    goal = config.darp.goal if darp_assumes(config) else "labeled"
    weights: Sequence[float] | None = None
    if goal == "shipped":
        weights = shipped(config)
    elif goal == "estimate":
        weights = _estimate(config)
    if weights is None:
        from daso.data.sizes import class_counts

        weights = class_counts(imb.n1 if imb.m1 == UNKNOWN else imb.m1, imb.gamma_l, classes)
    return [weight * rows / sum(weights) for weight in weights]


def without_estimate(config: Config) -> Config:
    """`config` as one that needs no estimate to be put together: of a run that goes on, the checkpoint holds it."""
    return replace(config, darp=replace(config.darp, goal="labeled")) if _wants_estimate(config) else config


def remarks(config: Config) -> list[str]:
    """What the runs that `config` is built on leave to say, where they are there."""
    if not _wants_estimate(config) or not _estimating(config).done.exists() or _estimate(config) is not None:
        return []
    return [
        f"No estimate of run {estimation(config).run_key} was acceptable (a negative class, or an ill-conditioned "
        "confusion matrix), so DARP assumes that the unlabeled images are distributed as the labeled ones."
    ]


def _wants_estimate(config: Config) -> bool:
    return darp_assumes(config) and config.darp.goal == "estimate"


def _estimating(config: Config) -> RunDir:
    return RunDir(config.out_root, estimation(config).run_key)


def _estimate(config: Config) -> list[float] | None:
    run = _estimating(config)
    summary = run.numbers() or {}
    right = f"run {run.key}, which estimates it, is not finished or damaged: {run.summary}; start the same line again"
    schema.require("estimate/accepted" in summary, "darp.goal", "estimate", right)
    if not summary["estimate/accepted"]:
        return None
    counts = [summary.get(f"estimate/class/{k}") for k in range(config.dataset.num_classes)]
    schema.require(None not in counts, "darp.goal", "estimate", right)
    return [float(count) for count in counts if count is not None]


def own(config: Config) -> Config:
    """What the run itself trains, as a configuration like any other: `config`, or cRT's second stage.

    That is the plain cross-entropy of the classifier, every slot empty, on labeled images by the protocol's sampler;
    `from_run` then is the folder of the run to start from, in any case.
    """
    protocol = config.protocol
    if not isinstance(protocol, CrtProtocol):
        return config
    return _second_stage(config, replace(protocol, from_run=str(_source(config, protocol).path)))


def made(config: Config) -> Config:
    """`own(config)` of a run that is finished: nothing that it began with is looked for, no other run, no weights."""
    config = replace(without_estimate(config), model=replace(config.model, weights=""))
    return _second_stage(config, config.protocol) if isinstance(config.protocol, CrtProtocol) else config


def encoder_of(config: Config, split: "Split") -> "Mapping[str, Tensor]":
    """The encoder's state in the raw network of the run that `config`, a second stage, starts from, on the CPU.

    Raises:
        UserError: that run has another network, or learned from other images than `split`'s.
    """

    from daso.data import split as splits
    from daso.train import checkpoint

    protocol = config.protocol
    assert isinstance(protocol, CrtProtocol), "only a second stage starts from a run"
    run = _source(config, protocol)
    require = partial(schema.require, key="protocol.from_run", value=protocol.from_run)
    theirs = run.config()
    if theirs is None or not {"model", "dataset"} <= theirs.keys():
        raise Damaged(f"{run.resolved} is missing or damaged", "the command that trained that run writes it anew")
    require(theirs["model"] == plain(config.model), right="it has another network; choose a run of this model")
    images = splits.load(run.splits)._replace(unlabeled=split.unlabeled)
    same = theirs["dataset"]["name"] == config.dataset.name and splits.checksum(images) == splits.checksum(split)
    require(same, right="it learned from other labeled images; choose a run of this dataset, imb and seed")
    state = checkpoint.load(run.checkpoint, run.key)["student"]
    content = run.content()
    same = content in (checkpoint.fingerprint(state), digest(read_file(run.checkpoint)))
    same = same and protocol.from_content in ("", content)
    require(same, right="its checkpoint is not the one that it ended with; start the same line again")
    return {name.removeprefix("encoder."): value for name, value in state.items() if name.startswith("encoder.")}


def _empty_slots(config: Config) -> dict[str, Any]:
    """The nodes of `config` that may be absent, made so."""
    return {name: OPTIONS[name][node.absent]() for name, node in config.records.items() if node.absent}


def _second_stage(config: Config, protocol: CrtProtocol) -> Config:
    stage = _empty_slots(config) | {
        "algorithm": RetrainAlgorithm("retrain", protocol.frozen_bn),
        "sampler": SamplerConfig(protocol.sampler, protocol.beta),
        "protocol": protocol,
        "train": replace(config.train, steps=round(protocol.retrain * config.train.steps)),
    }
    return replace(config, **stage)


def _label_only() -> dict[str, Any]:
    import yaml

    values: dict[str, Any] = yaml.safe_load(LABEL_ONLY.read_bytes())
    return values | {"schedule": Schedule[values["schedule"]]}


def _first_stage(config: Config, protocol: CrtProtocol) -> Config:
    return identified(replace(config, protocol=protocol.main, force=False))


def _source(config: Config, protocol: CrtProtocol) -> RunDir:
    return RunDir.named(config.out_root, protocol.from_run or _first_stage(config, protocol).run_key)
