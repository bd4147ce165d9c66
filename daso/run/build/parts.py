"""Learner, slots and protocol from their records: a configuration names the class that is built from it.

So no method is named here, nor anywhere but in its own file and its record.
"""

from functools import cache, partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from daso.data.pool import AnyPool
from daso.data.split import Split
from daso.learners.base import Learner, Method
from daso.nn.part import Part
from daso.protocol.base import Protocol
from daso.run.stages import assumed_counts, encoder_of
from daso.schema import NONE, Config, FixMatchAlgorithm, Passes, Record
from daso.slots.slots import Slots
from daso.types import Facts, Sizes


def facts_of(config: Config, pool: AnyPool, split: Split) -> Facts:
    """What parts may know of the run of `config`. What must be read from other runs is read when it is asked for."""
    rows = 0 if pool.unlabeled_y is None else len(pool.unlabeled_y)

    @cache
    def assumed() -> Tensor:
        return torch.tensor(assumed_counts(config, rows), dtype=torch.float64)

    return Facts(
        num_classes=config.dataset.num_classes,
        features=config.model.features,
        channels=config.dataset.channels,
        resolution=config.dataset.resolution,
        white=tuple((1 - mean) / std for mean, std in zip(config.dataset.mean, config.dataset.std, strict=True)),
        counts=pool.counts,
        unlabeled=rows,
        sizes=Sizes(config.train.batch_size, config.train.batch_size * config.train.mu),
        threshold=getattr(config.algorithm, "threshold", FixMatchAlgorithm.threshold),
        floor=getattr(config.algorithm, "floor", 0.0),
        steps=config.train.steps,
        phase_steps=config.phase_steps,
        assumed=assumed,
        encoder=partial(encoder_of, config, split),
        separate=config.train.passes is Passes.separate,
        shared=pool.shared,
    )


def build_method(config: Config, facts: Facts, device: torch.device, dtype: torch.dtype) -> Method:
    """The learner that `algorithm` names, and the slots that are filled.

    Raises:
        AssertionError: two parts take the same name, or the same place.
    """
    learner = class_of(config.algorithm).of(config.algorithm, facts)
    assert isinstance(learner, Learner), "algorithm names a learner"
    nodes = [node for name, node in config.records.items() if name not in ("algorithm", "protocol")]
    filled = frozenset[str]().union(*(node.places for node in nodes if node.name != node.absent))
    nodes = [node for node in nodes if node.name != node.absent or not node.places & filled]  # what others fill, anew
    parts = [class_of(node).of(node, facts) for node in nodes if node.part and node.name != NONE]
    assert all(isinstance(part, Part) for part in parts), "a slot is a part"
    return Method(learner.to(device=device, dtype=dtype), Slots(*parts).to(device=device, dtype=dtype))


def build_protocol(config: Config, facts: Facts) -> Protocol:
    """What happens between the phases of the run."""
    protocol = class_of(config.protocol).of(config.protocol, facts)
    assert isinstance(protocol, Protocol), "protocol names a protocol"
    return protocol


def class_of(record: Record) -> Any:
    """The class that a record names."""
    module, _, name = record.part.rpartition(".")
    return getattr(import_module(module), name)
