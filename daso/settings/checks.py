"""Judgements about a configuration that no single node can make. No data is read."""

import math
from dataclasses import fields
from importlib.metadata import entry_points
from typing import Any

from daso.data.sizes import check_sizes
from daso.schema import ALGORITHMS, Config, Offer, Schedule, require
from daso.settings.assumed import SHIPPED, shipped

STEEPEST = 0.3  # learning rate times scale of the logits up to which LDAM was seen to train
MAX_THREADS = 1024
# what MLflow's tracking URIs begin with; plugins add others
STORES = ("sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks", "databricks-uc", "uc", "file")


def check(config: Config) -> list[str]:
    """Judge what no single node can, without reading data.

    Returns:
        Sentences about settings that run but probably do not mean what they say.

    Raises:
        UserError: nodes that do not go together.
    """
    _check_finite(config)
    _check_machine(config)
    _check_slots(config)
    _check_refinement(config)
    _check_heads(config)
    _check_protocol(config)
    check_sizes(config.dataset, config.imb, config.dataset.class_size)
    return _warnings(config)


def _check_finite(node: Any, path: str = "") -> None:
    """Refuse nan and infinity wherever they stand."""
    for f in fields(node):
        value, key = getattr(node, f.name), f"{path}{f.name}"
        if hasattr(value, "__dataclass_fields__"):
            _check_finite(value, f"{key}.")
        for number in value if isinstance(value, list) else [value]:
            require(not isinstance(number, float) or math.isfinite(number), key, value, "a finite number")


def _check_machine(config: Config) -> None:
    """Refuse more threads than any machine runs, and a tracking store of a kind that MLflow does not know."""
    threads, track = config.train.threads, config.track
    require(threads <= MAX_THREADS, "train.threads", threads, f"a number of CPU threads, {MAX_THREADS} at most")
    require(track.experiment.strip() != "", "track.experiment", track.experiment, "the name of an experiment in MLflow")
    scheme = track.uri.partition(":")[0].partition("+")[0]
    known = not track.uri or scheme in STORES or scheme in entry_points(group="mlflow.tracking_store").names
    require(known, "track.uri", track.uri, "a store that MLflow knows, as sqlite:///mlflow.db or http://host:5000")


def _check_slots(config: Config) -> None:
    """Refuse a slot that the learner leaves no place for."""
    learner = config.algorithm.name
    known = ALGORITHMS.get(learner)
    right = f"choose the learner with algorithm={learner if known else 'fixmatch'}"
    require(known is type(config.algorithm), "algorithm.name", learner, right)
    makes_none = f"algorithm={learner} makes no pseudo-labels open to slots"
    offers = config.algorithm.offers
    require(
        config.supervised.name == "ce" or Offer.LABELED_LOGITS in offers,
        "supervised.name",
        config.supervised.name,
        f"algorithm={learner} has a labeled loss of its own, so supervised=ce",
    )
    require(
        config.align.name == "none" or Offer.PSEUDO in offers,
        "align.name",
        config.align.name,
        f"{makes_none}, so align=none or, for example, algorithm=fixmatch_da",
    )
    if config.daso.name != "none":
        require(
            Offer.PSEUDO in offers,
            "daso.name",
            config.daso.name,
            f"{makes_none}, so daso=none or, for example, algorithm=fixmatch_daso",
        )
        require(
            config.daso.align_weight == 0 or Offer.STRONG in offers,
            "daso.align_weight",
            config.daso.align_weight,
            f"algorithm={learner} has no strong view for the alignment loss, so daso.align_weight=0 or daso=blend_only",
        )


def _check_refinement(config: Config) -> None:
    """Refuse a class distribution that DARP or the alignment would follow and that nobody knows."""
    darp, dataset, imb, learner = config.darp, config.dataset, config.imb, config.algorithm.name
    if config.align.name != "none":
        right = "no slot assumes a distribution of the unlabeled set, so labeled, or, for example, darp=paper"
        require(config.align.goal == "labeled" or darp.name != "none", "align.goal", config.align.goal, right)
    estimates = config.protocol.name == "estimate"
    fewest = int(imb.n1 * (1 / imb.gamma_l))
    held_out = "the estimate needs held-out images: two labeled ones of every class (imb.gamma_l), or dataset.num_valid"
    require(not estimates or dataset.num_valid > 0 or fewest > 1, "protocol.name", config.protocol.name, held_out)
    if darp.name == "none":
        return
    require(
        Offer.PSEUDO in config.algorithm.offers,
        "darp.name",
        darp.name,
        f"algorithm={learner} opens no pseudo-labels to refine, so darp=none or, for example, algorithm=fixmatch_darp",
    )
    known = "; ".join(f"{name} with imb.n1={n1} imb.gamma_l={g}" for name, n1, _, g, _ in SHIPPED)
    right = f"the reference has no estimate for this setting, so estimate; it has them for {known}"
    require(darp.goal != "shipped" or shipped(config) is not None, "darp.goal", darp.goal, right)
    require(darp.goal != "estimate" or dataset.num_valid > 0 or fewest > 1, "darp.goal", darp.goal, held_out)


