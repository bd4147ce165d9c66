"""Judgements about a configuration that no single node can make. No data is read."""

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, cast

from daso.credentials import mask_url
from daso.data.sizes import check_sizes
from daso.errors import UserError
from daso.schema import (
    OPTIONS,
    WINDOW,
    Config,
    CrestPlusProtocol,
    CrestProtocol,
    CrtProtocol,
    EmaBn,
    MarginBalancedLoss,
    Offer,
    Record,
    Schedule,
    darp_assumes,
    require,
)
from daso.settings.assumed import SHIPPED, shipped
from daso.settings.options import CONF, chosen
from daso.track.address import flaw

STEEPEST = 0.3  # learning rate times scale of the logits up to which LDAM was seen to train
MAX_THREADS = 1024
LARGEST = 2**32


def check(config: Config, arguments: Sequence[str] = ()) -> list[str]:
    """Judge what no single node can, without reading data.

    Args:
        config: the configuration.
        arguments: the command line that it came from, for what to call its options.

    Returns:
        Sentences about settings that run but probably do not mean what they say.

    Raises:
        UserError: nodes that do not go together.
    """
    _check_finite(config)
    _check_machine(config)
    _check_batch(config)
    _check_methods(config, arguments)
    _check_refinement(config)
    _check_protocol(config)
    check_sizes(config.dataset, config.imb, config.dataset.class_size)
    return _warnings(config)


def _check_finite(node: Any, path: str = "") -> None:
    """Refuse nan, infinity and what torch does not count to, wherever they stand."""
    for f in fields(node):
        value, key = getattr(node, f.name), f"{path}{f.name}"
        if hasattr(value, "__dataclass_fields__"):
            _check_finite(value, f"{key}.")
        for number in value if isinstance(value, list) else [value]:
            require(not isinstance(number, float) or math.isfinite(number), key, value, "a finite number")
            sane = not isinstance(number, int) or abs(number) < LARGEST
            require(sane, key, value, "a whole number below 2^32")


def _check_machine(config: Config) -> None:
    """Refuse more threads than any machine runs, and a tracking store of a kind that MLflow does not know."""
    threads, track = config.train.threads, config.track
    require(threads <= MAX_THREADS, "train.threads", threads, f"a number of CPU threads, {MAX_THREADS} at most")
    require(track.experiment.strip() != "", "track.experiment", track.experiment, "the name of an experiment in MLflow")
    wrong = flaw(track.uri) if track.uri else ""
    require(not wrong, "track.uri", mask_url(track.uri), wrong)


def _check_batch(config: Config) -> None:
    """Refuse a batch that leaves batch normalisation a single value of a kind."""
    size, resolution = config.train.batch_size, config.dataset.resolution
    right = (
        f"of images of {resolution} pixels (dataset.resolution) the network's last maps are single pixels, and batch "
    )
    right += "normalisation needs two values of a kind, so 2 or more"
    require(size > 1 or config.model.map_side(resolution) > 1, "train.batch_size", size, right)


def _check_methods(config: Config, arguments: Sequence[str]) -> None:
    """Refuse a method that the learner leaves no place for, and methods that do not stand beside each other."""
    for node, record in config.records.items():
        options = OPTIONS[node]
        right = f"choose it with {node}={record.name}" if record.name in options else f"one of {', '.join(options)}"
        require(type(record) is options.get(record.name), f"{node}.name", record.name, right)
    filled = {node: record for node, record in config.records.items() if record.name != record.absent}
    for node, record in filled.items():
        _check_offers(config, f"{node}.name", record)
        for knob in fields(cast(Any, record)):
            needed, value, key = knob.metadata.get("needs"), getattr(record, knob.name), f"{node}.{knob.name}"
            right = f"algorithm={config.algorithm.name} {needed.value}, so {key}=0" if needed else ""
            require(needed in {None, *config.algorithm.offers} or value == 0, key, value, right)
        for other, theirs in filled.items():
            if other != node and (reason := _apart(node, record, other, theirs)):
                both = f"{chosen(node, record.name, arguments)} beside {chosen(other, theirs.name, arguments)}"
                remedy = f"{other}={theirs.absent}" if theirs.absent else f"another {other}"
                raise UserError(f"{both} is not possible: {reason}, so {node}={record.absent} or {remedy}.")


def _check_offers(config: Config, key: str, record: Record) -> None:
    """Refuse a method whose place the learner does not open; `key` is the knob that chose it."""
    learner, node = config.algorithm, key.removesuffix(".name")
    preset = f"fixmatch_{record.name}"
    example = preset if (CONF / "algorithm" / f"{preset}.yaml").exists() else "fixmatch"
    lacking = " and ".join(offer.value for offer in Offer if offer in record.needs - learner.offers)
    right = f"algorithm={learner.name} {lacking}, so {node}={record.absent} or, for example, algorithm={example}"
    require(not lacking, key, record.name, right)


def _apart(node: str, record: Record, other: str, theirs: Record) -> str:
    """Why a method does not stand beside another: as it says, or because both fill one place; empty where it does."""
    said = record.apart.get(f"{other}={theirs.name}", record.apart.get(other, ""))
    told = theirs.apart.keys() & {node, f"{node}={record.name}"}  # by the other one, which knows better than its place
    shared = sorted(record.places & theirs.places)
    return said or (f"both fill the same place, {shared[0]}" if shared and not told else "")


def _check_refinement(config: Config) -> None:
    """Refuse a class distribution that DARP or the alignment would follow and that nobody knows."""
    darp, dataset, imb = config.darp, config.dataset, config.imb
    if config.align.name != "none":
        right = "no slot assumes a distribution of the unlabeled set, so labeled, or, for example, darp=paper"
        require(config.align.goal != "refine" or darp.name != "none", "align.goal", config.align.goal, right)
    estimates = config.protocol.name == "estimate"
    fewest = int(imb.n1 * (1 / imb.gamma_l))
    held_out = "the estimate needs held-out images: two labeled ones of every class (imb.gamma_l), or dataset.num_valid"
    require(not estimates or dataset.num_valid > 0 or fewest > 1, "protocol.name", config.protocol.name, held_out)
    if not darp_assumes(config):
        return
    known = "; ".join(f"{name} with imb.n1={n1} imb.gamma_l={g}" for name, n1, _, g, _ in SHIPPED)
    right = f"the reference has no estimate for this setting, so estimate; it has them for {known}"
    require(darp.goal != "shipped" or shipped(config) is not None, "darp.goal", darp.goal, right)
    require(darp.goal != "estimate" or dataset.num_valid > 0 or fewest > 1, "darp.goal", darp.goal, held_out)


def _check_protocol(config: Config) -> None:
    """Refuse phases that the learner, the slots or the length of the run leave no room for."""
    protocol, main, steps = config.protocol, config.protocol.main, config.train.steps
    key = "protocol.name" if main is protocol else "protocol.first"
    if main is not protocol:
        _check_offers(config, key, main)
    if isinstance(main, CrestProtocol):
        right = f"a generation lasts at least one of train.steps={steps}"
        require(main.generations <= steps, "protocol.generations", main.generations, right)
    if isinstance(main, CrestPlusProtocol):
        right = "its generations differ in the goal of distribution alignment, so align=da, or crest for none"
        require(config.align.name == "da", key, main.name, right)
        right = "each generation of crest_plus has a temperature of its own (protocol.t_min), so 1"
        require(config.align.temperature == 1, "align.temperature", config.align.temperature, right)
    if isinstance(protocol, CrtProtocol):
        right = f"the second stage would have no step of train.steps={steps}"
        require(round(protocol.retrain * steps) >= 1, "protocol.retrain", protocol.retrain, right)


def _warnings(config: Config) -> list[str]:
    """What runs but probably does not mean what it says."""
    train, daso, phase = config.train, config.daso, config.phase_steps
    found = []
    if daso.name != "none" and daso.warmup_steps >= phase:
        bound = f"train.steps={train.steps}"
        if phase < train.steps:
            bound = f"the {phase} steps of a generation (protocol.generations={config.protocol.phases})"
        moved = daso.ema_encoder and daso.ema_bn is EmaBn.official
        apart = ", its evaluation aside (daso.ema_bn=official)" * moved
        found.append(
            f"DASO never blends in this run, which trains as it would without it{apart}, because "
            f"daso.warmup_steps={daso.warmup_steps} is not below {bound}."
        )
    for record in config.records.values():
        found += record.remarks(phase) if record.name != record.absent else []
    loss, optim = config.supervised, config.optim
    scale = loss.scale if isinstance(loss, MarginBalancedLoss) else 0.0
    undiminished = getattr(loss, "margins_at_once", False) or optim.schedule is Schedule.constant  # when margins begin
    if undiminished and scale * optim.lr > STEEPEST:
        found.append(
            f"LDAM multiplies the logits by supervised.scale={scale:g}, which with optim.lr={optim.lr:g} probably "
            f"diverges: optim.lr={STEEPEST / scale:.1g} trains."
        )
    evaluations = train.evaluations
    if evaluations < WINDOW:
        found.append(
            f"top1_median20 is the median of only {evaluations} evaluation{'s' * (evaluations > 1)}: "
            f"train.eval_every={train.eval_every} with train.steps={train.steps}."
        )
    return found