def _check_heads(config: Config) -> None:
    """Refuse an auxiliary classifier, or thresholds per class, that the learner leaves no place for."""
    abc, confidence, offers, learner = config.abc, config.confidence, config.algorithm.offers, config.algorithm.name
    right = (
        f"algorithm={learner} has no confidence threshold, so confidence=none or, for example, algorithm=fixmatch_boss"
    )
    require(confidence.name == "none" or Offer.CONFIDENCE in offers, "confidence.name", confidence.name, right)
    if abc.name != "none":
        needed = {Offer.LABELED_LOGITS, Offer.PSEUDO, Offer.STRONG}
        right = f"algorithm={learner} has no plain labeled images beside a strong view: algorithm=fixmatch_abc has"
        require(needed <= offers, "abc.name", abc.name, right)
        right = (
            "margins on the one head and Bernoulli masks on the other do not go together, so abc=none or supervised=la"
        )
        require(config.supervised.name != "ldam_drw", "abc.name", abc.name, right)


def _check_protocol(config: Config) -> None:
    """Refuse phases that the learner, the slots or the length of the run leave no room for."""
    protocol, steps, learner = config.protocol, config.train.steps, config.algorithm.name
    key = "protocol.first" if protocol.phases != protocol.name else "protocol.name"
    if protocol.phases != "none":
        require(
            Offer.PSEUDO in config.algorithm.offers,
            key,
            protocol.phases,
            f"algorithm={learner} makes no pseudo-labels to add to the labeled set, so {key}=none "
            "or, for example, algorithm=fixmatch_crest",
        )
        require(
            protocol.generations <= steps,
            "protocol.generations",
            protocol.generations,
            f"a generation lasts at least one of train.steps={steps}",
        )
    if protocol.phases == "crest_plus":
        require(
            config.align.name == "da",
            key,
            protocol.phases,
            "its generations differ in the goal of distribution alignment, so align=da, or crest for none",
        )
        right = "each generation of crest_plus has a temperature of its own (protocol.t_min), so 1"
        require(config.align.temperature == 1, "align.temperature", config.align.temperature, right)
    if protocol.name == "crt":
        require(
            round(protocol.retrain * steps) >= 1,
            "protocol.retrain",
            protocol.retrain,
            f"the second stage would have no step of train.steps={steps}",
        )


def _warnings(config: Config) -> list[str]:
    """What runs but probably does not mean what it says."""
    train, daso, protocol = config.train, config.daso, config.protocol
    found = []
    phase = train.steps // (1 if protocol.phases == "none" else protocol.generations)
    if daso.name != "none" and daso.warmup_steps >= phase:
        bound = f"train.steps={train.steps}"
        if phase < train.steps:
            bound = f"the {phase} steps of a generation (protocol.generations={protocol.generations})"
        found.append(
            f"DASO never blends in this run: it is plain {config.algorithm.name}, because "
            f"daso.warmup_steps={daso.warmup_steps} is not below {bound}."
        )
    darp = config.darp
    if darp.name != "none":
        begins = int(darp.warmup * phase)
        last = phase if darp.refine_on_first and begins < phase else phase - phase % darp.every
        if last <= begins:
            found.append(
                f"DARP never refines in this run: its warm-up ends after {begins} of {phase} steps and "
                f"darp.every={darp.every}, so that pseudo-labels are uniform from there on."
            )
    if config.abc.name != "none" and config.abc.every >= phase:
        found.append(
            f"ABC never balances the unlabeled images in this run, but keeps them all: abc.every={config.abc.every} is "
            f"not below {phase} steps."
        )
    loss, optim = config.supervised, config.optim
    undiminished = loss.margins_at_once or optim.schedule is Schedule.constant  # when the margins begin
    if loss.name == "ldam_drw" and undiminished and loss.scale * optim.lr > STEEPEST:
        found.append(
            f"LDAM multiplies the logits by supervised.scale={loss.scale:g}, which with optim.lr={optim.lr:g} probably "
            f"diverges: optim.lr={STEEPEST / loss.scale:.1g} trains."
        )
    evaluations = -(-train.steps // train.eval_every)
    if evaluations < 20:
        found.append(
            f"top1_median20 is the median of only {evaluations} evaluation{'s' * (evaluations > 1)}: "
            f"train.eval_every={train.eval_every} with train.steps={train.steps}."
        )
    return found
